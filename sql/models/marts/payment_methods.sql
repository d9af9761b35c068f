-- One row per (source, month, code): how people promise to pay. Code NULL: no method was answered.
with counted as (
    select
        source,
        {{ month_of('local_date') }} as month,
        coalesce(payment_method_code, case when payment_method is not null then 'unmapped' end) as code,
        count(*) as promises
    from {{ ref('visits') }}
    where is_promise
    group by source, month, code
)

select
    source,
    month,
    code,
    promises,
    {{ ratio('promises', 'sum(promises) over (partition by source, month)') }} as share
from counted
