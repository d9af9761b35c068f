-- One row per (source, visit_id) with a checklist: what was answered for each role, the forms of its questions, and
-- how many answers did not read as their type. For a role with several answers the first one that reads counts.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['source', 'visit_id'],
    meta={'touched': 'touched_visits'},
) }}
with visits as (
    select source, visit_id, product_id, time_zone_raw
    from {{ source('kobra', 'visits') }} as visits
    {{ only_touched('visits', ref('touched_visits'), ['source', 'visit_id']) }}
),

questions as (
    select source, visit_id, question_pos, question_id, question_name
    from {{ source('kobra', 'questions') }} as questions
    {{ only_touched('questions', ref('touched_visits'), ['source', 'visit_id']) }}
),

answers as (
    select source, visit_id, question_pos, answer_pos, answer_name, answer_type_id, value, parse_ok
    from {{ source('kobra', 'answers') }} as answers
    {{ only_touched('answers', ref('touched_visits'), ['source', 'visit_id']) }}
),

asked as (
    select
        questions.source,
        questions.visit_id,
        questions.question_pos * 1000000 + coalesce(answers.answer_pos, 0) as position,
        forms.form_id,
        forms.role,
        forms.value_type,
        answers.value,
        answers.parse_ok,
        time_zones.time_zone
    from questions
    inner join visits on visits.source = questions.source and visits.visit_id = questions.visit_id
    inner join {{ ref('time_zones') }} as time_zones
        on
            time_zones.source = visits.source
            and time_zones.time_zone_raw is not distinct from visits.time_zone_raw
    left join answers
        on
            answers.source = questions.source
            and answers.visit_id = questions.visit_id
            and answers.question_pos = questions.question_pos
    inner join {{ ref('question_forms') }} as forms
        on
            forms.source = questions.source
            and forms.product_id is not distinct from visits.product_id
            and forms.question_id is not distinct from questions.question_id
            and forms.question_name is not distinct from questions.question_name
            and forms.answer_name is not distinct from answers.answer_name
            and forms.answer_type_id is not distinct from answers.answer_type_id
            and forms.has_answer = (answers.source is not null)
),

read as (
    select
        source,
        visit_id,
        position,
        form_id,
        role,
        value,
        parse_ok,
        case when value_type = 'bool' then {{ read_bool('value') }} end as bool_value,
        case when value_type = 'money' then {{ read_money('value') }} end as money_value,
        case when value_type = 'date' then {{ read_date('value', 'time_zone') }} end as date_value,
        case when value_type = 'time' then {{ read_time('value') }} end as time_value,
        case when value_type in ('code', 'text') then {{ not_blank('value') }} end as text_value
    from asked
)

select
    source,
    visit_id,
    {% for role, value in roles().items() %}
    {{ first_by(value ~ '_value', 'position') }} filter (where role = '{{ role }}') as {{ role }},
    {% endfor %}
    {{ collected('form_id') }} as asked_forms,
    {{ collected('form_id') }} filter (where value is not null) as answered_forms,
    count(parse_ok) as answers_tested,
    count(*) filter (where not parse_ok) as answers_unparsed
from read
group by source, visit_id
