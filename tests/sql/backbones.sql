-- Backbones and presets by name, from orders with a sequence to scores; what tft says it looked at; errors.
\pset format unaligned
SET client_min_messages = warning;  -- the progress of a job depends on the time

CREATE TABLE orders AS SELECT c AS customer_id, date '2024-01-01' + (c * 13 + n * n * (1 + c % 5) * 3) % 300 AS ordered_at,
    round((5 + (c * 31 + n * 17) % 90 + n / 3.0)::numeric, 2) AS amount, 1 + (c + n) % 4 AS units
FROM generate_series(1, 400) c, generate_series(0, c % 9) n;
CREATE TABLE people AS SELECT c AS customer_id, (ARRAY['DE', 'FR', 'UK'])[1 + c % 3] AS country FROM generate_series(1, 400) c;
SELECT ltv_create_features('customers', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '2024-08-01', horizon => 80,
    attributes => 'people', sequence => '{units}');

-- Every preset trains with nothing but its name (and few epochs), and scores everybody.
CREATE TABLE presets AS SELECT preset, ltv_train(preset, 'customers', preset => preset, options => CASE preset WHEN 'bgnbd' THEN '{}' ELSE '{"epochs": 1, "ensemble": 1}' END::jsonb) AS job
FROM unnest('{bgnbd,cmltv,dcn,dcn_v2,deepfm,expltv,gru,lstm,tft,transformer,ziln,ziln_linear}'::text[]) preset;
SELECT count(ltv_wait(job)) AS trained FROM presets;
SELECT v.model, v.objective, v.backbone, v.recipe ->> 'preset' AS preset FROM ltv_versions v ORDER BY v.model;
SELECT preset, count(*) AS customers, bool_and(COALESCE((s.p).ltv, (s.p).purchase_probability) >= 0) AS scored
FROM (SELECT preset, ltv_predict_all(preset, c) AS p FROM presets, customers c) s GROUP BY preset ORDER BY preset;

-- The shares that tft gave the features, and the channels of the sequence at each step, add up to 1.
SELECT part, count(*) AS features, round(sum(weight)::numeric, 5) AS sum, bool_and(0 <= p10 AND p10 <= p50 AND p50 <= p90 AND p90 <= 1) AS in_order
FROM ltv_selection_weights('tft') GROUP BY part ORDER BY part DESC;
SELECT feature FROM ltv_selection_weights('tft', 1) ORDER BY part DESC, feature COLLATE "C";

-- Errors ---------------------------------------------------------------------------------------------------------------
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; said text; details text; hints text; result text;
BEGIN
    EXECUTE 'SELECT ' || call INTO result;
    RETURN 'no error: ' || result;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT, details = PG_EXCEPTION_DETAIL, hints = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n  ', state || ' ' || said, NULLIF(details, ''), NULLIF(hints, ''));
END
$$;
SELECT attempt($$ ltv_selection_weights('gru') $$);
SELECT attempt($$ ltv_selection_weights('tft', 7) $$);
SELECT attempt($$ ltv_selection_weights('nothing') $$);
SELECT attempt($$ ltv_train('m', 'customers', preset => 'resnet') $$);
SELECT attempt($$ ltv_train('m', 'customers', objective => 'auto', preset => 'ziln') $$);
SELECT attempt($$ ltv_train('m', 'customers', backbone => 'tft', options => '{"attention_size": 10, "attention_heads": 4}') $$);
SELECT attempt($$ ltv_train('m', 'customers', objective => 'cmltv', options => '{"views": []}') $$);
SELECT attempt($$ ltv_train('m', 'customers', objective => 'expltv', options => '{"experts": 3}') $$);
-- Only the rows show these.
CREATE VIEW flat AS SELECT customer_id, recency, frequency, t, monetary_mean, country, ltv FROM customers;
CREATE FUNCTION fails(model text, query text, backbone text, objective text, options jsonb) RETURNS bigint LANGUAGE sql
AS $$ SELECT ltv_train(model, query => query, backbone => backbone, objective => objective, options => '{"epochs": 1, "ensemble": 1}' || options) $$;
SELECT fails('m', 'SELECT * FROM flat', 'gru', 'ziln', '{}') AS gru, fails('m', 'SELECT * FROM flat', 'tft', 'ziln', '{}') AS tft,
       fails('m', 'SELECT *, spend_sequence AS again FROM customers', 'gru', 'ziln', '{}') AS two,
       fails('m', 'SELECT customer_id, recency, frequency, country, ltv FROM flat', 'mlp', 'bgnbd', '{"horizon": 30}') AS histories,
       fails('m', 'SELECT * FROM flat', 'mlp', 'cmltv', '{"view_weights": [0, 0, 0]}') AS views \gset
SELECT attempt('ltv_wait(' || :gru || ')');
SELECT attempt('ltv_wait(' || :tft || ')');
SELECT attempt('ltv_wait(' || :two || ')');
SELECT attempt('ltv_wait(' || :histories || ')');
SELECT attempt('ltv_wait(' || :views || ')');

-- No error, though odd: nobody reaches the whale threshold (which is said), columns and categories that never differ, payers only.
SELECT fails('no_whales', 'SELECT * FROM customers', 'mlp', 'expltv', '{"whale_threshold": 1e9}') AS no_whales,
       fails('constant', 'SELECT customer_id, 1 AS a, 2.5::real AS b, ''x'' AS c, true AS d, date ''2024-01-01'' AS e, ltv FROM customers', 'mlp', 'ziln', '{}') AS constant,
       fails('one_category', 'SELECT customer_id, ''x'' AS c, ltv FROM customers', 'deepfm', 'ziln', '{}') AS one_category,
       fails('payers', 'SELECT * FROM customers WHERE ltv > 0', 'dcn', 'cmltv', '{}') AS payers \gset
SELECT count(ltv_wait(job)) AS trained FROM unnest(ARRAY[:no_whales, :constant, :one_category, :payers]) job;
SELECT model, message FROM ltv_jobs WHERE job IN (:no_whales, :constant, :one_category, :payers) ORDER BY job;
SELECT max((p).whale_probability) < 0.5 AS none, min((p).ltv) > 0 AS scored FROM (SELECT ltv_predict_all('no_whales', c) AS p FROM customers c) s;
-- A model that sees no difference makes none, and has the mean right.
SELECT count(DISTINCT s.ltv) AS values, bool_and(s.ltv BETWEEN 0.5 * m.ltv AND 2 * m.ltv) AS near_the_mean
FROM (SELECT ltv_predict('constant', x) AS ltv FROM (SELECT 1 AS a, 2.5::real AS b, 'x' AS c, true AS d, date '2024-01-01' AS e FROM customers) x) s, (SELECT avg(ltv) AS ltv FROM customers) m;
SELECT count(DISTINCT ltv_predict('one_category', x)) AS values FROM (VALUES ('x'), ('y'), (NULL)) AS x(c);
SELECT min(ltv_predict('payers', c)) > 0 AS scored FROM customers c;
