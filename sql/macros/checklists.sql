{# Every question of every visit with each of its answers, one row where there is none. Of all visits, in an incremental
   build of those that were touched, or of the visits in the relation `wanted`. #}
{% macro checklist_rows(touched, wanted=none) -%}
    {%- set key = ['source', 'visit_id'] -%}
    {%- set kept = wanted or (touched if is_incremental() else none) -%}
    select
        questions.source,
        questions.visit_id,
        questions.question_pos * 1000000 + coalesce(answers.answer_pos, 0) as position,
        visits.product_id,
        visits.time_zone_raw,
        questions.question_id,
        questions.question_name,
        answers.answer_name,
        answers.answer_type_id,
        answers.source is not null as has_answer,
        answers.value,
        answers.parse_ok
    from (
        select source, visit_id, question_pos, question_id, question_name
        from {{ source('kobra', 'questions') }} as questions
        {% if kept %} where {{ is_in('questions', kept, key) }} {% endif %}
    ) as questions
    inner join (
        select source, visit_id, product_id, time_zone_raw
        from {{ source('kobra', 'visits') }} as visits
        {% if kept %} where {{ is_in('visits', kept, key) }} {% endif %}
    ) as visits on visits.source = questions.source and visits.visit_id = questions.visit_id
    left join (
        select source, visit_id, question_pos, answer_pos, answer_name, answer_type_id, value, parse_ok
        from {{ source('kobra', 'answers') }} as answers
        {% if kept %} where {{ is_in('answers', kept, key) }} {% endif %}
    ) as answers
        on
            answers.source = questions.source
            and answers.visit_id = questions.visit_id
            and answers.question_pos = questions.question_pos
{%- endmacro %}

{# Whether a row of `checklist_rows` has the form of `question_forms`. #}
{% macro is_of_form(row, form) -%}
    {{ form }}.source = {{ row }}.source
    {% for column in ['product_id', 'question_id', 'question_name', 'answer_name', 'answer_type_id'] %}
    and {{ form }}.{{ column }} is not distinct from {{ row }}.{{ column }}
    {% endfor %}
    and {{ form }}.has_answer = {{ row }}.has_answer
{%- endmacro %}

{# A number that is the same for the same values, in whatever order, and hardly ever for others. #}
{% macro bag_hash(values) -%} sum(hash({{ values | join(', ') }})) {%- endmacro %}
