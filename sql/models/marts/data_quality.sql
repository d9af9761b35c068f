-- One row per (source, local_date, check): how many were tested, how many failed. The date is NULL where unknown.
{%- set flags = quality_flags() %}
{%- set levels = {'visits': 'kobra_visits', 'questions': 'kobra_questions', 'answers': 'kobra_answers'} %}
{%- set unread = {'unread_start': 'startDate', 'unread_end': 'endDate'} %}
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

visits as (
    select source, visit_id, local_date from {{ ref('int_visits') }}
),

-- What was sent and no column has: it stands in `extra`, of few visits.
left_over as (
    {% for level, model in levels.items() %}
    select source, visit_id, 'leftovers_of_{{ level }}' as "check" from {{ ref(model) }} where extra is not null
    union
    {% endfor %}
    {% for check, name in unread.items() %}
    select source, visit_id, '{{ check }}'
    from {{ ref('kobra_visits') }}
    where extra is not null and {{ has_key('extra', name) }}
    {{ "union" if not loop.last }}
    {% endfor %}
),

left_over_by_day as (
    select visits.source, visits.local_date, left_over."check", count(*) as failed
    from left_over
    inner join visits on visits.source = left_over.source and visits.visit_id = left_over.visit_id
    group by visits.source, visits.local_date, left_over."check"
),

days as (
    select source, local_date, count(*) as tested from visits group by source, local_date
),

-- Answers of a checklist that no role is mapped to.
unmapped as (
    select
        checklists.checklist,
        count(*) as answered,
        count(*) filter (where forms.matched_by = 'unmapped') as unmapped
    from {{ ref('int_checklists') }} as checklists
    inner join {{ ref('int_question_forms') }} as forms on {{ is_of_form('checklists', 'forms') }}
    where checklists.is_answered
    group by checklists.checklist
),

unmapped_by_day as (
    select visits.source, visits.local_date, sum(unmapped.unmapped) as failed, sum(unmapped.answered) as tested
    from {{ ref('int_visit_checklists') }} as visits
    inner join unmapped on unmapped.checklist = visits.checklist
    group by visits.source, visits.local_date
),

checks as (
    {% for flag in flags %}
    select source, local_date, '{{ flag }}' as "check", {{ flag }}_failed as failed, {{ flag }}_tested as tested
    from flags
    union all
    {% endfor %}
    {% for check in ['leftovers_of_visits', 'leftovers_of_questions', 'leftovers_of_answers', 'unread_start', 'unread_end'] %}
    select days.source, days.local_date, '{{ check }}', coalesce(left_over_by_day.failed, 0), days.tested
    from days
    left join left_over_by_day
        on
            left_over_by_day.source = days.source
            and left_over_by_day.local_date is not distinct from days.local_date
            and left_over_by_day."check" = '{{ check }}'
    union all
    {% endfor %}
    select source, local_date, 'unmapped_answers', failed, tested
    from unmapped_by_day
    union all
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
