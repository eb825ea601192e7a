-- The state of a customer: ltv_predict_state, ltv_predict_churn.
--
-- Like ltv_predict they take an array, a row or jsonb, for the champion of a model or a pinned version, and are not
-- strict. They read the features frequency, recency and t, and run no graph. days NULL is the horizon of the model.

CREATE TYPE ltv.customer_state AS (
    p_alive           float8,
    expected_orders   float8,
    churn_probability float8,
    next_order_days   float8
);
COMMENT ON TYPE ltv.customer_state IS 'whether a customer is still alive, and when the next order is due';
GRANT USAGE ON TYPE ltv.customer_state TO PUBLIC;

DO $do$
DECLARE
    shape record;
    pin record;
    input record;
    signature text;
BEGIN
    FOR shape IN SELECT * FROM (VALUES
        ('ltv_predict_state', 'ltv.customer_state',
         'P(alive), orders to expect and P(no order) in so many days, days to the next order'),
        ('ltv_predict_churn', 'float8', 'probability of no order in so many days')) v(called, result, meaning)
    LOOP
        FOR pin IN SELECT * FROM (VALUES
            ('model', 'model text', 'model', 'STABLE', 'the champion of a model'),
            ('version', 'model text, version bigint', 'model, version', 'IMMUTABLE', 'a pinned version of a model')
        ) v(suffix, declared, passed, volatility, meaning) LOOP
            FOR input IN SELECT * FROM (VALUES
                (1, 'anyarray', 'inputs by position'), (2, 'record', 'inputs by column name'),
                (3, 'pg_catalog.jsonb', 'inputs by key or position'), (4, 'pg_catalog.json', 'inputs in json'),
                (5, 'pg_catalog.text', 'inputs in JSON written as text')
            ) v(i, type, meaning) ORDER BY i LOOP
                signature := format('%I(%s, input %s, days float8 DEFAULT NULL)', shape.called, pin.declared,
                                    input.type);
                EXECUTE format('CREATE FUNCTION @extschema@.%s RETURNS %s LANGUAGE %s %s PARALLEL SAFE COST %s ',
                               signature, shape.result, CASE WHEN input.i <= 3 THEN 'c' ELSE 'sql' END,
                               pin.volatility, CASE shape.called WHEN 'ltv_predict_churn' THEN 20 ELSE 200 END)
                    || CASE WHEN input.i <= 3
                            THEN format('AS ''MODULE_PATHNAME'', %L', shape.called || '_' || pin.suffix)
                            ELSE format('RETURN @extschema@.%I(%s, input::pg_catalog.jsonb, days)', shape.called,
                                        pin.passed) END;
                EXECUTE format('COMMENT ON FUNCTION @extschema@.%s IS %L',
                               replace(signature, ' DEFAULT NULL', ''),
                               format('%s, by %s; %s', shape.meaning, pin.meaning, input.meaning));
            END LOOP;
        END LOOP;
    END LOOP;
END
$do$;

-- By a name that does not depend on the extension's schema.
CREATE FUNCTION ltv.predict_state(model text, version int, input record, days float8) RETURNS ltv.customer_state
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 200 AS 'MODULE_PATHNAME', 'ltv_predict_state_version';
COMMENT ON FUNCTION ltv.predict_state IS 'ltv_predict_state of a pinned version, for functions of the extension';
