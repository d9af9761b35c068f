-- One row per completed visit (source, visit_id): what about it is odd.
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_keys'), ['source', 'agent_key', 'local_date']) }}",
) }}
with completed as (
    select visits.*
    from {{ changed_rows(ref('int_visits'), ref('int_changed_keys'), ['source', 'agent_key', 'local_date']) }} as visits
    where
        state = 'completed'
),

legs as (
    select *
    from {{ changed_rows(ref('legs'), ref('int_changed_keys'), ['source', 'agent_key', 'local_date']) }} as legs
),

spots as (
    select
        source,
        agent_key,
        local_date,
        {{ rounded('lat', 5) }} as lat,
        {{ rounded('lng', 5) }} as lng,
        count(distinct account_id) as accounts
    from completed
    where agent_key is not null and local_date is not null and lat is not null
    group by source, agent_key, local_date, {{ rounded('lat', 5) }}, {{ rounded('lng', 5) }}
    having count(distinct account_id) >= (select min(same_spot_accounts) from {{ ref('stg_settings') }})
),

places as (
    select source, account_id, lat, lng from {{ ref('stg_accounts') }} where lat is not null and lng is not null
),

compared as (
    select
        completed.*,
        {% for setting in [
            'short_visit_seconds', 'long_visit_minutes', 'skew_minutes', 'late_hours', 'hours_open', 'hours_close',
            'max_speed_kmh', 'speed_noise_m', 'same_spot_accounts', 'place_radius_m',
        ] %}
        settings.{{ setting }},
        {% endfor %}
        legs.overlaps_previous,
        legs.speed_kmh,
        legs.travel_m,
        legs.travel_min,
        spots.accounts as accounts_at_spot,
        {{ haversine_m('places.lat', 'places.lng', 'completed.lat', 'completed.lng') }} as m_from_place
    from completed
    inner join {{ ref('stg_settings') }} as settings on settings.source = completed.source
    left join legs on legs.source = completed.source and legs.visit_id = completed.visit_id
    left join spots
        on
            spots.source = completed.source
            and spots.agent_key = completed.agent_key
            and spots.local_date = completed.local_date
            and spots.lat = {{ rounded('completed.lat', 5) }}
            and spots.lng = {{ rounded('completed.lng', 5) }}
    left join places on places.source = completed.source and places.account_id = completed.account_id
)

select
    source,
    visit_id,
    agent_key,
    local_date,
    lat is null or lng is null as gps_missing,
    -- Where Android's emulator says it is: at its maker's.
    coalesce(abs(lat - 37.421998) < 0.0005 and abs(lng + 122.084) < 0.0005, false) as gps_emulator_default,
    coalesce(duration_s < 0, false) as negative_duration,
    coalesce(duration_s >= 0 and duration_s < short_visit_seconds, false) as too_short,
    coalesce(duration_s > long_visit_minutes * 60, false) as too_long,
    coalesce(-delivery_lag_s > skew_minutes * 60, false) as clock_skew,
    coalesce(delivery_lag_s > late_hours * 3600, false) as late_arrival,
    not time_zone_known as time_zone_unknown,
    start_in_gap,
    coalesce({{ clock_of('start_local') }} < hours_open or {{ clock_of('start_local') }} >= hours_close, false)
        as out_of_hours,
    coalesce(contact_class = 'third_party', false) as third_party_contact,
    coalesce(overlaps_previous, false) as overlaps_previous,
    coalesce(speed_kmh > max_speed_kmh, false)
    or coalesce(travel_m >= speed_noise_m and travel_min <= 0, false) as impossible_speed,
    coalesce(accounts_at_spot >= same_spot_accounts, false) as same_spot,
    is_promise and coalesce(not is_contact, false) as promise_without_contact,
    m_from_place > place_radius_m as out_of_place,
    coalesce(outcome = 'promise' and not promise_made, false)
    or coalesce(outcome = 'no_contact' and contact_made, false) as tag_conflict
from compared
