-- One row per answer of a question (source, visit_id, question_pos, answer_pos), current version.
{{ config(alias='answers') }}
select
    source,
    visit_id,
    question_pos,
    answer_pos,
    answer_id,
    answer_type_id,
    answer_name,
    answer_order,
    value,
    value_bool,
    value_number,
    value_date,
    value_time,
    value_text,
    parse_ok,
    extra
from {{ rows_of('answers', ref('int_current_contents')) }} as answers
