-- Graphs that ask for much, break promises or are broken: errors in our words, in bounded time and memory.
\set ECHO none
\i tests/onnx/graphs.sql
\i tests/onnx/hostile.sql
\set ECHO all
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION attempt(statement text, OUT state text, OUT message text, OUT seconds int) LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz := clock_timestamp();
BEGIN
    EXECUTE statement;
    state := '00000';
EXCEPTION WHEN OTHERS OR query_canceled THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
    -- Not to be told apart on a busy machine: less than five.
    seconds := extract(epoch FROM clock_timestamp() - start)::int / 5 * 5;
END
$$;
CREATE FUNCTION import(graph text, features text DEFAULT NULL, OUT state text, OUT message text, OUT seconds int) LANGUAGE sql AS
    $$SELECT * FROM attempt(format('SELECT ltv_import_onnx(''bad'', decode(%L, ''base64''), %L::text[])', graph, features))$$;

-- Sizes that the file claims.
SELECT name, (i).* FROM (VALUES ('wide_9', :'wide_9'), ('wide_62', :'wide_62'), ('no_columns', :'no_columns'), ('steps_12', :'steps_12'), ('claimed', :'claimed'),
    ('negative', :'negative'), ('wrapping', :'wrapping')) v(name, graph), LATERAL (SELECT import(graph) AS i) s;
-- Loops, functions that hold one, sizes computed from a row, operators of others, trees without end.
SELECT ltv_import_onnx('bad', decode(:'loop', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'sized_by_value', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'own_domain', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'endless_tree', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'laughs', 'base64'));
SELECT import(:'function_with_loop');
SELECT ltv_import_onnx('functions', decode(:'functions', 'base64')), ltv_predict('functions', array[3]);
-- Memory, for constants that are computed and in a run.
SELECT name, (i).* FROM (VALUES ('doubling', :'doubling'), ('square', :'square')) v(name, graph), LATERAL (SELECT import(graph) AS i) s;
-- Texts are counted by looking at the process now and then: they are refused, or there were no more of them than it may have.
SELECT state IN ('00000', '53200') AS bounded FROM import(:'doubling_text');
SELECT count(ltv_drop_model(model)) <= 1 AS gone FROM ltv_models WHERE model = 'bad';
\set VERBOSITY terse
SET ltv.scoring_memory = '64MB';
SELECT ltv_import_onnx('bad', decode(:'square', 'base64'));
RESET ltv.scoring_memory;
\set VERBOSITY default
-- Outputs that are not what was promised.
SELECT name, (i).state, (i).message FROM (VALUES ('many_rows', :'many_rows'), ('few_rows', :'few_rows'), ('no_rows', :'no_rows'), ('text_output', :'text_output'), ('lying_type', :'lying_type'),
    ('cyclic', :'cyclic'), ('beyond', :'beyond')) v(name, graph), LATERAL (SELECT import(graph) AS i) s;
SELECT count(*) FROM ltv.models WHERE model = 'bad';

-- A time limit ends what is at work: between operators, and in the trial of an import.
SET statement_timeout = '1s';
SELECT import(:'long_chain');
RESET statement_timeout;
SET ltv.allow_control_flow = on;
SELECT ltv_import_onnx('loop', decode(:'loop', 'base64'));
SELECT ltv_predict('loop', array[5]), ltv_predict('loop', array[1000]);
SET statement_timeout = '1s';
SELECT attempt('SELECT ltv_predict(''loop'', array[1e9])');
SELECT attempt('SELECT sum(ltv_predict(''loop'', array[i * 1e9])) FROM generate_series(1, 3) i');
SET ltv.enable_batch_scan = off;
SELECT attempt('SELECT sum(ltv_predict(''loop'', array[i * 1e9])) FROM generate_series(1, 3) i');
RESET statement_timeout;
RESET ltv.enable_batch_scan;
SELECT ltv_predict('loop', array[6]);
SET ltv.allow_control_flow = off;
-- Who keeps a loaded graph keeps it; another session is asked again.
\c
SET client_min_messages = warning;
\set VERBOSITY terse
SELECT ltv_predict('loop', array[6]);
SET ROLE pg_read_all_data; SET ltv.allow_control_flow = on; SET ltv.scoring_memory = '2GB'; RESET ROLE;

