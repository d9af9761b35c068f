-- One row per (source, agent_key, local_date) with completed visits: where the day went, and what it brought.
with payments_file as (
    select is_present from {{ source('inputs', 'files') }} where name = 'payments'
),

recovered as (
    select
        source,
        agent_key,
        visit_date as local_date,
        {{ sum_of_one_currency('amount', 'currency') }} as recovered_amount
    from {{ ref('recoveries') }}
    where visit_id is not null and agent_key is not null
    group by source, agent_key, visit_date
)

select
    days.source,
    days.agent_key,
    days.local_date,
    days.agent_name,
    days.visits,
    days.accounts,
    days.productive_visits,
    days.contacts,
    days.promises,
    days.promise_amount,
    {{ recovered_amount() }} as recovered_amount,
    days.on_site_min,
    days.between_min,
    days.travel_km,
    days.legs_left_out,
    days.first_start_at,
    days.last_end_at
from {{ ref('int_agent_days') }} as days
cross join payments_file
left join recovered
    on
        recovered.source = days.source
        and recovered.agent_key = days.agent_key
        and recovered.local_date = days.local_date
