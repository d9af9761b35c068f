-- One row per distinct (source, product_id, question_id, question_name, answer_name, answer_type_id) in current visits.
with used as (
    select checklist, count(*) as visits from {{ ref('int_visit_checklists') }} group by checklist
)

select
    forms.source,
    forms.product_id,
    forms.question_id,
    forms.question_name,
    forms.answer_name,
    forms.answer_type_id,
    max(forms.role) as role,
    max(forms.value_type) as value_type,
    max(forms.matched_by) as matched_by,
    cast(sum(case when checklists.has_answer then used.visits else 0 end) as bigint) as answers,
    cast(sum(case when checklists.is_answered then used.visits else 0 end) as bigint) as answered
from used
inner join {{ ref('int_checklists') }} as checklists on checklists.checklist = used.checklist
inner join {{ ref('int_question_forms') }} as forms on {{ is_of_form('checklists', 'forms') }}
group by
    forms.source,
    forms.product_id,
    forms.question_id,
    forms.question_name,
    forms.answer_name,
    forms.answer_type_id
