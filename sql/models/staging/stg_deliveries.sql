-- One row per visit document of a POST and load that completed: (delivery_id, item, _dlt_load_id).
select
    deliveries.delivery_id,
    deliveries.item,
    deliveries.source,
    deliveries.received_at,
    deliveries.visit_id,
    deliveries.content_hash,
    deliveries.segment,
    deliveries.line,
    deliveries.bytes,
    deliveries._dlt_load_id,
    loads.is_new
from {{ source('landed', 'deliveries') }} as deliveries
inner join {{ ref('stg_loads') }} as loads on loads.load_id = deliveries._dlt_load_id
