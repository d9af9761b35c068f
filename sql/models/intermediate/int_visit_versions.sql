-- One row per (source, visit_id, content_hash): when a content came, whether it counts, and where it stands in schema
-- landed (content_delivery_id, content_item, content_load_id).
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_visits'), ['source', 'visit_id']) }}",
) }}
{%- set visit = ['source', 'visit_id'] %}
{%- set arrival %}
        partition by source, visit_id order by {{ arrived_at('delivery_id') }}, content_hash
{%- endset %}
with deliveries as (
    select source, visit_id, content_hash, delivery_id, item, received_at
    from {{ ref('int_deliveries') }} as deliveries
    {% if is_incremental() %} {{ keep_in('deliveries', ref('int_changed_visits'), visit) }} {% endif %}
    where visit_id is not null
),

arrived as (
    select
        source,
        visit_id,
        content_hash,
        min({{ pack(['delivery_id', 'item', 'received_at']) }}) as first,
        count(*) as deliveries
    from deliveries
    group by source, visit_id, content_hash
),

-- A content is written by every load that brings it.
written as (
    select
        source,
        visit_id,
        content_hash,
        min({{ pack(['delivery_id', 'item', '_dlt_load_id', 'finished', 'cancelled', 'end_local']) }}) as content
    from {{ source('landed', 'visits') }} as visits
    {% if is_incremental() %} {{ keep_in('visits', ref('int_changed_visits'), visit) }} {% endif %}
    where _dlt_load_id in (select load_id from {{ ref('stg_loads') }})
    group by source, visit_id, content_hash
),

contents as (
    select
        arrived.source,
        arrived.visit_id,
        arrived.content_hash,
        arrived.deliveries,
        arrived.first.delivery_id as delivery_id,
        arrived.first.item as item,
        arrived.first.received_at as received_at,
        written.content.finished as finished,
        written.content.cancelled as cancelled,
        written.content.end_local as end_local,
        written.content.delivery_id as content_delivery_id,
        written.content.item as content_item,
        written.content._dlt_load_id as content_load_id
    from arrived
    inner join written
        on
            written.source = arrived.source
            and written.visit_id = arrived.visit_id
            and written.content_hash = arrived.content_hash
),

-- Terminal before open, then the latest end, then the one first received last, then the greater hash.
ranked as (
    select
        *,
        count(*) over (partition by source, visit_id) as versions,
        cast(row_number() over ({{ arrival }}) as bigint) as version_no,
        row_number() over (
            partition by source, visit_id
            order by
                coalesce(finished, false) or coalesce(cancelled, false),
                end_local nulls first,
                {{ arrived_at('delivery_id') }},
                content_hash
        ) as merit
    from contents
),

-- A content was current from its arrival if none before it was better, until a better one came.
judged as (
    select
        *,
        merit = max(merit) over ({{ arrival }}) as was_current
    from ranked
),

bettered as (
    select
        *,
        lead(received_at) over (partition by source, visit_id, was_current order by version_no) as bettered_at
    from judged
)

select
    source,
    visit_id,
    content_hash,
    version_no,
    versions,
    received_at as valid_from,
    case when merit = versions then null when was_current then bettered_at else received_at end as valid_to,
    deliveries,
    merit = versions as is_current,
    finished,
    cancelled,
    end_local,
    delivery_id,
    item,
    content_delivery_id,
    content_item,
    content_load_id
from bettered
