-- A table: it is read more often than customers change. Who reads it needs no right on the model.
select customer_id, round(ltv_predict('cdnow', f)::numeric, 2) as ltv, ltv_assigned_version('cdnow', customer_id) as version, now() as scored_at
from {{ ref('features') }} f
