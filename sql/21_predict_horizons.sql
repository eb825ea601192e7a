-- Scoring by the end of several horizons, and intervals: ltv_predict_horizon, ltv_predict_curve and
-- ltv_predict_interval, for the inputs and with the volatility of ltv_predict; and what their results are good for.

DO $do$
DECLARE
    called  record;
    input   record;
    pin     record;
    arguments text;
    meaning text;
BEGIN
    FOR called IN SELECT * FROM (VALUES
        ('ltv_predict_horizon', ', days float8', ', days', 'float8',
         'expected value by a day within the longest horizon'),
        ('ltv_predict_curve', '', '', 'float8[]', 'expected value by the end of each horizon'),
        ('ltv_predict_interval', ', coverage float8', ', coverage', 'float8[]',
         'low and high end of an interval that holds such a share of the customers')
    ) v(name, declared, passed, returned, meaning) LOOP
        FOR pin IN SELECT * FROM (VALUES
            ('', '', '', 'STABLE', 'the model in ltv.default_model'),
            ('model text, ', 'model, ', '_model', 'STABLE', 'the champion of a model'),
            ('model text, version bigint, ', 'model, version, ', '_version', 'IMMUTABLE', 'a pinned version of a model')
        ) v(declared, passed, symbol, volatility, meaning) LOOP
            FOR input IN SELECT * FROM (VALUES
                ('anyarray', 'inputs by position'), ('record', 'inputs by column name'),
                ('jsonb', 'inputs by key or position'), ('json', 'the same for json'),
                ('text', 'the same for JSON written as text')
            ) v(type, meaning) LOOP
                arguments := pin.declared || 'input pg_catalog.' || input.type || called.declared;
                meaning := called.meaning || ', by ' || pin.meaning || '; ' || input.meaning;
                IF input.type IN ('json', 'text') THEN
                    -- Inlined, so that it is scored in batches like the others.
                    EXECUTE format(
                        'CREATE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE sql %s PARALLEL SAFE COST 100 '
                        'RETURN @extschema@.%1$I(%5$s)',
                        called.name, arguments, called.returned, pin.volatility,
                        pin.passed || 'input::pg_catalog.jsonb' || called.passed);
                ELSE
                    EXECUTE format(
                        'CREATE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE c %s PARALLEL SAFE COST 100 '
                        'SUPPORT ltv.predict_support AS ''MODULE_PATHNAME'', %L',
                        called.name, arguments, called.returned, pin.volatility, called.name || pin.symbol);
                END IF;
                EXECUTE format('COMMENT ON FUNCTION @extschema@.%I(%s) IS %L', called.name, arguments, meaning);
            END LOOP;
        END LOOP;
    END LOOP;
END
$do$;

-- What a curve is worth today. Money of an interval comes in the middle of it.
CREATE FUNCTION ltv.discount(curve float8[], days float8[], discount_rate float8, margin float8) RETURNS float8
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    worth float8 := 0;
    spent float8 := 0;
    day   float8 := 0;
BEGIN
    IF curve IS NULL OR days IS NULL OR discount_rate IS NULL OR margin IS NULL THEN
        RETURN NULL;
    ELSIF cardinality(curve) <> cardinality(days) THEN
        RAISE array_subscript_error USING
            MESSAGE = format('the curve has %s values for %s days', cardinality(curve), cardinality(days)),
            HINT = 'Take both of the same version: ltv_predict_curve and ltv_horizons.';
    ELSIF NOT discount_rate > -1 OR discount_rate = 'Infinity' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the discount rate must be a number above -1',
            HINT = 'It is a share per year: 0.1 is 10 % a year.';
    END IF;
    FOR i IN 1 .. cardinality(curve) LOOP
        worth := worth + (curve[i] - spent) * margin * (1 + discount_rate) ^ (-(day + days[i]) / 730);
        spent := curve[i];
        day := days[i];
    END LOOP;
    RETURN worth;
END
$$;
COMMENT ON FUNCTION ltv.discount IS 'see ltv_discount';

CREATE FUNCTION @extschema@.ltv_discount(
    curve float8[], days float8[], discount_rate float8 DEFAULT 0, margin float8 DEFAULT 1
) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_discount
    IS 'the present value of a curve of ltv_predict_curve: its increments times the margin, discounted per year';
