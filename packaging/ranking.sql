-- From orders to a ranking in five statements, as an ordinary role might.
CREATE TABLE orders AS
SELECT n % 200 AS customer_id, date '2024-01-01' + n * 7919 % 365 AS ordered_at, 1 + n % 23 AS amount FROM generate_series(1, 3000) n;

SELECT ltv_create_features('f', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '2024-06-30', horizon => 90);
SELECT ltv_train('m', 'f', options => '{"epochs": 2, "ensemble": 1}');
SELECT ltv_wait(max(job)) FROM ltv_jobs;
SELECT count(*) > 0 FROM ltv_evaluate('m');
SELECT 'ranked ' || count(*) FROM (SELECT customer_id, ltv_predict('m', f) AS ltv FROM f ORDER BY ltv DESC LIMIT 10) r WHERE ltv >= 0;
