-- database: cdnow
-- Campaigns on real orders. Contacts that do nothing show no lift, but for the false alarms that are due; a lift that was put in is found as often as is said.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
SET client_min_messages = warning;
SELECT ltv_import_onnx('m', decode(:'same', 'base64'));
-- What is known by a day, as simple as can be: what a customer spent so far.
CREATE TABLE cdnow AS SELECT customer_id, sum(amount)::float8 AS x FROM orders WHERE ordered_at <= '1997-09-30' GROUP BY 1;
CREATE TABLE retail_log (customer_id text, ts timestamp, amount numeric, n_lines int, n_products int, units int, returned numeric, country text, split_bucket int);
\copy retail_log FROM PROGRAM 'gzip -dc tests/data/online_retail_2_orders.csv.gz' (FORMAT csv, HEADER)
CREATE TABLE retail AS SELECT customer_id, GREATEST(sum(amount), 0)::float8 AS x FROM retail_log WHERE ts < '2011-06-10' GROUP BY 1;
SELECT step, customers FROM ltv_create_campaign('music', 'm', 'cdnow', hold_out => 0.3, start => '1997-10-01', budget => 5000, cost_per_contact => 1) WHERE step IN ('query', 'hold_out', 'contact');
SELECT step, customers FROM ltv_create_campaign('gifts', 'm', 'retail', hold_out => 0.3, start => '2011-06-10') WHERE step IN ('query', 'hold_out', 'contact');
CREATE TABLE music_base AS TABLE music;
CREATE TABLE gifts_base AS TABLE gifts;
-- Of the orders what counts and a day before, which is enough to be known by.
CREATE TABLE music_log AS SELECT customer_id, ordered_at AS day, amount FROM orders WHERE customer_id IN (SELECT customer_id FROM music) AND ordered_at >= '1997-09-30';
CREATE TABLE gifts_log AS SELECT customer_id, ts AS day, amount FROM retail_log WHERE ts >= '2011-06-09';
ANALYZE music_log, gifts_log;
CREATE TABLE found (campaign text, run int, put_in float8, lift float8, low float8, high float8, detectable float8, spend float8, reduction float8);
-- Draws new arms, with contacts that make everybody who buys anyway spend more by a factor.
CREATE PROCEDURE draw(campaign text, runs int, put_in float8) LANGUAGE plpgsql AS $$
BEGIN
    FOR run IN 1 .. runs LOOP
        EXECUTE format('TRUNCATE %1$I; INSERT INTO %1$I SELECT customer_id, rank, tier, ltv, arm, since, CASE WHEN ltv.customer_fraction(%2$L, customer_id) < 0.3 THEN ''hold_out'' ELSE ''contact'' END, drawn_tier, drawn_ltv FROM %3$I',
                       campaign, put_in || ' run ' || run, campaign || '_base');
        INSERT INTO found SELECT campaign, run, put_in, r.lift, r.lift_low, r.lift_high, r.detectable_lift, r.hold_out_spend, r.variance_reduction
        FROM ltv_campaign_result(campaign, format('SELECT o.customer_id, o.day, o.amount * CASE WHEN c.drawn_arm = ''contact'' THEN %s ELSE 1 END AS amount FROM %I o JOIN %I c USING (customer_id)', 1 + put_in, campaign || '_log', campaign),
                                 date_column => 'day', value_column => 'amount') r WHERE r.tier IS NULL;
    END LOOP;
END
$$;
CALL draw('music', 150, 0);
CALL draw('gifts', 150, 0);
SELECT campaign, count(*), count(*) FILTER (WHERE low > 0 OR high < 0) BETWEEN 1 AND 17 AS about_5_percent, abs(avg(lift)) < 3.3 * stddev(lift) / sqrt(count(*)) AS unbiased, avg(reduction) > 0.1 AS reduces FROM found GROUP BY 1 ORDER BY 1;
-- A lift of the size that is said to be found in four of five cases.
SELECT round((avg(detectable / spend) FILTER (WHERE campaign = 'music'))::numeric, 4) AS music, round((avg(detectable / spend) FILTER (WHERE campaign = 'gifts'))::numeric, 4) AS gifts FROM found \gset
CALL draw('music', 60, :music);
CALL draw('gifts', 60, :gifts);
SELECT campaign, count(*), count(*) FILTER (WHERE low > 0) BETWEEN 38 AND 57 AS about_80_percent FROM found WHERE put_in > 0 GROUP BY 1 ORDER BY 1;
