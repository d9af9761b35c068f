-- One row per completed visit that asked for another, (source, visit_id), with the account's next completed visit.
{{ config(
    materialized='kept',
    unique_key=['source', 'account_id'],
    meta={'touched': 'touched_keys'},
) }}
{%- set account_order %}
    over (
        partition by source, account_id, product_id
        order by local_date, start_at nulls last, end_at nulls last, visit_id
    )
{%- endset %}
with completed as (
    select *
    from {{ touched_copy(ref('visits'), ref('touched_account_visits')) }} as visits
    where
        state = 'completed'
),

followed as (
    select
        source,
        visit_id,
        lead(visit_id) {{ account_order }} as follow_up_visit_id,
        lead(local_date) {{ account_order }} as follow_up_date,
        lead(start_local) {{ account_order }} as follow_up_start_local
    from completed
    where account_id is not null and local_date is not null
)

select
    completed.source,
    completed.visit_id,
    completed.account_id,
    completed.product_id,
    completed.agent_key,
    followed.follow_up_visit_id,
    completed.local_date as asked_on,
    completed.revisit_date,
    completed.slot1_start,
    completed.slot1_end,
    completed.slot2_start,
    completed.slot2_end,
    followed.follow_up_date,
    followed.follow_up_start_local
from completed
left join followed on followed.source = completed.source and followed.visit_id = completed.visit_id
where completed.revisit
