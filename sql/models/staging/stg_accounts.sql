-- One row per (source, account_id) of accounts.csv: its latest row. A row of the source's own beats a general one.
with ranked as (
    select
        sources.source,
        accounts.external_id,
        accounts.product_id,
        accounts.portfolio,
        accounts.agent_id,
        accounts.currency,
        accounts.balance,
        accounts.past_due,
        accounts.days_past_due,
        accounts.lat,
        accounts.lng,
        accounts.assigned_on,
        accounts.as_of_date,
        row_number() over (
            partition by sources.source, accounts.external_id
            order by accounts.source is null, accounts.as_of_date desc nulls last, accounts.line
        ) as preference
    from {{ ref('stg_settings') }} as sources
    inner join {{ source('inputs', 'accounts') }} as accounts
        on accounts.source is null or accounts.source = sources.source
)

select
    source,
    external_id as account_id,
    product_id,
    portfolio,
    agent_id,
    currency,
    balance,
    past_due,
    days_past_due,
    lat,
    lng,
    assigned_on,
    as_of_date
from ranked
where preference = 1
