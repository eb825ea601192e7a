-- Features from a million orders: ltv_create_features as a table, one process and parallel.
\set QUIET on
\pset footer off
create unlogged table orders as
select (random() ^ 2 * 100000)::int::text as customer_id,
       date '2022-01-01' + (random() * 1000)::int as ordered_at,
       round((exp(3 + random_value) * 1)::numeric, 2) as amount
from (select n, sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) as random_value
      from generate_series(1, 1000000) n) drawn;
analyze orders;
select count(*) as orders, count(distinct customer_id) as customers from orders;

\timing on
\echo 'One process:'
set max_parallel_workers_per_gather = 0;
select ltv_create_features('features_1', 'orders', date_column => 'ordered_at', value_column => 'amount',
                           as_of => '2024-03-31', horizon => 90);
\echo 'With parallel workers:'
set max_parallel_workers_per_gather = 2;
select ltv_create_features('features_2', 'orders', date_column => 'ordered_at', value_column => 'amount',
                           as_of => '2024-03-31', horizon => 90);
\echo 'Six snapshots stacked:'
select ltv_create_features('features_6', 'orders', date_column => 'ordered_at', value_column => 'amount',
                           as_of => array['2023-09-30', '2023-10-31', '2023-11-30', '2023-12-31', '2024-01-31', '2024-02-29']::date[],
                           horizon => 90);
\timing off
select (select count(*) from features_1) as one_snapshot, (select count(*) from features_6) as six_snapshots;
