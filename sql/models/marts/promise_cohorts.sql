-- One row per (source, due_month, agent_key): the valid promises for dates in that month, also those to come, and what
-- became of them. That is NULL where no payments file tells.
with due as (
    select
        source,
        {{ month_of('promise_date') }} as due_month,
        agent_key,
        status,
        promise_amount,
        case
            when paid_amount < 0 and promise_amount is not null then 0
            when paid_amount < promise_amount then paid_amount
            when paid_amount >= promise_amount then promise_amount
        end as paid_capped,
        status in ('kept', 'partial', 'broken') and promise_amount is not null as is_settled
    from {{ ref('promises') }}
    where promise_check = 'valid'
),

counted as (
    select
        source,
        due_month,
        agent_key,
        bool_or(status <> 'unknown') as is_measurable,
        count(*) as due,
        {% for status in ['kept', 'partial', 'broken', 'open', 'replaced'] %}
        count(*) filter (where status = '{{ status }}') as {{ status }},
        {% endfor %}
        sum(promise_amount) as promised_amount,
        sum(paid_capped) as paid_capped_amount,
        sum(promise_amount) filter (where is_settled) as settled_promised_amount,
        sum(paid_capped) filter (where is_settled) as settled_paid_capped_amount
    from due
    group by source, due_month, agent_key
)

select
    source,
    due_month,
    agent_key,
    due,
    {% for status in ['kept', 'partial', 'broken', 'open', 'replaced'] %}
    case when is_measurable then {{ status }} end as {{ status }},
    {% endfor %}
    {{ as_amount('promised_amount') }} as promised_amount,
    {{ as_amount('paid_capped_amount') }} as paid_capped_amount,
    {{ as_amount('settled_promised_amount') }} as settled_promised_amount,
    {{ as_amount('settled_paid_capped_amount') }} as settled_paid_capped_amount,
    case when is_measurable then {{ ratio('kept', 'kept + partial + broken') }} end as kept_rate,
    {{ ratio('settled_paid_capped_amount', 'settled_promised_amount') }} as amount_kept_rate
from counted
