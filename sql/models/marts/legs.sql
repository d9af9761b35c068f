-- One row per completed visit that has a previous one on the same (source, agent_key, local_date): (source, visit_id).
{{ config(
    materialized='kept',
    unique_key=['source', 'agent_key', 'local_date'],
    meta={'touched': 'touched_keys'},
) }}
{%- set agent_day %}
    over (partition by source, agent_key, local_date order by start_at, end_at nulls last, visit_id)
{%- endset %}
with completed as (
    select source, visit_id, agent_key, local_date, start_at, end_at, lat, lng
    from {{ touched_rows(ref('visits'), ref('touched_keys'), ['source', 'agent_key', 'local_date']) }} as visits
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
inner join {{ ref('settings_by_source') }} as settings on settings.source = measured.source
