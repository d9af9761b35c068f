-- One row per visit (source, visit_id) that is not as the last build knew it: loads brought something of it, or it was
-- noted as changed. None in a full build: there nothing asks.
with deliveries as (
    select * from {{ ref('stg_deliveries') }} where {{ not flags.FULL_REFRESH }}
)

select source, visit_id
from deliveries
where visit_id is not null and delivery_id in (select delivery_id from deliveries where is_new)
union
select source, visit_id
from {{ source('meta', 'visits_changed') }}
where {{ not flags.FULL_REFRESH }}
