-- Inputs of ltv_predict: arrays, rows, jsonb; all common types; missing values; errors.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
SELECT ltv_import_onnx('linear', decode(:'linear', 'base64'), array['a', 'b']) AS linear, ltv_import_onnx('ziln', decode(:'ziln', 'base64')) AS ziln;
-- As a training would store it: day is a time, not a number.
INSERT INTO ltv.models (model, last_version) VALUES ('kinds', 1);
INSERT INTO ltv.versions (model, version, onnx, checksum, schema) SELECT 'kinds', 1, o, encode(sha256(o), 'hex'),
    '{"inputs": [{"name": "a", "kind": "numeric", "type": "numeric"}, {"name": "country", "kind": "categorical", "type": "text"}, {"name": "v", "kind": "vector", "len": 3, "type": "real[]"}, {"name": "s", "kind": "sequence", "channels": 2, "type": "real[]"}, {"name": "day", "kind": "timestamp", "type": "date"}], "outputs": ["ltv"], "distribution": null}'
FROM decode(:'kinds', 'base64') o;
INSERT INTO ltv.aliases VALUES ('kinds', 'champion', 1);

-- linear is a + 10 b. Every element type of an array.
SELECT ltv_predict('linear', array[1, 2]::smallint[]) AS int2, ltv_predict('linear', array[1, 2]) AS int4,
       ltv_predict('linear', array[1, 2]::bigint[]) AS int8, ltv_predict('linear', array[1.5, 2]::real[]) AS float4,
       ltv_predict('linear', array[1.5, 2]::float8[]) AS float8, ltv_predict('linear', array[1.5, -0.25]) AS numeric,
       ltv_predict('linear', array[true, false]) AS bool, ltv_predict('linear', array['1.5', ' 2 ']) AS text,
       ltv_predict('linear', '{{1},{2}}'::int[]) AS two_dimensional, ltv_predict('linear', '[5:6]={1,2}'::real[]) AS shifted;
CREATE DOMAIN vec AS real[]; CREATE DOMAIN positive AS int CHECK (VALUE > 0);
SELECT ltv_predict('linear', array[1, 2]::vec) AS domain, ltv_predict('linear', array[1, 2]::positive[]) AS domains;
SELECT n, ltv_predict('linear', array[n, 0]) FROM unnest('{0,1,-1,10000,9999.9999,0.0001,-123456.789,1e20,1e-20,3.4e38,1e39,NaN,Infinity}'::numeric[]) n;
-- Stored arrays: short header, long, compressed, out of line.
CREATE TABLE arrays (id int, a real[]);
INSERT INTO arrays VALUES (1, '{1,2}'), (2, '{1,NULL}');
SELECT id, ltv_predict('linear', a) FROM arrays ORDER BY id;

-- NULL, NaN and infinities are missing values (NaN for this graph, which knows no better, and that is NULL).
SELECT ltv_predict('linear', array[1, NULL]), ltv_predict('linear', '{1,NaN}'::real[]), ltv_predict('linear', '{1,Infinity}'::float8[]),
       ltv_predict('linear', '{1,1e300}'::float8[]), ltv_predict('linear', NULL::real[]), ltv_predict('linear', NULL::jsonb), ltv_predict('linear', 'null'::jsonb);

-- kinds is a (or -1) + 100, 200, 300, 400 for DE, FR, true, 7 + v . (.1, .01, .001) + 10000 * sum(s) + days since 1970 (or -1).
CREATE TABLE people (note text, s real[], day date, v float8[], a numeric(12, 3), dropped int, country text);
ALTER TABLE people DROP dropped;
INSERT INTO people VALUES ('all', '{{1,2},{3,4}}', '1970-01-03', '{1,2,3}', 5, 'FR'), ('none', NULL, NULL, NULL, NULL, NULL),
    ('unseen', '{}', '-infinity', '{1,NULL,NaN}', 'NaN', 'XX'), ('one step', '{{0,1}}', '2000-01-01', '{0,0,0}', 0, '');
