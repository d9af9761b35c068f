-- One row per distinct (source, product_id, question_id, question_name, answer_name, answer_type_id) in current visits.
with asked as (
    select {{ each('asked_forms') }} as form_id from {{ ref('visit_roles') }}
),

answered as (
    select {{ each('answered_forms') }} as form_id from {{ ref('visit_roles') }}
),

asked_counts as (
    select form_id, count(*) as answers from asked group by form_id
),

answered_counts as (
    select form_id, count(*) as answered from answered group by form_id
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
    cast(sum(case when forms.has_answer then asked_counts.answers else 0 end) as bigint) as answers,
    cast(sum(coalesce(answered_counts.answered, 0)) as bigint) as answered
from {{ ref('question_forms') }} as forms
inner join asked_counts on asked_counts.form_id = forms.form_id
left join answered_counts on answered_counts.form_id = forms.form_id
group by
    forms.source,
    forms.product_id,
    forms.question_id,
    forms.question_name,
    forms.answer_name,
    forms.answer_type_id
