-- One row per (source, agent_key, local_date) with completed visits: all that `marts.agent_days` says but for payments, which
-- change without the visits.
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

quality as (
    select source, visit_id, impossible_speed, gps_emulator_default
    from {{ changed_rows(ref('visit_quality'), ref('int_changed_keys'), ['source', 'agent_key', 'local_date']) }} as flags
),

-- Nobody was where an emulator is, nor went from one place to the other at a speed that is impossible.
judged as (
    select
        legs.source,
        legs.agent_key,
        legs.local_date,
        legs.travel_min,
        legs.travel_m,
        later.impossible_speed or later.gps_emulator_default or earlier.gps_emulator_default as is_left_out
    from {{ changed_rows(ref('legs'), ref('int_changed_keys'), ['source', 'agent_key', 'local_date']) }} as legs
    inner join quality as later on later.source = legs.source and later.visit_id = legs.visit_id
    inner join quality as earlier on earlier.source = legs.source and earlier.visit_id = legs.prev_visit_id
),

travel as (
    select
        source,
        agent_key,
        local_date,
        sum(travel_min) filter (where not is_left_out) as between_min,
        sum(travel_m) filter (where not is_left_out) / 1000 as travel_km,
        count(*) filter (where is_left_out) as legs_left_out
    from judged
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
    coalesce(travel.legs_left_out, 0) as legs_left_out,
    worked.first_start_at,
    worked.last_end_at
from worked
left join travel
    on
        travel.source = worked.source
        and travel.agent_key = worked.agent_key
        and travel.local_date = worked.local_date
