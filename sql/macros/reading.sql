{# From text to typed values by the reading rules; NULL for what does not read. The load installs the macros. #}
{% macro read_bool(text) -%} kobra.read_bool({{ text }}) {%- endmacro %}
{% macro read_money(text) -%} cast(kobra.read_number({{ text }}) as decimal(18, 2)) {%- endmacro %}
{% macro read_date(text, time_zone) -%} kobra.read_date({{ text }}, {{ time_zone }}) {%- endmacro %}
{% macro read_time(text) -%} kobra.read_time({{ text }}) {%- endmacro %}

{# Lower case, no accents, punctuation and spacing collapsed; NFC and NFD alike. #}
{% macro normalised_text(text) -%} kobra.normalised_text({{ text }}) {%- endmacro %}

{# Text without the white space round it, of any kind. #}
{% macro trimmed(text) -%} regexp_replace({{ text }}, '^[\s\pZ]+|[\s\pZ]+$', '', 'g') {%- endmacro %}

{# Text as sent, NULL when blank. #}
{% macro not_blank(text) -%} case when regexp_matches({{ text }}, '[^\s\pZ]') then {{ text }} end {%- endmacro %}
