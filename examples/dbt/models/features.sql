-- depends on {{ source('shop', 'orders') }} and {{ source('shop', 'customers') }}
select * from ({{ ltv_feature_sql('public.cdnow_features') }}) features
