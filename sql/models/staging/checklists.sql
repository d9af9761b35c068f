-- One row per (checklist, form_id): how often the visits of this checklist are asked this, and how often they answer.
{{ config(materialized='incremental', incremental_strategy='append') }}
with roles as (
    select source, visit_id, checklist
    from {{ ref('visit_roles') }} as roles
    {{ only_touched('roles', ref('touched_visits'), ['source', 'visit_id']) }}
),

examples as (
    select checklist, min(source) as source, {{ first_by('visit_id', 'source') }} as visit_id
    from roles
    {% if is_incremental() %}
    where checklist not in (select checklist from {{ this }})
    {% endif %}
    group by checklist
),

asked as (
    {{ checklist_rows(ref('touched_visits'), 'examples') }}
)

select
    examples.checklist,
    forms.form_id,
    count(*) as asked,
    count(asked.value) as answered
from asked
inner join examples on examples.source = asked.source and examples.visit_id = asked.visit_id
inner join {{ ref('question_forms') }} as forms on {{ is_of_form('asked', 'forms') }}
group by examples.checklist, forms.form_id
