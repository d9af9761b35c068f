-- One row per (checklist, question_pos, answer_pos): what the visits of this checklist are asked, and whether they
-- answer, and how that reads. A question without answers has one row, at answer_pos 0.
{{ config(materialized=incremental_or_table(), incremental_strategy='append') }}
with chosen as (
    select checklist, min({{ pack(['source', 'visit_id']) }}) as visit
    from {{ ref('int_visit_checklists') }}
    {% if is_incremental() %}
    where checklist not in (select checklist from {{ this }})
    {% endif %}
    group by checklist
),

examples as (
    select
        chosen.checklist,
        contents.source,
        contents.visit_id,
        contents.content_delivery_id,
        contents.content_item,
        contents.content_load_id
    from chosen
    inner join {{ ref('int_current_contents') }} as contents
        on contents.source = chosen.visit.source and contents.visit_id = chosen.visit.visit_id
),

questions as (
    select * from {{ rows_of('questions', 'examples') }} as questions
),

answers as (
    select
        answers.*,
        {{ read_as() }} as read_as
    from {{ rows_of('answers', 'examples') }} as answers
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
inner join {{ rows_of('visits', 'examples') }} as visits
    on visits.source = examples.source and visits.visit_id = examples.visit_id
inner join questions on questions.source = examples.source and questions.visit_id = examples.visit_id
left join answers
    on
        answers.source = questions.source
        and answers.visit_id = questions.visit_id
        and answers.question_pos = questions.question_pos
