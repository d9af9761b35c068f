-- One row per (checklist, question_pos, answer_pos): what the visits of this checklist are asked, and whether they
-- answer, and how that reads. A question without answers has one row, at answer_pos 0.
{{ config(materialized='kept') }}
{%- set visit = ['source', 'visit_id'] %}
with examples as (
    select checklist, min(source) as source, {{ first_by('visit_id', 'source') }} as visit_id
    from {{ ref('visit_checklists') }}
    {% if is_incremental() %}
    where checklist not in (select checklist from {{ this }})
    {% endif %}
    group by checklist
),

questions as (
    select * from {{ source('kobra', 'questions') }} as questions where {{ is_in('questions', 'examples', visit) }}
),

answers as (
    select
        answers.*,
        {{ read_as() }} as read_as
    from {{ source('kobra', 'answers') }} as answers
    where {{ is_in('answers', 'examples', visit) }}
)

select
    examples.checklist,
    questions.question_pos,
    coalesce(answers.answer_pos, 0) as answer_pos,
    examples.source,
    visits.product_id,
    questions.question_id,
    questions.question_name,
    answers.answer_name,
    answers.answer_type_id,
    answers.source is not null as has_answer,
    answers.value is not null as is_answered,
    answers.read_as
from examples
inner join {{ source('kobra', 'visits') }} as visits
    on visits.source = examples.source and visits.visit_id = examples.visit_id
inner join questions on questions.source = examples.source and questions.visit_id = examples.visit_id
left join answers
    on
        answers.source = questions.source
        and answers.visit_id = questions.visit_id
        and answers.question_pos = questions.question_pos
