-- One row per (source, local_date, check): how many were tested, how many failed. The date is NULL where unknown.
{%- set flags = quality_flags() %}
with flags as (
    select
        source,
        local_date,
        {% for flag in flags %}
        count(*) filter (where {{ flag }}) as {{ flag }}_failed,
        count({{ flag }}) as {{ flag }}_tested{{ "," if not loop.last }}
        {% endfor %}
    from {{ ref('visit_quality') }} as quality
    group by source, local_date
),

answers as (
    select source, local_date, sum(answers_unparsed) as failed, sum(answers_tested) as tested
    from {{ ref('int_visit_checklists') }} as checklists
    group by source, local_date
),

checks as (
    {% for flag in flags %}
    select source, local_date, '{{ flag }}' as "check", {{ flag }}_failed as failed, {{ flag }}_tested as tested
    from flags
    union all
    {% endfor %}
    select source, local_date, 'unparsed_answers', failed, tested
    from answers
)

select
    source,
    local_date,
    "check",
    cast(failed as bigint) as failed,
    cast(tested as bigint) as tested
from checks
