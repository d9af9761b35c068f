{# Whether a row of `checklists` has the form of `question_forms`. #}
{% macro is_of_form(row, form) -%}
    {{ form }}.source = {{ row }}.source
    {% for column in ['product_id', 'question_id', 'question_name', 'answer_name', 'answer_type_id'] %}
    and {{ form }}.{{ column }} is not distinct from {{ row }}.{{ column }}
    {% endfor %}
    and {{ form }}.has_answer = {{ row }}.has_answer
{%- endmacro %}

{# As what the value of an answer was read while loading: the name of the typed column that has it, or text; NULL where
   there is none to read. #}
{% macro read_as() -%}
    case
        when value_bool is not null then 'bool'
        when value_number is not null then 'number'
        when value_date is not null then 'date'
        when value_time is not null then 'time'
        when {{ without_blanks('value') }} <> '' then 'text'
    end
{%- endmacro %}

{# A number that is the same for the same values, and hardly ever for others. #}
{% macro row_hash(values) -%} {{ adapter.dispatch('row_hash')(values) }} {%- endmacro %}
{# Spark's hash passes over what is NULL, wherever it stands. #}
{% macro default__row_hash(values) -%}
    xxhash64({% for value in values %}{{ value }}, ({{ value }}) is null{{ ", " if not loop.last }}{% endfor %})
{%- endmacro %}
{% macro duckdb__row_hash(values) -%} hash({{ values | join(', ') }}) {%- endmacro %}

{# The same for several rows, in whatever order. #}
{% macro bag_hash(values) -%} {{ adapter.dispatch('bag_hash')(values) }} {%- endmacro %}
{% macro default__bag_hash(values) -%} sum(cast({{ row_hash(values) }} as decimal(28, 0))) {%- endmacro %}
{% macro duckdb__bag_hash(values) -%} sum({{ row_hash(values) }}) {%- endmacro %}
