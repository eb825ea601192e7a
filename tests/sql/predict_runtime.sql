-- ONNX Runtime is missing, is something else, or is too old: an error, and the session goes on.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
CREATE FUNCTION problem(call text, OUT state text, OUT message text, OUT detail text, OUT hint boolean) LANGUAGE plpgsql AS $$
DECLARE
    advice text;
BEGIN
    EXECUTE call;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
    hint := advice LIKE '%ltv.onnxruntime_library%';
END
$$;
INSERT INTO ltv.models (model, last_version) VALUES ('m', 1);
INSERT INTO ltv.versions (model, version, onnx, checksum, schema)
SELECT 'm', 1, o, encode(sha256(o), 'hex'), '{"inputs": [{"name": "x", "kind": "vector", "len": 2}], "outputs": ["ltv"], "graph_outputs": {"ltv": "variable"}}'
FROM decode(:'linear', 'base64') o;
SET ltv.onnxruntime_library = '/no/such/libonnxruntime.so';
SELECT * FROM problem('SELECT ltv_predict(''m'', 1, array[1, 2])');
SET ltv.onnxruntime_library = '/etc/passwd';
SELECT state, message, hint FROM problem('SELECT ltv_predict(''m'', 1, array[1, 2])');
SET ltv.onnxruntime_library = 'libc.so.6';
SELECT state, message, hint FROM problem('SELECT ltv_predict(''m'', 1, array[1, 2])');
SELECT state, message FROM problem('SELECT ltv_import_onnx(''n'', (SELECT onnx FROM ltv.versions))');
-- The session goes on, and once the library is there, so does scoring.
SELECT 1 + 1;
RESET ltv.onnxruntime_library;
SELECT ltv_predict('m', 1, array[1, 2]);
-- It has started no thread beside the server's own (its telemetry would: see src/scoring/runtime.rs).
SELECT count(*) AS threads FROM pg_ls_dir('/proc/self/task');
-- Only a superuser chooses what the server loads.
CREATE ROLE ltv_nobody;
SET ROLE ltv_nobody;
SET ltv.onnxruntime_library = 'mine.so';
\set VERBOSITY sqlstate
SHOW ltv.onnxruntime_library;
\set VERBOSITY default
RESET ROLE;
DROP ROLE ltv_nobody;
