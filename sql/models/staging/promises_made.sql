-- One row per completed visit with a promise, (source, visit_id): what was promised, and the account's next promise.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['source', 'account_id'],
    meta={'touched': 'touched_accounts'},
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
    from {{ ref('visits') }} as visits
    where
        is_promise
        {{ only_touched('visits', ref('touched_accounts'), ['source', 'account_id'], and_also=true) }}
),

followed as (
    select
        source,
        visit_id,
        lead(made_date) over (
            partition by source, account_id
            order by made_date, start_at nulls last, end_at nulls last, visit_id
        ) as next_made_date
    from promises
    where promise_check = 'valid' and account_id is not null
)

select
    promises.source,
    promises.visit_id,
    promises.account_id,
    promises.agent_key,
    promises.product_id,
    promises.payment_method_code,
    promises.promise_check,
    promises.promise_amount,
    promises.made_date,
    promises.promise_date,
    followed.next_made_date
from promises
left join followed on followed.source = promises.source and followed.visit_id = promises.visit_id
