-- One row per completed visit that has a previous one on the same (source, agent_key, local_date): (source, visit_id).
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_keys'), ['source', 'agent_key', 'local_date']) }}",
) }}
{%- set agent_day %}
    over (partition by source, agent_key, local_date order by start_at, end_at nulls last, visit_id)
{%- endset %}
with completed as (
    select source, visit_id, agent_key, local_date, start_at, end_at, lat, lng
    from {{ changed_rows(ref('int_visits'), ref('int_changed_keys'), ['source', 'agent_key', 'local_date']) }} as visits
    where
        state = 'completed' and agent_key is not null and local_date is not null
),

paired as (
    select
        source,
        visit_id,
        agent_key,
        local_date,
        start_at,
        lat,
        lng,
        lag(visit_id) {{ agent_day }} as prev_visit_id,
        lag(end_at) {{ agent_day }} as prev_end_at,
        lag(lat) {{ agent_day }} as prev_lat,
        lag(lng) {{ agent_day }} as prev_lng
    from completed
),

measured as (
    select
        *,
        {{ seconds_between('prev_end_at', 'start_at') }} / 60 as travel_min,
        {{ haversine_m('prev_lat', 'prev_lng', 'lat', 'lng') }} as travel_m
    from paired
    where prev_visit_id is not null
)

select
    measured.source,
    measured.visit_id,
    measured.prev_visit_id,
    measured.agent_key,
    measured.local_date,
    measured.travel_min,
    measured.travel_m,
    case
        when measured.travel_m >= settings.speed_noise_m and measured.travel_min > 0
            then (measured.travel_m / 1000) / (measured.travel_min / 60)
    end as speed_kmh,
    measured.start_at < measured.prev_end_at as overlaps_previous
from measured
inner join {{ ref('stg_settings') }} as settings on settings.source = measured.source
