-- Stores the graphs beside this file: `vector` (two versions, the first is champion) and `customers`.
\set ECHO none
\set vector `cat tests/data/scoring/vector.json`
\set vector_1 `base64 < tests/data/scoring/vector_1.onnx | tr -d '\n'`
\set vector_2 `base64 < tests/data/scoring/vector_2.onnx | tr -d '\n'`
\set customers `cat tests/data/scoring/customers.json`
\set customers_1 `base64 < tests/data/scoring/customers_1.onnx | tr -d '\n'`
INSERT INTO ltv.models (model, last_version) VALUES ('vector', 2), ('customers', 1);
INSERT INTO ltv.versions (model, version, checksum, onnx, schema)
SELECT model, version, encode(sha256(onnx), 'hex'), onnx, schema::jsonb
FROM (VALUES
    ('vector', 1, decode(:'vector_1', 'base64'), :'vector'),
    ('vector', 2, decode(:'vector_2', 'base64'), :'vector'),
    ('customers', 1, decode(:'customers_1', 'base64'), :'customers')
) AS graph (model, version, onnx, schema);
INSERT INTO ltv.aliases (model, alias, version) VALUES ('vector', 'champion', 1), ('customers', 'champion', 1);
\set ECHO all
