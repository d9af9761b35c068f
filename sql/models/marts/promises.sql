-- One row per completed visit with a promise (source, visit_id): what was promised, what was paid, what became of it.
with as_of as (
    select as_of from {{ source('meta', 'build') }}
),

payments_file as (
    select is_present from {{ source('inputs', 'files') }} where name = 'payments'
),

last_paid as (
    select source, max(paid_date) as paid_date from {{ source('inputs', 'payments') }} group by source
),

reached as (
    select settings.source, last_paid.paid_date as day
    from {{ ref('stg_settings') }} as settings
    inner join last_paid on last_paid.source is null or last_paid.source = settings.source
    union all
    select source, payments_until as day from {{ ref('stg_settings') }}
),

reach as (
    select source, max(day) as payments_until from reached group by source
),

dated as (
    select
        promises.*,
        settings.promise_threshold,
        {{ days_between('promises.made_date', 'promises.promise_date') }} as horizon_days,
        promises.promise_date + settings.promise_grace_days as deadline,
        promises.next_made_date - 1 as day_before_next
    from {{ ref('int_promises_made') }} as promises
    inner join {{ ref('stg_settings') }} as settings on settings.source = promises.source
),

windows as (
    select
        *,
        case when day_before_next < deadline then day_before_next else deadline end as window_end
    from dated
),

paid as (
    select
        windows.source,
        windows.visit_id,
        sum(payments.amount) as paid_amount
    from windows
    inner join {{ source('inputs', 'payments') }} as payments
        on
            payments.external_id = windows.account_id
            and (payments.source is null or payments.source = windows.source)
            and payments.paid_date between windows.made_date and windows.window_end
    group by windows.source, windows.visit_id
),

measured as (
    select
        windows.*,
        as_of.as_of,
        payments_file.is_present as is_measurable,
        case when payments_file.is_present then reach.payments_until end as payments_until,
        case
            when payments_file.is_present and windows.promise_check = 'valid' and windows.account_id is not null
                then coalesce(paid.paid_amount, 0)
        end as paid_amount
    from windows
    cross join as_of
    cross join payments_file
    inner join reach on reach.source = windows.source
    left join paid on paid.source = windows.source and paid.visit_id = windows.visit_id
)

select
    source,
    visit_id,
    account_id,
    agent_key,
    product_id,
    payment_method_code,
    promise_check,
    case
        when not is_measurable then 'unknown'
        when promise_check <> 'valid' then null
        when account_id is null then 'unknown'
        when paid_amount >= promise_threshold * cast(promise_amount as decimal(28, 2)) then 'kept'
        when promise_amount is null and paid_amount > 0 then 'kept'
        when next_made_date <= deadline then 'replaced'
        when as_of <= deadline then 'open'
        when payments_until is null or window_end > payments_until then 'unknown'
        when paid_amount > 0 then 'partial'
        else 'broken'
    end as status,
    promise_amount,
    {{ as_amount('paid_amount') }} as paid_amount,
    horizon_days,
    made_date,
    promise_date,
    deadline,
    window_end,
    payments_until,
    coalesce(next_made_date <= deadline, false) as has_later_promise,
    as_of > window_end as is_over
from measured
