-- One row per visit document of a POST, (delivery_id, item), as the last load that read it says.
{{ config(materialized='view') }}
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
    deliveries._dlt_load_id
from {{ ref('stg_deliveries') }} as deliveries
{{ anti_join() }} {{ ref('int_reread_deliveries') }} as reread
    on reread.delivery_id = deliveries.delivery_id and reread._dlt_load_id = deliveries._dlt_load_id
