-- The naive forecast for the customers held out: what a customer spent in the last 273 days, it will spend in the next.
-- Judged by the definitions of ltv_evaluate; customers with equal forecasts share their places.
with forecast as (
    select f.customer_id, f.ltv as y,
           greatest(0, coalesce(sum(o.amount) filter (where o.ordered_at > f.as_of - 273 and o.ordered_at <= f.as_of), 0))::float8 as x
    from cdnow_features f join orders o using (customer_id)
    where f.split = 'test'
    group by f.customer_id, f.ltv
), ranked as (
    select y, x,
           avg(y) over (partition by x) as shared,
           rank() over (order by x) + (count(*) over (partition by x) - 1) / 2.0 as rank_x,
           rank() over (order by y) + (count(*) over (partition by y) - 1) / 2.0 as rank_y,
           ntile(10) over (order by x desc, customer_id) as decile,
           row_number() over (order by x desc, customer_id) as place,
           count(*) over () as customers
    from forecast
), curves as (
    select *,
           sum(shared) over (order by x desc, place rows unbounded preceding) / sum(y) over () as by_forecast,
           sum(y) over (order by y desc, place rows unbounded preceding) / sum(y) over () as by_truth
    from ranked
), deciles as (
    select abs(avg(x) - avg(y)) / avg(y) as miss from ranked group by decile
)
select (2 * avg(by_forecast) - 1) / (2 * avg(by_truth) - 1) as normalized_gini,
       corr(rank_x, rank_y) as spearman,
       (select avg(miss) from deciles) as decile_mape,
       sum(shared) filter (where place <= ceil(customers * 0.1)) / sum(y) as revenue_capture_10,
       sum(x) / sum(y) as total_ratio
from curves
