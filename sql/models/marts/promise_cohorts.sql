{%- set statuses = ['kept', 'partial', 'broken', 'open', 'replaced'] -%}
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
        is_over and status in ('kept', 'partial', 'broken') as is_settled
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
        {% for status in statuses %}
        count(*) filter (where status = '{{ status }}') as {{ status }},
        {% endfor %}
        count(*) filter (where status = 'unknown') as unknown,
        count(*) filter (where is_settled and status = 'kept') as over_kept,
        count(*) filter (where is_settled) as over_settled,
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
    {% for status in statuses %}
    case when is_measurable then {{ status }} end as {{ status }},
    {% endfor %}
    unknown,
    case when is_measurable then over_kept end as over_kept,
    case when is_measurable then over_settled end as over_settled,
    {{ as_amount('promised_amount') }} as promised_amount,
    {{ as_amount('paid_capped_amount') }} as paid_capped_amount,
    {{ as_amount('settled_promised_amount') }} as settled_promised_amount,
    {{ as_amount('settled_paid_capped_amount') }} as settled_paid_capped_amount,
    {{ ratio('over_kept', 'over_settled') }} as kept_rate,
    {{ ratio('settled_paid_capped_amount', 'settled_promised_amount') }} as amount_kept_rate
from counted
