-- One row per completed visit that asked for another (source, visit_id), and whether that came as agreed.
with as_of as (
    select as_of from {{ source('meta', 'build') }}
),

asked as (
    select
        asked.*,
        {{ clock_of('asked.follow_up_start_local') }} as follow_up_time,
        settings.revisit_tolerance_days,
        as_of.as_of
    from {{ ref('int_revisits_asked') }} as asked
    inner join {{ ref('stg_settings') }} as settings on settings.source = asked.source
    cross join as_of
)

select
    source,
    visit_id,
    follow_up_visit_id,
    account_id,
    agent_key,
    product_id,
    case
        when revisit_date is null then 'undated'
        when revisit_date < asked_on then 'back_dated'
        when follow_up_date < revisit_date then 'early'
        when follow_up_date <= revisit_date + revisit_tolerance_days then 'on_time'
        when follow_up_date is not null then 'late'
        when as_of <= revisit_date + revisit_tolerance_days then 'pending'
        else 'missed'
    end as status,
    case
        when
            follow_up_date = revisit_date
            and (slot1_start is not null and slot1_end is not null or slot2_start is not null and slot2_end is not null)
            then
                coalesce(follow_up_time between slot1_start and slot1_end, false)
                or coalesce(follow_up_time between slot2_start and slot2_end, false)
    end as in_slot,
    asked_on,
    revisit_date,
    follow_up_date,
    slot1_start,
    slot1_end,
    slot2_start,
    slot2_end
from asked
