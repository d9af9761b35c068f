-- One row per completed visit with a promise, (source, visit_id): what was promised, and the account's next promise.
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_keys'), ['source', 'account_id']) }}",
) }}
with promises as (
    select
        source,
        visit_id,
        account_id,
        agent_key,
        product_id,
        start_at,
        end_at,
        local_date as made_date,
        promise_date,
        promise_amount,
        payment_method_code,
        case
            when promise_date is null or local_date is null then 'undated'
            when promise_date < local_date then 'back_dated'
            else 'valid'
        end as promise_check
    from {{ changed_copy(ref('int_visits'), ref('int_changed_account_visits')) }} as visits
    where
        is_promise
)

select
    source,
    visit_id,
    account_id,
    agent_key,
    product_id,
    payment_method_code,
    promise_check,
    promise_amount,
    made_date,
    promise_date,
    case
        when account_id is not null and made_date is not null
            then min(case when promise_check = 'valid' then made_date end) over (
                partition by source, account_id
                order by made_date nulls first, start_at nulls last, end_at nulls last, visit_id
                rows between 1 following and unbounded following
            )
    end as next_made_date
from promises
