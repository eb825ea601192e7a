-- A game: everyone registers, one in twenty pays, mostly after the first week, and what players do in it tells who will. Trained on features of day 7,
-- a model that sees sessions orders players far better than one that sees payments only; both see the channel, whose mix drifts.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION u(i int, k int) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$ SELECT abs(hashint8extended(i * 1000003::bigint + k, 42) % 1000000) / 1e6 $$;
CREATE TABLE players AS SELECT i AS customer_id, date '2024-01-01' + i % 90 AS registered, CASE WHEN u(i, 9) < i % 90 / 90.0 THEN 'ads' ELSE 'friends' END AS channel FROM generate_series(1, 6000) i;
CREATE TABLE sessions AS SELECT p.customer_id AS player, p.registered::timestamp + d * interval '1 day' + u(p.customer_id, 500 + d) * interval '23 hours' AS at,
    CASE WHEN u(p.customer_id, 700 + d) < u(p.customer_id, 1) / 2 THEN 'shop' ELSE 'level' END AS kind, 5 + 40 * u(p.customer_id, 1) AS minutes
FROM players p, generate_series(0, 40) d WHERE u(p.customer_id, 100 + d) < u(p.customer_id, 1) ^ 2 + 0.05;
-- Of the keenest tenth every second pays, some of them much; of the others one in a hundred tries it in the first days.
CREATE TABLE payments AS SELECT p.customer_id, p.registered + d AS paid_at, round((5 * exp(3 * u(p.customer_id, 3)))::numeric, 2) AS amount
FROM players p, unnest('{9,16,30,45}'::int[]) d WHERE u(p.customer_id, 1) > 0.9 AND u(p.customer_id, 2) < 0.45
UNION ALL SELECT p.customer_id, p.registered + 2, 4.99 FROM players p WHERE u(p.customer_id, 4) < 0.01;
SELECT count(DISTINCT customer_id) * 100 / 6000 AS percent_pay FROM payments;
SELECT ltv_create_features('plain', 'payments', date_column => 'paid_at', value_column => 'amount', customers => 'players', start_column => 'registered', age => '{7}', horizon => 60, windows => '{3,7}', log_end => '2024-07-31');
SELECT ltv_create_features('behaviour', 'payments', date_column => 'paid_at', value_column => 'amount', customers => 'players', start_column => 'registered', age => '{7}', horizon => 60, windows => '{3,7}', log_end => '2024-07-31',
    events => '{"sessions": {"source": "sessions", "customer_id_column": "player", "date_column": "at", "type_column": "kind", "value_columns": ["minutes"]}}');
SELECT count(*) AS rows, count(ltv) AS labels, count(*) FILTER (WHERE purchases = 0) > 5500 AS most_have_not_paid FROM behaviour;
SELECT ltv_train('plain', query => 'SELECT * FROM plain WHERE customer_id % 4 <> 0', options => '{"ensemble": 1, "epochs": 15, "seed": 1, "threads": 1}') AS plain, ltv_train('behaviour', query => 'SELECT * FROM behaviour WHERE customer_id % 4 <> 0', options => '{"ensemble": 1, "epochs": 15, "seed": 1, "threads": 1}') AS behaviour \gset
SELECT ltv_wait(:plain) AS plain, ltv_wait(:behaviour) AS behaviour;
CREATE TABLE judged AS SELECT model, m.metric, m.value FROM (VALUES ('plain', 'SELECT * FROM plain WHERE customer_id % 4 = 0'), ('behaviour', 'SELECT * FROM behaviour WHERE customer_id % 4 = 0')) x(model, query), ltv_evaluate(model, query) m;
SELECT metric, min(value) FILTER (WHERE model = 'plain') < 0.5 AS little_without, min(value) FILTER (WHERE model = 'behaviour') > 0.75 AS much_with FROM judged WHERE metric IN ('auc', 'normalized_gini') GROUP BY 1 ORDER BY 1;
-- The nightly chain: who has reached day 7 since is added and scored.
INSERT INTO players VALUES (6001, '2024-07-30', 'ads'), (6002, '2024-07-20', 'ads');
SELECT ltv_refresh_features('behaviour');
SELECT customer_id, as_of, ltv_predict('behaviour', b) >= 0 AS scored FROM behaviour b WHERE customer_id > 6000;
