-- One row per (source, visit_id, content_hash): every content of a visit that was ever received.
{{ config(alias='visit_versions') }}
select
    source,
    visit_id,
    content_hash,
    version_no,
    valid_from,
    valid_to,
    deliveries,
    is_current,
    finished,
    cancelled,
    end_local,
    delivery_id,
    item
from {{ ref('int_visit_versions') }}
