{# From text to typed values by the reading rules; NULL for what does not read. The load installs the macros; Spark has functions
   of the same names, which run them (pipelines/spark/functions.py). #}
{% macro read_bool(text) -%} {{ rule('read_bool') }}({{ text }}) {%- endmacro %}
{% macro read_money(text) -%} cast({{ rule('read_number') }}({{ text }}) as decimal(18, 2)) {%- endmacro %}
{% macro read_date(text, time_zone) -%} {{ rule('read_date') }}({{ text }}, {{ time_zone }}) {%- endmacro %}
{% macro read_time(text) -%} {{ rule('read_time') }}({{ text }}) {%- endmacro %}

{# Lower case, no accents, punctuation and spacing collapsed; NFC and NFD alike. #}
{% macro normalised_text(text) -%} {{ rule('normalised_text') }}({{ text }}) {%- endmacro %}

{# How a reading rule is called. #}
{% macro rule(name) -%} {{ adapter.dispatch('rule')(name) }} {%- endmacro %}
{% macro default__rule(name) -%} {{ name }} {%- endmacro %}
{% macro duckdb__rule(name) -%} kobra.{{ name }} {%- endmacro %}

{# Text without the white space round it, of any kind. The patterns say the same: in Java \s has one more character, and $ is
   also before a last line's end. #}
{% macro trimmed(text) -%} {{ adapter.dispatch('trimmed')(text) }} {%- endmacro %}
{% macro default__trimmed(text) -%}
    regexp_replace({{ text }}, r'^[ \t\n\f\r\pZ]+|[ \t\n\f\r\pZ]+\z', '')
{%- endmacro %}
{% macro duckdb__trimmed(text) -%} regexp_replace({{ text }}, '^[\s\pZ]+|[\s\pZ]+$', '', 'g') {%- endmacro %}

{# Text as sent, NULL when blank. #}
{% macro not_blank(text) -%} case when {{ has_letters(text) }} then {{ text }} end {%- endmacro %}

{# Whether there is anything but white space. #}
{% macro has_letters(text) -%} {{ adapter.dispatch('has_letters')(text) }} {%- endmacro %}
{% macro default__has_letters(text) -%} {{ text }} rlike r'[^ \t\n\f\r\pZ]' {%- endmacro %}
{% macro duckdb__has_letters(text) -%} regexp_matches({{ text }}, '[^\s\pZ]') {%- endmacro %}

{# Text without Unicode's blanks at both ends: Spark's trim() knows one of them alone. #}
{% macro without_blanks(text) -%} {{ adapter.dispatch('without_blanks')(text) }} {%- endmacro %}
{% macro default__without_blanks(text) -%} regexp_replace({{ text }}, r'^\p{Zs}+|\p{Zs}+\z', '') {%- endmacro %}
{% macro duckdb__without_blanks(text) -%} trim({{ text }}) {%- endmacro %}

{# Text in lower case, letter by letter: Spark's own lower() makes two of some. #}
{% macro lower_case(text) -%} {{ adapter.dispatch('lower_case')(text) }} {%- endmacro %}
{% macro default__lower_case(text) -%} lower_case({{ text }}) {%- endmacro %}
{% macro duckdb__lower_case(text) -%} lower({{ text }}) {%- endmacro %}
