-- One row per (source, agent_key, local_date) with completed visits.
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_keys'), ['source', 'agent_key', 'local_date']) }}",
) }}
with completed as (
    select visits.*, settings.long_visit_minutes
    from {{ changed_rows(ref('int_visits'), ref('int_changed_keys'), ['source', 'agent_key', 'local_date']) }} as visits
    inner join {{ ref('stg_settings') }} as settings on settings.source = visits.source
    where
        visits.state = 'completed' and visits.agent_key is not null and visits.local_date is not null
),

travel as (
    select source, agent_key, local_date, sum(travel_min) as between_min, sum(travel_m) / 1000 as travel_km
    from {{ changed_rows(ref('legs'), ref('int_changed_keys'), ['source', 'agent_key', 'local_date']) }} as legs
    group by source, agent_key, local_date
),

worked as (
    select
        source,
        agent_key,
        local_date,
        {{ last_by(not_blank('agent_name'), moment()) }} as agent_name,
        count(*) as visits,
        count(distinct account_id) as accounts,
        count(*) filter (
            where is_rpc or is_promise or validation in ('validated', 'refuted')
        ) as productive_visits,
        count(*) filter (where is_contact) as contacts,
        count(*) filter (where is_promise) as promises,
        {{ as_amount('sum(promise_amount) filter (where is_promise)') }} as promise_amount,
        min(start_at) as first_start_at,
        max(end_at) as last_end_at,
        sum(duration_s) filter (where duration_s >= 0 and duration_s <= long_visit_minutes * 60) / 60 as on_site_min
    from completed
    group by source, agent_key, local_date
)

select
    worked.source,
    worked.agent_key,
    worked.local_date,
    worked.agent_name,
    worked.visits,
    worked.accounts,
    worked.productive_visits,
    worked.contacts,
    worked.promises,
    worked.promise_amount,
    worked.on_site_min,
    travel.between_min,
    travel.travel_km,
    worked.first_start_at,
    worked.last_end_at
from worked
left join travel
    on
        travel.source = worked.source
        and travel.agent_key = worked.agent_key
        and travel.local_date = worked.local_date
