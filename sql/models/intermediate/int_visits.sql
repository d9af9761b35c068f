-- One row per visit (source, visit_id), current version: typed, on the wall clock and in UTC, with roles and outcome.
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_visits'), ['source', 'visit_id']) }}",
) }}
-- Written down once: 100 000 visits are one piece of their table, which one thread alone would read and turn.
with visits as {{ materialized() }} (
    select
        visits.*,
        time_zones.time_zone,
        time_zones.time_zone_known,
        case
            when visits.cancelled then 'cancelled'
            when visits.finished then 'completed'
            else 'open'
        end as state
    from {{ current_visits() }} as visits
    -- Every visit has a row there. A left join says so to the planner, which then lets the visits pass in their order,
    -- that of arrival: days stay together in the table, and who asks for some of them reads little.
    left join {{ ref('int_time_zones') }} as time_zones
        on
            time_zones.source = visits.source
            and time_zones.time_zone_raw is not distinct from visits.time_zone_raw
),

roles as (
    select *
    from {{ changed_rows(ref('int_visit_roles'), ref('int_changed_visits'), ['source', 'visit_id']) }} as roles
),

days_of_visits as (
    select distinct
        time_zone,
        cast(start_local as date) as start_day,
        cast(end_local as date) as end_day
    from visits
),

local_days as (
    select time_zone, start_day as local_day from days_of_visits where start_day is not null
    union
    select time_zone, end_day from days_of_visits where end_day is not null
),

-- The clock's offset a day before a local day begins and a day after it ends. Where both are equal the clock does not
-- change in between, which spares a conversion per visit.
clocks as (
    select
        time_zone,
        local_day,
        {{ utc_offset_s('time_zone', "cast(local_day - interval 1 day as timestamp)") }} as offset_before,
        {{ utc_offset_s('time_zone', "cast(local_day + interval 2 day as timestamp)") }} as offset_after
    from local_days
),

-- The instants that a wall clock may mean. In an overlap both are real; in a gap neither is, and the offset before it
-- moves the time forward by the length of the gap.
candidates as (
    select
        visits.*,
        {% for side in ['start', 'end'] %}
        {{ minus_seconds('visits.' ~ side ~ '_local', side ~ '_clock.offset_before') }} as {{ side }}_before,
        {{ minus_seconds('visits.' ~ side ~ '_local', side ~ '_clock.offset_after') }} as {{ side }}_after,
        case
            when {{ side }}_clock.offset_before = {{ side }}_clock.offset_after then true
            else {{ utc_offset_s('visits.time_zone', side ~ '_before') }} = {{ side }}_clock.offset_before
        end as {{ side }}_before_is_real,
        case
            when {{ side }}_clock.offset_before = {{ side }}_clock.offset_after then false
            else {{ utc_offset_s('visits.time_zone', side ~ '_after') }} = {{ side }}_clock.offset_after
        end as {{ side }}_after_is_real{{ "," if not loop.last }}
        {% endfor %}
    from visits
    {% for side in ['start', 'end'] %}
    left join clocks as {{ side }}_clock
        on
            {{ side }}_clock.time_zone = visits.time_zone
            and {{ side }}_clock.local_day = cast(visits.{{ side }}_local as date)
    {% endfor %}
),

started as (
    select
        *,
        case
            when start_before_is_real and start_after_is_real then least(start_before, start_after)
            when start_after_is_real then start_after
            else start_before
        end as start_utc,
        coalesce(start_before_is_real and start_after_is_real, false) as start_ambiguous,
        coalesce(not start_before_is_real and not start_after_is_real, false) as start_in_gap
    from candidates
),

instants as (
    select
        *,
        {{ instant('start_utc') }} as start_at,
        {{ instant("""case
            when end_before_is_real and end_after_is_real then
                case
                    when least(end_before, end_after) < start_utc then greatest(end_before, end_after)
                    else least(end_before, end_after)
                end
            when end_after_is_real then end_after
            else end_before
        end""") }} as end_at
    from started
),

codes as (
    select * from {{ ref('int_answer_text_codes') }}
),

coded as (
    select
        visits.*,
        {% for role in roles() %}
        roles.{{ role }},
        {% endfor %}
        with_codes.code as contact_class,
        method_codes.code as payment_method_code,
        coalesce(label_codes.code, tag_codes.code) as outcome,
        validation_codes.code as validation_code
    from instants as visits
    left join roles on roles.source = visits.source and roles.visit_id = visits.visit_id
    {% for alias, role, text in [
        ('with_codes', 'contact_with', 'roles.contact_with'),
        ('method_codes', 'payment_method', 'roles.payment_method'),
        ('validation_codes', 'validation_result', 'roles.validation_result'),
        ('tag_codes', 'tag', 'roles.tag'),
        ('label_codes', 'tag', 'visits.tag_name'),
    ] %}
    left join codes as {{ alias }}
        on
            {{ alias }}.role = '{{ role }}'
            and {{ alias }}.source = visits.source
            and {{ alias }}.product_id is not distinct from visits.product_id
            and {{ alias }}.text = {{ text }}
    {% endfor %}
)

select
    source,
    visit_id,
    delivery_id,
    content_hash,
    {{ not_blank('account_id') }} as account_id,
    agent_id,
    {{ agent_key('agent_id', 'agent_name') }} as agent_key,
    product_id,

    state,
    outcome,
    validation_result,
    case
        when product_id not in (2, 3) or product_id is null then null
        when validation_code is not null then validation_code
        when outcome in ('validated', 'refuted', 'inconclusive') then outcome
    end as validation,
    contact_with,
    contact_class,
    payment_method,
    payment_method_code,
    tag_name,
    tag,
    visit_type,
    cancellation_reason,
    time_zone_raw,
    time_zone,
    agent_name,
    client_name,
    contact_name,

    lat,
    lng,
    interest,
    promise_amount,
    {{ seconds_between('start_at', 'end_at') }} as duration_s,
    {{ seconds_between('end_at', 'received_at') }} as delivery_lag_s,
    cast(extract(hour from start_local) as integer) as local_hour,
    cast({{ iso_dow('start_local') }} as integer) as iso_dow,
    versions,

    rebound,
    finished,
    cancelled,
    contact_made,
    promise_made,
    revisit,
    address_found,
    lives_here,
    business_operating,
    business_activity_match,
    case when state = 'completed' then contact_made end as is_contact,
    case
        when state = 'completed' and contact_made is not null
            then contact_made and contact_class in ('right_party', 'guarantor')
    end as is_rpc,
    coalesce(state = 'completed' and promise_made, false) as is_promise,
    time_zone_known,
    start_ambiguous,
    start_in_gap,

    start_local,
    end_local,
    start_at,
    end_at,
    received_at,
    cast(start_local as date) as local_date,
    promise_date,
    revisit_date,
    slot1_start,
    slot1_end,
    slot2_start,
    slot2_end
from coded
