-- Conversions with predicted values, and restatements by order id, as Google Ads takes them.
\set SHOW_CONTEXT never
CREATE TABLE scores (customer_id int, ltv float8, valid_to date);
INSERT INTO scores VALUES (1, 120.456, NULL), (2, 80, NULL), (3, 0, NULL), (4, -5, NULL), (5, 33.333, NULL), (6, 70, NULL), (1, 90, '2024-01-01');
CREATE TABLE first_orders (customer_id int, order_id bigint, conversion_time timestamptz, gclid text, email text, phone text);
INSERT INTO first_orders VALUES
    (1, 1001, '2024-03-05 10:00+01', 'Cj0KCQ', 'Cloudy.SanFrancisco@gmail.com', NULL), (2, 1002, '2024-03-06 23:59:59-08', NULL, ' Mary@Example.com ', '(650) 253-0000'), (3, 1003, '2024-03-07 12:00+00', 'zero', NULL, NULL),
    (4, 1004, '2024-03-07 12:00+00', 'negative', NULL, NULL), (5, 1005, '2024-03-08 12:00+00', ' ', 'no mail', NULL), (6, 1006, '2024-03-04 00:00+00', 'sixth', NULL, NULL), (7, 1007, '2024-03-04 00:00+00', 'unscored', NULL, NULL);
CREATE VIEW current AS SELECT * FROM scores WHERE valid_to IS NULL;
SELECT order_id, customer_id, gclid, left(email, 12) AS email, left(phone, 12) AS phone, conversion_name, time, value, currency, adjustment_type
FROM ltv_export_conversions('first_orders', 'current', 'First order', 'USD', calling_code => '1');
SELECT email = encode(sha256('mary@example.com'), 'hex') AS email, phone = encode(sha256('+16502530000'), 'hex') AS phone FROM ltv_export_conversions('first_orders', 'current', 'First order', calling_code => '1') WHERE order_id = '1002';
-- Dots in addresses of Google's own say nothing.
SELECT email = encode(sha256('cloudysanfrancisco@gmail.com'), 'hex') AS email FROM ltv_export_conversions('first_orders', 'current', 'First order') WHERE order_id = '1001';
-- What was sent: one as it is, one 10 % off, one new.
CREATE TABLE sent AS SELECT order_id, value * CASE WHEN order_id = '1002' THEN 1.1 ELSE 1.04 END AS value FROM ltv_export_conversions('first_orders', 'current', 'First order') WHERE order_id <> '1006';
BEGIN;
SELECT order_id, time = to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || '+0000' AS now FROM ltv_export_conversions('first_orders', 'current', 'First order', 'USD', sent => 'sent') WHERE adjustment_type = 'RESTATE';
ROLLBACK;
SELECT order_id, CASE WHEN adjustment_type IS NULL THEN time END AS time, value, currency, adjustment_type FROM ltv_export_conversions('first_orders', 'current', 'First order', 'USD', sent => 'sent');
SELECT order_id, value, adjustment_type FROM ltv_export_conversions('first_orders', 'current', 'First order', sent => 'sent', minimum_change => 0) WHERE adjustment_type IS NOT NULL;
SELECT count(*) FROM ltv_export_conversions('SELECT customer_id::text, order_id::text, conversion_time::date, gclid FROM first_orders', 'current', 'First order');
-- Clear words.
SELECT ltv_export_conversions('first_orders', 'scores', 'First order');
SELECT ltv_export_conversions('SELECT * FROM first_orders UNION ALL SELECT 8, 1001, now(), NULL, NULL, NULL', 'current', 'First order');
SELECT ltv_export_conversions('first_orders', 'current', 'First order', sent => 'SELECT * FROM sent UNION ALL SELECT * FROM sent');
SELECT ltv_export_conversions('first_orders', 'current', NULL);
SELECT ltv_export_conversions('first_orders', 'current', 'First order', 'Euro');
SELECT ltv_export_conversions('first_orders', 'current', 'First order', minimum_change => -1);
SELECT ltv_export_conversions('first_orders', 'current', 'First order', calling_code => '+1');
SELECT ltv_export_conversions('SELECT customer_id, order_id, conversion_time FROM first_orders', 'current', 'First order');
SELECT ltv_export_conversions('SELECT customer_id, order_id, gclid FROM first_orders', 'current', 'First order');
SELECT ltv_export_conversions('SELECT customer_id, order_id, gclid, 5 AS conversion_time FROM first_orders', 'current', 'First order');
SELECT ltv_export_conversions('first_orders', 'current', 'First order', sent => 'first_orders');
SELECT ltv_export_conversions(NULL, 'current', 'First order');
