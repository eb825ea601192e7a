-- What makes features of customers out of their logs, in Rust: an aggregate that makes of the rows of a customer one
-- compact log, and a function that walks along the logs of a customer and tells what each moment knows. Amounts are
-- added as whole numbers of a decimal unit, so that the same rows in any order give the same features.

CREATE FUNCTION ltv.collect_add(state internal, roles text, kinds text[], VARIADIC "any") RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_collect_add';
COMMENT ON FUNCTION ltv.collect_add IS 'adds a row to a log';

CREATE FUNCTION ltv.collect_combine(state internal, other internal) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_collect_combine';
COMMENT ON FUNCTION ltv.collect_combine IS 'adds a log to another one';

CREATE FUNCTION ltv.collect_save(state internal) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_collect_save';
COMMENT ON FUNCTION ltv.collect_save IS 'a log on its way to another process';

CREATE FUNCTION ltv.collect_load(saved bytea, internal) RETURNS internal
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_collect_load';
COMMENT ON FUNCTION ltv.collect_load IS 'a log that came from another process';

CREATE FUNCTION ltv.collect_final(state internal) RETURNS bytea
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_collect_final';
COMMENT ON FUNCTION ltv.collect_final IS 'a log that is complete';

-- The letters of roles say what the arguments after the kinds are: t time (date or timestamptz), d day of an instant,
-- k kind (text, of which kinds lists those that count separately), v amount, x other value.
CREATE AGGREGATE ltv.collect(roles text, kinds text[], VARIADIC "any") (
    SFUNC = ltv.collect_add, STYPE = internal, SSPACE = 256, FINALFUNC = ltv.collect_final,
    FINALFUNC_MODIFY = READ_WRITE, COMBINEFUNC = ltv.collect_combine, SERIALFUNC = ltv.collect_save,
    DESERIALFUNC = ltv.collect_load, PARALLEL = SAFE
);
COMMENT ON AGGREGATE ltv.collect(text, text[], VARIADIC "any") IS 'the rows of a customer as one compact log';

CREATE FUNCTION ltv.walk_rows(plan text, log_end date, start date, orders bytea, events bytea[])
RETURNS SETOF float8[]
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 200 ROWS 1 AS 'MODULE_PATHNAME', 'ltv_feature_rows';
COMMENT ON FUNCTION ltv.walk_rows(text, date, date, bytea, bytea[])
    IS 'the features of a customer on each day of a plan, as numbers';

CREATE FUNCTION ltv.walk_rows(plan text, log_end timestamptz, start date, orders bytea, events bytea[])
RETURNS SETOF float8[]
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 200 ROWS 1 AS 'MODULE_PATHNAME', 'ltv_feature_rows';
COMMENT ON FUNCTION ltv.walk_rows(text, timestamptz, date, bytea, bytea[])
    IS 'the features of a customer at each instant of a plan, as numbers';

CREATE FUNCTION ltv.feature_sequence(plan text, moment float8, start date, orders bytea, events bytea[])
RETURNS real[]
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 200 AS 'MODULE_PATHNAME', 'ltv_feature_sequence';
COMMENT ON FUNCTION ltv.feature_sequence IS 'the steps of a customer up to a moment of a plan';

-- The query yields customers, days and amounts, and is read as often as its customers do not fit into memory. Rows come
-- sorted by the bytes of the ids, and by moment.
CREATE FUNCTION ltv.order_features(plan text, log_end date, query text) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000000 ROWS 100000 AS 'MODULE_PATHNAME', 'ltv_order_features';
COMMENT ON FUNCTION ltv.order_features IS 'the features of all customers of an order log, on each day of a plan';

-- The same into a table that was made in this transaction. It returns how many rows these are, or NULL where the table
-- is not as it was made, say because an event trigger gave it an index.
CREATE FUNCTION ltv.fill_order_features(relation regclass, plan text, log_end date, query text) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_fill_order_features';
COMMENT ON FUNCTION ltv.fill_order_features IS 'writes the features of all customers of an order log into a new table';
