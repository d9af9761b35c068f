-- One row per completed visit that asked for another, (source, visit_id), with the account's next completed visit.
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_keys'), ['source', 'account_id']) }}",
) }}
{%- set is_followed = 'account_id is not null and local_date is not null' %}
{%- set next_visit %}
    over (
        partition by source, account_id, product_id, {{ is_followed }}
        order by local_date, start_at nulls last, end_at nulls last, visit_id
    )
{%- endset %}
with completed as (
    select
        *,
        {% for column in ['visit_id', 'local_date', 'start_local'] %}
        case when {{ is_followed }} then lead({{ column }}) {{ next_visit }} end as next_{{ column }}{{ "," if not loop.last }}
        {% endfor %}
    from {{ changed_copy(ref('int_visits'), ref('int_changed_account_visits')) }} as visits
    where
        state = 'completed'
)

select
    source,
    visit_id,
    account_id,
    product_id,
    agent_key,
    next_visit_id as follow_up_visit_id,
    local_date as asked_on,
    revisit_date,
    slot1_start,
    slot1_end,
    slot2_start,
    slot2_end,
    next_local_date as follow_up_date,
    next_start_local as follow_up_start_local
from completed
where revisit