SELECT note, ltv_predict('kinds', p) FROM people p;
SELECT note, ltv_predict('kinds', to_jsonb(p)) FROM people p WHERE note <> 'unseen';
SELECT note, ltv_predict('kinds', ROW(p.*)::people) AS cast_row, ltv_predict('kinds', x) AS subquery FROM people p, LATERAL (SELECT a, country, v, s, day, now()) x;
SELECT p.ltv_predict IS NULL FROM (SELECT 1 AS ltv_predict) p;
-- A NULL row, as an outer join makes it, is no row.
SELECT ltv_predict('kinds', p) FROM (VALUES (1)) one LEFT JOIN people p ON false;
-- Categories and times of other types.
CREATE TYPE land AS ENUM ('DE', 'FR', 'XX');
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, 'FR'::land AS country, '{0,0,0}'::int[] AS v, '{}'::real[] AS s, timestamp '1970-01-02 12:00' AS day) t;
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, true AS country, '{0,0,0}'::int[] AS v, '{}'::real[] AS s, timestamptz '1970-01-02 12:00+12' AS day) t;
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, 7 AS country, '{0,0,0}'::int[] AS v, '{}'::real[] AS s, 'infinity'::timestamp AS day) t;
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, 'FR'::char(8) AS country, '{0,0,0}'::int[] AS v, '{}'::real[] AS s, NULL::date AS day) t;
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, 'FR'::name AS country, '{0,0,0}'::int[] AS v, '{}'::real[] AS s, NULL::date AS day) t;
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, 7::numeric AS country, '{0,0,0}'::int[] AS v, '{}'::real[] AS s, NULL::date AS day) t;
-- The time zone of the session has no say.
SET TimeZone = 'Asia/Tokyo';
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, '' AS country, '{0,0,0}'::int[] AS v, '{}'::real[] AS s, timestamptz '1970-01-02 00:00+00' AS day) t;
RESET TimeZone;
-- JSON: numbers as text, booleans and numbers as categories, ISO times.
SELECT day, ltv_predict('kinds', jsonb_build_object('a', '0', 'country', true, 'v', '[0,0,0]'::jsonb, 's', '[[0,0]]'::jsonb, 'day', day))
FROM unnest('{1970-01-02,1970-01-02T12:00,1970-01-02 12:00:00Z,1970-01-02T12:00:00+12:00,2000-02-29,5.5,""}'::text[]) day;
SELECT ltv_predict('kinds', '{"a": true, "country": 7, "v": [1, null, 3], "s": null, "day": null}'::jsonb);
SELECT ltv_predict('linear', '[1, 2]'::jsonb), ltv_predict('linear', '["1", null]'::jsonb), ltv_predict('linear', jsonb_build_object('a', 1, 'b', 2, 'c', repeat('x', 5000)));

-- What else a model knows: p = 1/2, mu = 1, sigma = 1/2 here, so the 90 % quantile is exp(1 + 0.5 * z(0.8)).
SELECT round(ltv_predict('ziln', t)::numeric, 4) AS ltv, ltv_predict_proba('ziln', t) AS p, round(ltv_predict_quantile('ziln', t, 0.9)::numeric, 3) AS p90,
       ltv_predict_quantile('ziln', t, 0.5) AS p50, ltv_predict_quantile('ziln', t, NULL) AS none FROM (SELECT 0 AS z, 1 AS m) t;
SELECT round(ltv::numeric, 4) AS ltv, purchase_probability, whale_probability, p10, p50, round(p90::numeric, 3) AS p90, version FROM ltv_predict_all('ziln', array[0, 1]);
SELECT (ltv_predict_all('linear', array[1, 2])).*;
SELECT (ltv_predict_all('linear', 1, '{"a": 1, "b": 2}'::jsonb)).ltv, ltv_predict_proba('ziln', 1, array[0, 1]), ltv_predict_quantile('ziln', 1, array[0, 1], 0.2);
SELECT ltv_predict_proba('linear', array[1, 2]);
SELECT ltv_predict_quantile('linear', array[1, 2], 0.5);
SELECT ltv_predict_quantile('ziln', array[1, 2], 1.5);
SELECT ltv_predict_quantile('ziln', array[1, 2], 'NaN');

-- Errors.
SELECT ltv_predict('linear', array[1]);
SELECT ltv_predict('linear', '{}'::real[]);
SELECT ltv_predict('linear', '[1, 2, 3]'::jsonb);
SELECT ltv_predict('linear', array['1', 'x']);
SELECT ltv_predict('kinds', array[1, 2]);
SELECT ltv_predict('kinds', t) FROM (SELECT 1 AS a, 'x' AS country) t;
SELECT ltv_predict('kinds', '{"a": 1}'::jsonb);
SELECT ltv_predict('linear', t) FROM (SELECT 'x' AS a, 1 AS b) t;
SELECT ltv_predict('linear', t) FROM (SELECT date '2020-01-01' AS a, 1 AS b) t;
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, '' AS country, '{0,0,0}'::int[] AS v, '{}'::real[] AS s, 5 AS day) t;
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, '' AS country, 'x' AS v, '{}'::real[] AS s, NULL::date AS day) t;
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, '' AS country, '{0,0}'::int[] AS v, '{}'::real[] AS s, NULL::date AS day) t;
SELECT ltv_predict('kinds', t) FROM (SELECT 0 AS a, '' AS country, '{0,0,0}'::int[] AS v, '{{1,2,3}}'::real[] AS s, NULL::date AS day) t;
SELECT ltv_predict('kinds', '{"a": 1, "country": "", "v": [1, "x", 3], "s": null, "day": null}'::jsonb);
SELECT ltv_predict('kinds', '{"a": 1, "country": "", "v": [1, 2, 3], "s": [[1, 2], [3]], "day": null}'::jsonb);
SELECT ltv_predict('kinds', '{"a": [1], "country": "", "v": [1, 2, 3], "s": null, "day": null}'::jsonb);
SELECT ltv_predict('kinds', '{"a": 1, "country": "", "v": [1, 2, 3], "s": null, "day": "1970-02-30"}'::jsonb);
SELECT ltv_predict('linear', '"text"'::jsonb);
SELECT ltv_predict('linear', 5);
