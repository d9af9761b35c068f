-- One row per (source, visit_id) that answers for any role: what was answered for each. For a role with several answers
-- the first one that reads counts.
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_visits'), ['source', 'visit_id']) }}",
) }}
with visits as (
    select visits.source, visits.visit_id, checklists.checklist, time_zones.time_zone
    from {{ current_visits() }} as visits
    inner join {{ ref('int_visit_checklists') }} as checklists
        on checklists.source = visits.source and checklists.visit_id = visits.visit_id
    inner join {{ ref('int_time_zones') }} as time_zones
        on
            time_zones.source = visits.source
            and time_zones.time_zone_raw is not distinct from visits.time_zone_raw
),

-- One number for all that says which answer it is: so that answers meet visits first and this small table last.
parts as (
    select
        {{ row_hash(['checklists.checklist', 'checklists.question_pos', 'checklists.answer_pos']) }} as part,
        forms.role,
        forms.value_type,
        count(*) over (partition by checklists.checklist, forms.role) = 1 as is_only_one
    from {{ ref('int_checklists') }} as checklists
    inner join {{ ref('int_question_forms') }} as forms on {{ is_of_form('checklists', 'forms') }}
    where checklists.is_answered and forms.role is not null
),

-- Read in two ways below: in a full build that is less work than to write all of them down first.
readings as {{ not_materialized() if not is_incremental() }} (
    select
        answers.source,
        answers.visit_id,
        answers.question_pos * 1000000 + answers.answer_pos as position,
        parts.role,
        parts.is_only_one,
        case when parts.value_type = 'bool' then {{ read_bool('answers.value') }} end as bool_value,
        case when parts.value_type = 'money' then {{ read_money('answers.value') }} end as money_value,
        case when parts.value_type = 'date' then {{ read_date('answers.value', 'visits.time_zone') }} end as date_value,
        case when parts.value_type = 'time' then {{ read_time('answers.value') }} end as time_value,
        case when parts.value_type in ('code', 'text') then {{ not_blank('answers.value') }} end as text_value
    from {{ current_rows_of('answers') }} as answers
    inner join visits on visits.source = answers.source and visits.visit_id = answers.visit_id
    inner join parts
        on parts.part = {{ row_hash(['visits.checklist', 'answers.question_pos', 'answers.answer_pos']) }}
    where answers.value is not null
),

-- Putting several answers of a role in order costs twice what all else does: they are few, and go their own way.
{%- set kinds = roles().values() | unique | list %}
one_each as (
    select source, visit_id, role, {{ kinds | join('_value, ') }}_value from readings where is_only_one
    union all
    select
        source,
        visit_id,
        role,
        {% for kind in kinds %}
        {{ first_by(kind ~ '_value', 'position') }}{{ "," if not loop.last }}
        {% endfor %}
    from readings
    where not is_only_one
    group by source, visit_id, role
)

select
    source,
    visit_id,
    {% for role, kind in roles().items() %}
    max(case when role = '{{ role }}' then {{ kind }}_value end) as {{ role }}{{ "," if not loop.last }}
    {% endfor %}
from one_each
group by source, visit_id