-- Rows of the catalog that nobody but a superuser or a dump can make.
CREATE FUNCTION stored(graph text, schema jsonb, input text DEFAULT 'array[1,2,3]', OUT state text, OUT message text) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM ltv.models WHERE model = 'stored';
    DELETE FROM ltv.versions WHERE model = 'stored';
    INSERT INTO ltv.models (model, last_version) VALUES ('stored', 1);
    INSERT INTO ltv.versions (model, version, onnx, checksum, schema) SELECT 'stored', 1, o, encode(sha256(o), 'hex'), stored.schema FROM decode(graph, 'base64') o;
    SELECT a.state, a.message INTO stored.state, stored.message FROM attempt(format('SELECT ltv_predict(''stored'', 1, %s)', input)) a;
END
$$;
SELECT len, (s).* FROM unnest('{0,3,1000000,1000001,10000000000,4611686018427387904,9223372036854775808}'::numeric[]) len,
    LATERAL (SELECT stored(:'any_width', jsonb_build_object('inputs', jsonb_build_array(jsonb_build_object('name', 'x', 'kind', 'vector', 'len', len)), 'outputs', '["ltv"]'::jsonb)) AS s) x;
SELECT stored(:'any_width', '{"inputs": [{"name": "a", "kind": "vector", "len": 9223372036854775808}, {"name": "b", "kind": "vector", "len": 9223372036854775808}, {"name": "c", "kind": "numeric"}], "packed": "x", "outputs": ["ltv"]}');
SELECT channels, (s).* FROM unnest('{0,1,4611686018427387904}'::numeric[]) channels,
    LATERAL (SELECT stored(:'any_steps', jsonb_build_object('inputs', jsonb_build_array(jsonb_build_object('name', 'x', 'kind', 'sequence', 'channels', channels)), 'outputs', '["ltv"]'::jsonb), '''{"x": [[1], [2]]}''::jsonb') AS s) x;
SELECT stored(:'any_width', schema::jsonb) FROM unnest(array['{}', '[]', 'null', '1', '{"inputs": null, "outputs": null}', '{"inputs": [], "outputs": []}', '{"inputs": [{"name": "x", "kind": "numeric"}], "outputs": ["ltv"], "graph_outputs": {"ltv": "x"}}',
    '{"inputs": [{"name": "x", "kind": "vector", "len": -1}], "outputs": ["ltv"]}', '{"inputs": [{"name": "x", "kind": "vector", "len": 1e300}], "outputs": ["ltv"]}', '{"inputs": [{"name": "x", "kind": "categorical"}], "outputs": ["ltv"]}']) schema;
SELECT stored(:'loop', '{"inputs": [{"name": "x", "kind": "numeric"}], "outputs": ["ltv"]}', 'array[1]');

-- One long sequence does not make the others as long.
SELECT ltv_import_onnx('steps', decode(:'any_steps', 'base64'));
SELECT ltv_import_onnx('sequences', decode(:'kinds', 'base64'));
CREATE TABLE long (id int, a real, country text, v real[], s real[], day real);
INSERT INTO long SELECT i, 1, 'DE', '{0,0,0}', array_fill(0.001::real, array[CASE i WHEN 500 THEN 1000000 ELSE 2 END, 2]), 0 FROM generate_series(1, 1000) i;
SELECT count(*), min(p), max(p) FROM (SELECT round(ltv_predict('sequences', l)) AS p FROM long l) x;

-- Bytes changed at random, and parts of graphs: whatever comes out is said in our words.
SET statement_timeout = '3s';
CREATE TABLE outcomes (state text, message text);
INSERT INTO outcomes SELECT (i).state, (i).message FROM unnest(:'mutated'::text[]) graph, LATERAL (SELECT import(graph) AS i) s;
DO $$
DECLARE
    seed bigint := 42;
    graph bytea;
    outcome record;
BEGIN
    CREATE TEMP TABLE sources AS SELECT row_number() OVER () AS n, onnx FROM ltv.versions WHERE octet_length(onnx) < 3000 AND model <> 'stored';
    FOR i IN 1 .. 1500 LOOP
        SELECT onnx INTO graph FROM sources WHERE n = 1 + i % (SELECT count(*) FROM sources);
        FOR j IN 1 .. 1 + i % 3 LOOP
            seed := (seed * 6364136223 + 1442695041) % 4294967296;
            graph := set_byte(graph, (seed / 7 % octet_length(graph))::int, (seed / 1048576 % 256)::int);
        END LOOP;
        SELECT * INTO outcome FROM import(encode(graph, 'base64'));
        INSERT INTO outcomes VALUES (outcome.state, outcome.message);
    END LOOP;
END
$$;
RESET statement_timeout;
SELECT count(*) > 1600 AS tried, count(*) FILTER (WHERE state = '00000') > 0 AS some_work, count(*) FILTER (WHERE state <> '00000') > 500 AS most_fail FROM outcomes;
SELECT * FROM outcomes WHERE state LIKE 'XX%' OR message LIKE '%internal%';
