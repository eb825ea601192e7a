-- database: demo
-- The nightly chain: refresh, score, monitor, retrain, step by step; what fails, is gone or is somebody else's.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- The log as it was known at the time: it ends on the day before today.
CREATE TABLE log AS SELECT customer_id, ordered_at + (current_date - 1 - date '1998-06-30') AS ordered_at, amount FROM orders;
SELECT ltv_create_features('serving', 'log', date_column => 'ordered_at', value_column => 'amount', as_of => current_date - 10, horizon => 270);
CALL ltv_nightly('cdnow', features => 'serving', scores => 'scores');
SELECT step, status, rows, message, sqlstate, duration >= interval '0' AS timed, role = current_user AS mine FROM ltv_nightly_steps;
