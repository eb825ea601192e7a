-- database: cdnow
-- The RFM summary against the published one of a tenth of these customers (Fader, Hardie and Lee 2005): every published row is found.
\set SHOW_CONTEXT never
CREATE TABLE published (id int, x int, t_x numeric(8, 2), t numeric(8, 2), m_x numeric(8, 2));
\copy published FROM PROGRAM 'gzip -dc tests/data/cdnow_sample_rfm.csv.gz' (FORMAT csv, HEADER)
CREATE TABLE ours AS SELECT frequency AS x, recency::numeric(8, 2) AS t_x, t::numeric(8, 2), monetary_value::numeric(8, 2) AS m_x
    FROM ltv_rfm_summary('orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', days_per_unit => 7);
SELECT count(*), sum(x) FROM published;
SELECT count(*) AS not_found FROM (SELECT x, t_x, t, m_x FROM published EXCEPT ALL TABLE ours) z;

-- By hand: three purchase days, one of them of two orders; a return and a day after the cut-off do not count.
CREATE TABLE few (customer_id int, ts timestamptz, amount numeric);
INSERT INTO few VALUES (1, '2024-01-01', 10), (1, '2024-01-08', 5), (1, '2024-01-08', 15), (1, '2024-01-15', 40), (1, '2024-01-20', -40), (1, '2024-02-01 00:30+00', 99), (2, '2024-01-29', 3);
SELECT * FROM ltv_rfm_summary('few', date_column => 'ts', value_column => 'amount', as_of => '2024-01-29');
SELECT * FROM ltv_rfm_summary('few', date_column => 'ts', value_column => 'amount', as_of => '2024-01-31', time_zone => 'America/New_York', days_per_unit => 7);

SELECT ltv_rfm_summary('few', date_column => 'ts', value_column => 'amount', as_of => '{2024-01-29,2024-01-30}');
SELECT ltv_rfm_summary('few', date_column => 'ts', value_column => 'amount', as_of => '2024-01-29', days_per_unit => 0);
SELECT ltv_rfm_summary('few', date_column => 'ts', value_column => 'price', as_of => '2024-01-29');
