-- One row per (source, local_date, check): how many were tested, how many failed. The date is NULL where unknown.
{%- set check_column = adapter.quote('check') %}
{%- set flags = quality_flags() %}
{%- set levels = ['visits', 'questions', 'answers'] %}
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

-- What was sent and no column has: it stands in `extra`, of few rows, which are looked up among the current versions.
with_extra as (
    {% for level in levels %}
    select '{{ level }}' as level, delivery_id, item, _dlt_load_id, extra
    from {{ source('landed', level) }}
    where extra is not null
    {{ "union all" if not loop.last }}
    {% endfor %}
),

current_extra as (
    select contents.source, contents.visit_id, with_extra.level, with_extra.extra
    from with_extra
    inner join {{ ref('int_current_contents') }} as contents
        on
            contents.content_delivery_id = with_extra.delivery_id
            and contents.content_item = with_extra.item
            and contents.content_load_id = with_extra._dlt_load_id
),

left_over as (
    select distinct source, visit_id, 'leftovers_of_' || level as {{ check_column }} from current_extra
    {% for check, field in unread.items() %}
    union all
    select source, visit_id, '{{ check }}' from current_extra where level = 'visits' and {{ has_key('extra', field) }}
    {% endfor %}
),

left_over_by_day as (
    select visits.source, visits.local_date, left_over.{{ check_column }}, count(*) as failed
    from left_over
    inner join visits on visits.source = left_over.source and visits.visit_id = left_over.visit_id
    group by visits.source, visits.local_date, left_over.{{ check_column }}
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
    select source, local_date, '{{ flag }}' as {{ check_column }}, {{ flag }}_failed as failed, {{ flag }}_tested as tested
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
            and left_over_by_day.{{ check_column }} = '{{ check }}'
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
    {{ check_column }},
    cast(failed as bigint) as failed,
    cast(tested as bigint) as tested
from checks
