-- One row or more per (delivery_id, _dlt_load_id) that a later load read again: that one counts.
{{ config(materialized=incremental_or_table(), incremental_strategy='append') }}
with deliveries as (
    select delivery_id, _dlt_load_id
    from {{ ref('stg_deliveries') }}
    where
        item = 1
        {% if is_incremental() %}
        and delivery_id in (select delivery_id from {{ ref('stg_deliveries') }} where is_new)
        {% endif %}
),

latest as (
    select delivery_id, max(_dlt_load_id) as _dlt_load_id
    from deliveries
    group by delivery_id
    having count(*) > 1
)

select deliveries.delivery_id, deliveries._dlt_load_id
from deliveries
inner join latest on latest.delivery_id = deliveries.delivery_id
where deliveries._dlt_load_id < latest._dlt_load_id
