-- One row per (source, account_id, product_id, episode_no): completed visits of one account without a long gap.
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_keys'), ['source', 'account_id']) }}",
) }}
{%- set account_order %}
        partition by visits.source, visits.account_id, visits.product_id
        order by visits.local_date, visits.start_at nulls last, visits.end_at nulls last, visits.visit_id
{%- endset %}
with completed as (
    select
        visits.*,
        row_number() over ({{ account_order }}) as visit_no,
        coalesce(
            {{ days_between('lag(visits.local_date) over (' ~ account_order ~ ')', 'visits.local_date') }}
            > settings.episode_days,
            true
        ) as is_first
    from {{ changed_copy(ref('int_visits'), ref('int_changed_account_visits')) }} as visits
    inner join {{ ref('stg_settings') }} as settings on settings.source = visits.source
    where
        visits.state = 'completed' and visits.account_id is not null and visits.local_date is not null
),

numbered as (
    select
        *,
        sum(cast(is_first as integer)) over (
            partition by source, account_id, product_id order by visit_no rows unbounded preceding
        ) as episode_no
    from completed
)

select
    source,
    account_id,
    product_id,
    cast(episode_no as bigint) as episode_no,
    count(*) as visits,
    min(local_date) as first_date,
    max(local_date) as last_date,
    bool_or(is_first and (
        is_promise
        or coalesce(outcome = 'claims_paid', false)
        or coalesce(validation in ('validated', 'refuted'), false)
    )) as first_resolved,
    bool_or(is_contact) as ever_contacted,
    bool_or(is_rpc) as ever_rpc,
    bool_or(is_promise) as ever_promised
from numbered
group by source, account_id, product_id, episode_no
