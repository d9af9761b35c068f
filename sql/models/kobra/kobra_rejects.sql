-- One row per visit document that could not become a visit: (delivery_id, item).
{{ config(alias='rejects') }}
select
    rejects.delivery_id,
    rejects.item,
    rejects.source,
    rejects.received_at,
    rejects.reason,
    rejects.detail,
    rejects.segment,
    rejects.line
from {{ source('landed', 'rejects') }} as rejects
inner join {{ ref('int_deliveries') }} as deliveries
    on
        deliveries.delivery_id = rejects.delivery_id
        and deliveries.item = rejects.item
        and deliveries._dlt_load_id = rejects._dlt_load_id
where deliveries.visit_id is null
