-- One row per question of a checklist (source, visit_id, question_pos), current version.
{{ config(alias='questions') }}
select
    source,
    visit_id,
    question_pos,
    question_id,
    question_name,
    question_order,
    section,
    extra
from {{ rows_of('questions', ref('int_current_contents')) }} as questions
