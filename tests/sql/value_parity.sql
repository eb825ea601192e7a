-- Training, scoring and monitoring see the same values: each type, with what is missing, infinite, tiny, huge and in odd bounds.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
SET client_min_messages = warning;  -- the progress of a job depends on the time
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN cents AS bigint;
CREATE DOMAIN price AS money;
CREATE DOMAIN waiting AS interval CHECK (value > '-10 years');
CREATE DOMAIN word AS text;
CREATE DOMAIN pair AS float8[];
CREATE TABLE typed AS SELECT
    i AS customer_id,
    CASE WHEN i % 4 = 0 THEN (i * 31 % 97)::float8 ELSE 0 END AS ltv,
    NULLIF(i % 11, 3)::smallint AS small,
    i * 7919 % 1000 - 500 AS whole,
    i * 1000000000039 AS big,
    (i * 12345)::cents AS cents,
    (ARRAY['inf', '-inf', 'nan', NULL, '1e-40', '-1e-45', '-0', '3.4028235e38', '0.1', '11.77', '-7']::real[])[1 + i % 11] AS single,
    (ARRAY['inf', 'nan', NULL, '1e-320', '7e-46', '7.1e-46', '1e-40', '3.4028235e38', '3.40282357e38', '1e300', '0.1', '11.77', '-7.5']::float8[])[1 + i % 13] AS double,
    (ARRAY['NaN', NULL, 'Infinity', '1e400', '-1e400', '1e-400', '1e-44', '123456789012345678901234567890.5', '0.1', '11.77', '-2']::numeric[])[1 + i % 11] AS digits,
    (i * 12.345)::numeric(12, 4) AS fixed,
    CASE WHEN i % 5 > 0 THEN (i * 123.45 - 20000)::numeric::money END AS paid,
    (i * 7.77)::numeric::money::price AS price,
    (ARRAY['1 year 2 mons 3 days 04:05:06.5', '-1 mon +1 day', NULL, '36:00', '400 days', '-3 years']::interval[])[1 + i % 6] AS gap,
    (i * interval '1 hour 7 minutes')::waiting AS waiting,
    CASE i % 7 WHEN 0 THEN 'infinity' WHEN 1 THEN NULL ELSE '1969-12-01'::date + i END AS day,
    CASE i % 7 WHEN 0 THEN '-infinity' WHEN 1 THEN NULL ELSE timestamp '1999-12-31 23:00' + i * interval '7 hours' END AS moment,
    CASE i % 7 WHEN 1 THEN NULL ELSE timestamptz '2024-03-01 00:00+00' + i * interval '5 hours' END AS moment_tz,
    i % 3 = 0 AS flag,
    (ARRAY[NULL, '', 'Grüße', 'c1', ' c1', 'c2'])[1 + i % 6] AS words,
    ('v' || i % 3)::varchar(10) AS limited,
    ('p' || i % 3)::char(5) AS padded,
    (ARRAY['c1', 'Grüße'])[1 + i % 2]::word AS word,
    ('n' || i % 3)::name AS name,
    (ARRAY['sad', 'happy'])[1 + i % 2]::mood AS mood,
    md5((i % 8)::text)::uuid AS uuid,
    CASE WHEN i % 10 > 0 THEN ARRAY[i, NULLIF(i % 3, 0)]::int[] ELSE '{}' END AS ints,
    format('[0:1]={%s,%s}', i, i % 7)::float8[] AS from_zero,
    ARRAY[i, i % 5]::real[] AS reals,
    ARRAY[i % 9, (ARRAY['NaN', '1e400', '5', NULL, '1e-400']::numeric[])[1 + i % 5]]::numeric[] AS digit_pairs,
    ARRAY[i % 2, 1]::float8[]::pair AS pairs
FROM generate_series(1, 500) i;

