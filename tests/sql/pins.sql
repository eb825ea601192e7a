-- What stores scores of a pinned version is found however the call is written, and whatever settings say of how PostgreSQL writes expressions.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION make_model(name text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO ltv.models (model, last_version) VALUES (name, 3);
    INSERT INTO ltv.versions (model, version, checksum, onnx, schema)
    SELECT name, v, encode(sha256(o), 'hex'), o, '{"inputs": [{"name": "a", "kind": "numeric", "type": "real"}, {"name": "b", "kind": "numeric", "type": "real"}]}'
    FROM generate_series(1, 3) v, convert_to('graph ' || v, 'UTF8') o;
$$;
SELECT count(make_model(n)) FROM unnest(ARRAY['m', 'm2', 'it''s', E'back\\slash', 'cast']) n;
CREATE TABLE plain (x float8, p float8 GENERATED ALWAYS AS (ltv_predict('m', 1, ARRAY[x, 2])) STORED);
CREATE TABLE named (x float8, p float8 GENERATED ALWAYS AS (ltv_predict(model => 'm', version => 1, input => ARRAY[x, 2])) STORED);
CREATE TABLE named_and_cast (x float8, p float8 GENERATED ALWAYS AS (ltv_predict_proba(model => 'm', version => 1::bigint, input => ARRAY[x, 2])) STORED);
CREATE TABLE other_order (x float8, p float8 GENERATED ALWAYS AS (ltv_predict(version => 2, model => 'm', input => ARRAY[x, 2])) STORED);
CREATE TABLE checked (x float8, CHECK (ltv_predict_quantile('m', 1, ARRAY[x, 2], 0.5) >= 0));
CREATE DOMAIN valued AS float8 CHECK (ltv_predict('m', 1, ARRAY[value, 2]) >= 0);
CREATE TABLE parted (x float8) PARTITION BY RANGE (ltv_predict('m', 1, ARRAY[x, 2]));
CREATE TABLE customers (a float8, b float8);
CREATE INDEX by_value ON customers (ltv_predict('m', 1, ARRAY[a, b]));
CREATE INDEX valuable ON customers (a) WHERE ltv_predict('m', 3, ARRAY[a, b]) > 100;
CREATE TABLE of_another (x float8, p float8 GENERATED ALWAYS AS (ltv_predict('m2', 12, ARRAY[x, 2])) STORED);
CREATE TABLE quoted (x float8, p float8 GENERATED ALWAYS AS (ltv_predict('it''s', 1, ARRAY[x, 2])) STORED);
CREATE TABLE escaped (x float8, p float8 GENERATED ALWAYS AS (ltv_predict(E'back\\slash', 1, ARRAY[x, 2])) STORED);
CREATE TABLE cast_name (x float8, p float8 GENERATED ALWAYS AS (ltv_predict('cast'::varchar, 1, ARRAY[x, 2])) STORED);
CREATE VIEW pins AS SELECT m.model, v.version, p.object FROM ltv.models m, generate_series(1, 3) v(version), ltv.pinned_by(m.model, v.version) p;
SELECT * FROM pins ORDER BY model COLLATE "C", version, object COLLATE "C";
SELECT m.model, count(p.object) FROM ltv.models m LEFT JOIN LATERAL ltv.pinned_by(m.model, NULL) p ON true GROUP BY m.model ORDER BY m.model COLLATE "C";
CREATE TABLE found AS TABLE pins;
SET quote_all_identifiers = on;
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT count(*) FROM found;
SELECT count(*) FROM (TABLE found EXCEPT TABLE pins) x;
SELECT ltv_drop_version('m', 1);
SELECT ltv_drop_version(E'back\\slash', 1);
SELECT ltv_drop_version(E'back\\slash', 2);
SELECT ltv_drop_model('cast');
SELECT ltv_keep_versions('m', 1);
SELECT ltv_keep_versions('it''s', 1);
