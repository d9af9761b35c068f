-- One row per (source, account_id) with any visit: how it stands, with the columns of accounts.csv.
with as_of as (
    select as_of from {{ source('meta', 'build') }}
),

open_promises as (
    select
        promises.source,
        promises.account_id,
        promises.promise_date,
        promises.promise_amount,
        row_number() over (
            partition by promises.source, promises.account_id
            order by promises.made_date desc, promises.promise_date desc, promises.visit_id desc
        ) as recency
    from {{ ref('promises') }} as promises
    cross join as_of
    where
        promises.status = 'open'
        or (
            promises.status = 'unknown'
            and promises.promise_check = 'valid'
            and as_of.as_of <= promises.deadline
            and not promises.has_later_promise
        )
)

select
    facts.source,
    facts.account_id,
    facts.client_name,
    facts.visits,
    facts.visits_completed,
    facts.last_outcome,
    facts.first_visit_on,
    facts.last_visit_on,
    facts.last_contact_on,
    open_promises.promise_date as open_promise_date,
    open_promises.promise_amount as open_promise_amount,
    on_file.product_id,
    on_file.portfolio,
    on_file.agent_id,
    on_file.currency,
    on_file.balance,
    on_file.past_due,
    on_file.days_past_due,
    on_file.lat,
    on_file.lng,
    on_file.assigned_on,
    on_file.as_of_date
from {{ ref('int_account_facts') }} as facts
left join open_promises
    on
        open_promises.source = facts.source
        and open_promises.account_id = facts.account_id
        and open_promises.recency = 1
left join {{ ref('stg_accounts') }} as on_file
    on on_file.source = facts.source and on_file.account_id = facts.account_id
