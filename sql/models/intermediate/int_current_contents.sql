-- One row per visit (source, visit_id): its current version, and where its content stands in schema landed.
{{ config(materialized='view') }}
select
    source,
    visit_id,
    valid_from,
    versions,
    delivery_id,
    content_delivery_id,
    content_item,
    content_load_id
from {{ ref('int_visit_versions') }}
where is_current
