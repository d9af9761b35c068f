-- One row per (source, product_id, month, outcome, label_key): how often a label was chosen. Completed visits.
with counted as (
    select
        source,
        product_id,
        {{ month_of('local_date') }} as month,
        outcome,
        tag_name,
        tag,
        count(*) as visits
    from {{ ref('visits') }}
    where state = 'completed'
    group by source, product_id, month, outcome, tag_name, tag
),

labelled as (
    select
        source,
        product_id,
        month,
        coalesce(outcome, 'unmapped') as outcome,
        coalesce({{ not_blank('tag_name') }}, tag) as label,
        visits
    from counted
),

keyed as (
    select *, nullif({{ normalised_text('label') }}, '') as label_key from labelled
),

spelled as (
    select source, product_id, month, outcome, label_key, label, sum(visits) as visits
    from keyed
    group by source, product_id, month, outcome, label_key, label
),

ranked as (
    select
        *,
        row_number() over (
            partition by source, product_id, month, outcome, label_key order by visits desc, label nulls last
        ) as preference
    from spelled
)

select
    source,
    product_id,
    month,
    outcome,
    label_key,
    max(case when preference = 1 then label end) as label,
    cast(sum(visits) as bigint) as visits
from ranked
group by source, product_id, month, outcome, label_key
