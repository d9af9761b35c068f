-- One row per visit document in a POST that was accepted: (delivery_id, item).
{{ config(alias='deliveries') }}
select
    deliveries.delivery_id,
    deliveries.item,
    deliveries.source,
    deliveries.received_at,
    deliveries.visit_id,
    deliveries.content_hash,
    -- NULL where what was delivered is in no version: a content that was lost. `reconciliation` counts on it.
    case
        when deliveries.visit_id is null then 'rejected'
        when versions.delivery_id = deliveries.delivery_id and versions.item = deliveries.item then 'new'
        when versions.delivery_id is not null then 'duplicate'
    end as outcome,
    deliveries.segment,
    deliveries.line,
    deliveries.bytes
from {{ ref('int_deliveries') }} as deliveries
left join {{ ref('int_visit_versions') }} as versions
    on
        versions.source = deliveries.source
        and versions.visit_id = deliveries.visit_id
        and versions.content_hash = deliveries.content_hash
