-- One row per distinct (source, product_id, question_id, question_name, answer_name, answer_type_id) in current visits.
with used as (
    select checklist, count(*) as visits from {{ ref('visit_roles') }} group by checklist
),

counted as (
    select
        checklists.form_id,
        sum(used.visits * checklists.asked) as asked,
        sum(used.visits * checklists.answered) as answered
    from used
    inner join {{ ref('checklists') }} as checklists on checklists.checklist = used.checklist
    group by checklists.form_id
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
    cast(sum(case when forms.has_answer then counted.asked else 0 end) as bigint) as answers,
    cast(sum(counted.answered) as bigint) as answered
from {{ ref('question_forms') }} as forms
inner join counted on counted.form_id = forms.form_id
group by
    forms.source,
    forms.product_id,
    forms.question_id,
    forms.question_name,
    forms.answer_name,
    forms.answer_type_id
