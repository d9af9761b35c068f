-- One row per (source, product_id, iso_dow, local_hour): how often somebody is met then. Completed visits.
with counted as (
    select
        source,
        product_id,
        iso_dow,
        local_hour,
        count(*) as visits,
        count(is_contact) as contact_known,
        count(*) filter (where is_contact) as contacts,
        count(*) filter (where is_rpc) as rpcs
    from {{ ref('visits') }}
    where state = 'completed' and local_hour is not null
    group by source, product_id, iso_dow, local_hour
)

select
    counted.source,
    counted.product_id,
    counted.iso_dow,
    counted.local_hour,
    counted.visits,
    counted.contact_known,
    counted.contacts,
    counted.rpcs,
    {{ ratio('counted.contacts', 'counted.contact_known') }} as contact_rate,
    {{ ratio('counted.rpcs', 'counted.contact_known') }} as rpc_rate,
    {{ wilson_low95('counted.contacts', 'counted.contact_known') }} as contact_rate_low95,
    counted.contact_known >= settings.min_visits_heatmap as is_ranked
from counted
inner join {{ ref('stg_settings') }} as settings on settings.source = counted.source
