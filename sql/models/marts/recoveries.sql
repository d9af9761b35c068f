-- One row per payment and source that it counts for, (source, payment_line): the visit and the promise that it followed.
with payments as (
    select
        source,
        external_id as account_id,
        line as payment_line,
        payment_id,
        paid_date,
        amount,
        currency,
        channel
    from {{ source('inputs', 'payments') }}
),

-- A payment that names no source counts for every one that visited the account, and stays without one where none did. Apart
-- from the others: a join that tells the two kinds apart would compare every payment with every account.
counted as (
    select source, account_id, payment_line, payment_id, paid_date, amount, currency, channel
    from payments
    where source is not null
    union all
    select
        facts.source,
        payments.account_id,
        payments.payment_line,
        payments.payment_id,
        payments.paid_date,
        payments.amount,
        payments.currency,
        payments.channel
    from payments
    left join {{ ref('int_account_facts') }} as facts on facts.account_id = payments.account_id
    where payments.source is null
),

credited as (
    select
        counted.source,
        counted.account_id,
        counted.payment_line,
        counted.paid_date,
        settings.recovery_days
    from counted
    inner join {{ ref('stg_settings') }} as settings on settings.source = counted.source
),

last_visits as (
    select
        credited.source,
        credited.payment_line,
        {{ last_by('visits.visit_id', moment()) }} as visit_id
    from credited
    inner join {{ ref('int_visits') }} as visits
        on
            visits.source = credited.source
            and visits.account_id = credited.account_id
            and visits.local_date <= credited.paid_date
            and {{ days_between('visits.local_date', 'credited.paid_date') }} <= credited.recovery_days
    where visits.state = 'completed'
    group by credited.source, credited.payment_line
),

-- The window of a promise that was replaced on the day of its making ends before that day: of those made on one day, one is
-- left.
promises as (
    select source, account_id, visit_id, made_date, window_end
    from {{ ref('promises') }}
    where promise_check = 'valid' and window_end >= made_date
),

last_promises as (
    select
        credited.source,
        credited.payment_line,
        {{ last_by('promises.visit_id', 'promises.made_date') }} as visit_id
    from credited
    inner join promises
        on
            promises.source = credited.source
            and promises.account_id = credited.account_id
            and promises.made_date <= credited.paid_date
            and {{ days_between('promises.made_date', 'credited.paid_date') }} <= credited.recovery_days
    group by credited.source, credited.payment_line
)

select
    counted.source,
    counted.account_id,
    counted.payment_line,
    counted.payment_id,
    visits.visit_id,
    visits.agent_key,
    visits.product_id,
    promises.visit_id as promise_visit_id,
    counted.channel,
    counted.currency,
    counted.amount,
    {{ days_between('visits.local_date', 'counted.paid_date') }} as days_after_visit,
    counted.paid_date,
    visits.local_date as visit_date,
    counted.paid_date <= promises.window_end as is_on_promise
from counted
left join last_visits
    on last_visits.source = counted.source and last_visits.payment_line = counted.payment_line
left join {{ ref('int_visits') }} as visits
    on visits.source = last_visits.source and visits.visit_id = last_visits.visit_id
left join last_promises
    on last_promises.source = counted.source and last_promises.payment_line = counted.payment_line
left join promises
    on promises.source = last_promises.source and promises.visit_id = last_promises.visit_id