SELECT ltv_train('typed', 'typed', options => '{"epochs": 1, "min_count": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT i ->> 'name' AS name, i ->> 'kind' AS kind, i ->> 'type' AS type FROM ltv.versions, jsonb_array_elements(schema -> 'inputs') i WHERE model = 'typed';

-- Training and monitoring: the same rows fall into the same bins and categories, and as many are missing.
CREATE VIEW profiles AS
SELECT t.e ->> 'name' AS feature, t.e AS training, m.e AS monitoring
FROM ltv.described_features('typed', 1) f, jsonb_array_elements(ltv.training_profile(f)) t(e),
     jsonb_array_elements(ltv.profile('SELECT * FROM public.typed', f, 'typed', 1)) m(e)
WHERE m.e ->> 'name' = t.e ->> 'name';
SELECT count(*) AS features, count(*) FILTER (WHERE (training ->> 'missing')::float8 > 0) AS some_missing FROM profiles;
SELECT feature, training ->> 'missing' AS then, monitoring ->> 'missing' AS now FROM profiles
WHERE round((training ->> 'missing')::numeric, 9) <> round((monitoring ->> 'missing')::numeric, 9);
SELECT feature, k.bin, round((training -> 'counts' ->> k.bin)::numeric, 3) AS then, (monitoring -> 'counts' ->> k.bin)::int AS now
FROM profiles, LATERAL (SELECT jsonb_object_keys(training -> 'counts') UNION SELECT jsonb_object_keys(monitoring -> 'counts')) k(bin)
WHERE feature <> 'ltv' AND abs(COALESCE((training -> 'counts' ->> k.bin)::float8, 0) - COALESCE((monitoring -> 'counts' ->> k.bin)::float8, 0)) > 1e-6;
SELECT feature, training ->> 'mean' AS then, monitoring ->> 'mean' AS now FROM profiles
WHERE abs((training ->> 'mean')::float8 - (monitoring ->> 'mean')::float8) > 1e-5 * abs((training ->> 'mean')::float8);
SELECT * FROM ltv_validate_data_skew('typed', 'typed') WHERE drifted;

-- Scoring: a graph that returns its input, a number.
SELECT ltv_import_onnx('same', decode(:'same', 'base64'));
CREATE FUNCTION differing(columns text[], scored text, expected text) RETURNS TABLE (name text, differing bigint, present bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOREACH name IN ARRAY columns LOOP
        EXECUTE format('SELECT count(*) FILTER (WHERE %s IS DISTINCT FROM %s), count(%s) FROM (SELECT %I AS x FROM typed) s', scored, expected, expected, name) INTO differing, present;
        RETURN NEXT;
    END LOOP;
END $$;
SELECT * FROM differing('{small,whole,big,cents,single,double,digits,fixed,paid,price,gap,waiting,flag}', $$ltv_predict('same', s)$$, 'ltv.number_of(x)');
SELECT * FROM differing('{small,whole,big,cents,single,double,digits,fixed,flag}', $$ltv_predict('same', to_jsonb(s))$$, 'ltv.number_of(x)');
-- One that returns the number of a category.
SELECT ltv_import_onnx('letters', decode(:'letters', 'base64'));
CREATE FUNCTION number_of_category(category text) RETURNS float8 LANGUAGE sql AS
$$ SELECT COALESCE(array_position('{"",Grüße,c1,true,false,happy,p1,n1,v1}'::text[], COALESCE(category, '')), 0) - 1 $$;
SELECT * FROM differing('{flag,words,limited,padded,word,name,mood,uuid}', $$ltv_predict('letters', s)$$, 'number_of_category(ltv.category_of(x))');
SELECT * FROM differing('{flag,words,limited,word,name,mood,uuid}', $$ltv_predict('letters', to_jsonb(s))$$, 'number_of_category(ltv.category_of(x))');
-- One that takes two numbers as an array: the first and ten times the second.
SELECT ltv_import_onnx('pairs', decode(:'linear', 'base64'));
SELECT * FROM differing('{ints,from_zero,reals,digit_pairs,pairs}', $$ltv_predict('pairs', s)$$, 'ltv.element_of(x, 1) + 10 * ltv.element_of(x, 2)');
SELECT * FROM differing('{ints,from_zero,reals,digit_pairs,pairs}', $$ltv_predict('pairs', to_jsonb(s))$$, 'ltv.element_of(x, 1) + 10 * ltv.element_of(x, 2)');
-- The model that was trained: a row, and the same as JSON, in which money and intervals are texts, and blanks pad.
SELECT count(*) AS rows, count(*) FILTER (WHERE abs(ltv_predict('typed', t) - ltv_predict('typed', to_jsonb(t))) > 1e-5 * ltv_predict('typed', t)) AS differing FROM typed t;
SELECT abs(a.mean / (s ->> 'mean')::float8 - 1) < 1e-5 AS as_trained
FROM (SELECT avg(ltv_predict('typed', t)) AS mean FROM typed t) a, ltv.versions, jsonb_array_elements(statistics -> 'features') s
WHERE model = 'typed' AND s ->> 'name' = 'ltv';

-- And all of them what PostgreSQL itself makes of the values.
SELECT count(*) AS rows, count(*) FILTER (WHERE ltv.number_of(paid) IS DISTINCT FROM paid::numeric::float4::float8) AS paid,
    count(*) FILTER (WHERE ltv.number_of(price) IS DISTINCT FROM price::numeric::float4::float8) AS price,
    count(*) FILTER (WHERE ltv.number_of(gap) IS DISTINCT FROM (extract(epoch FROM gap) / 86400)::float4::float8) AS gap,
    count(*) FILTER (WHERE ltv.number_of(moment_tz) IS DISTINCT FROM (extract(epoch FROM moment_tz) / 86400)::float4::float8) AS moment_tz,
    count(*) FILTER (WHERE ltv.number_of(day) IS DISTINCT FROM CASE WHEN isfinite(day) THEN day - date '1970-01-01' END) AS day,
    count(*) FILTER (WHERE ltv.number_of(fixed) IS DISTINCT FROM fixed::float4::float8) AS fixed,
    count(*) FILTER (WHERE ltv.category_of(padded) IS DISTINCT FROM padded::text OR ltv.category_of(uuid) IS DISTINCT FROM uuid::text
                     OR ltv.category_of(words) IS DISTINCT FROM NULLIF(words, '')) AS texts
FROM typed;
SELECT v AS double, ltv.number_of(v) FROM unnest('{1e-320,7e-46,7.1e-46,1e-40,3.4028235e38,3.40282357e38,inf,nan,-0}'::float8[]) v;
SELECT left(v::text, 8) AS digits, ltv.number_of(v) FROM unnest('{1e400,1e-400,1e-44,NaN,Infinity,0.1}'::numeric[]) v;

-- The amount of money depends on lc_monetary, as PostgreSQL's own cast does, from one statement to the next.
SELECT ltv.number_of('$12.34'::money), ltv_predict('same', s) FROM (SELECT '$12.34'::money AS x) s;

-- What models cannot read.
SELECT ltv.number_of('a'::text);
SELECT ltv.number_of('(1,2)'::point);
SELECT ltv.element_of('{a}'::text[], 1);
SELECT ltv.element_of('{1,2}'::int[], 0), ltv.element_of('{1,2}'::int[], 3), ltv.element_of(NULL::int[], 1), ltv.element_of('{}'::int[], 1), ltv.element_of('{1,2}'::int[], NULL);

-- Which customers: in plain SQL, and for each purpose its own.
CREATE VIEW ids AS SELECT id FROM unnest(ARRAY['', '1', 'Zoë', '顧客', ' x ', repeat('long', 1000)]) id UNION ALL SELECT i::text FROM generate_series(1, 1000) i;
SELECT count(*) AS ids, count(*) FILTER (WHERE ltv.customer_fraction('salt:', id)
    = ('x' || left(encode(sha256(convert_to('salt:' || id, 'UTF8')), 'hex'), 8))::bit(32)::bigint / 4294967296.0::float8) AS as_in_plain_sql,
    count(*) FILTER (WHERE ltv.held_out(id, 0.2) = (('x' || left(encode(sha256(convert_to('held out:' || id, 'UTF8')), 'hex'), 8))::bit(32)::bigint::float8 < 0.2 * 4294967296::float8)) AS held_out,
    count(*) FILTER (WHERE ltv.customer_position(id)
    = ('x' || left(encode(sha256(convert_to('traffic:' || id, 'UTF8')), 'hex'), 8))::bit(32)::bigint / 4294967296.0::float8) AS in_traffic
FROM ids;
SELECT ltv.customer_fraction(NULL, 'x'), ltv.customer_fraction('x', NULL), ltv.held_out(NULL, 0.2), ltv.customer_position(NULL);
