{{ config(materialized='view') }}
select customer_id, ltv, ntile(10) over (order by ltv desc, customer_id) as tier from {{ ref('scores') }}
