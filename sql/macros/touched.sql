{# The rows of a table; in an incremental build only those that were touched. #}
{% macro touched_rows(table, relation, key) -%}
    {{ rows_in(table, relation, key) if is_incremental() else table }}
{%- endmacro %}

{# The same where a staging model lists, in `place`, where in the table those rows are. #}
{% macro touched_places(table, relation) -%}
    {{ rows_at(table, "select place from " ~ relation) if is_incremental() else table }}
{%- endmacro %}

{# The same where several models need those rows: from a model that has found them for all. #}
{% macro touched_copy(table, copy) -%} {{ copy if is_incremental() else table }} {%- endmacro %}

{# The rows of a table whose key is in a relation. Keys are looked at first: by the places that these give, the other
   columns are read only where there is something to be had. #}
{% macro rows_in(table, relation, key) -%}
    {{ rows_where(table, is_in("_rows", relation, key)) }}
{%- endmacro %}

{# The same by a condition on `_rows`. #}
{% macro rows_where(table, condition) -%}
    {{ rows_at(table, places_where(table, condition)) }}
{%- endmacro %}

{# Where in the table those rows are. #}
{% macro places_where(table, condition) -%} select _rows.rowid from {{ table }} as _rows where {{ condition }} {%- endmacro %}

{# The rows of a table at the places that a query gives. A place holds until rows are deleted or loaded. #}
{% macro rows_at(table, places) -%} (select * from {{ table }} where rowid in ({{ places }})) {%- endmacro %}

{# Whether the row of `alias` is in a relation, by a key whose parts may be NULL. #}
{% macro is_in(alias, relation, key) -%}
    exists (
        select 1 from {{ relation }} as _wanted
        where {% for column in key %}{{ "and " if not loop.first }}_wanted.{{ column }} is not distinct from {{ alias }}.{{ column }}{{ " " if not loop.last }}{% endfor %}
    )
{%- endmacro %}

{# What a visit is made of, in one number: the next `kobra build` computes those anew for which it is another. #}
{% macro visit_state(visit, account) -%}
    meta.visit_state({{ visit }}.delivery_id, {{ visit }}.versions, {{ account }}.lat, {{ account }}.lng)
{%- endmacro %}

{# The staging model that a table names in `meta.touched`. Not by `ref`: what it computes may come from there by others. #}
{% macro touched_of(table, config) -%}
    {{ return(table.incorporate(path={'schema': 'staging', 'identifier': config.get('meta')['touched']})) }}
{%- endmacro %}

{# Whether a row may be other than when it was last tested: where all tables that a test looks at name what was touched,
   only rows that were touched in one of them. `kobra build` asks for that, as what it finds and did not touch passed
   its tests; in a full build and for an analyst it is every row. #}
{% macro is_unchecked(alias, tables) -%}
    {%- set kept = [] -%}
    {%- for table in tables if execute and is_as_last_built() and 'touched' in config_of(table).meta -%}
        {%- do kept.append(is_in(alias, touched_of(table, config_of(table)), config_of(table).unique_key)) -%}
    {%- endfor -%}
    {{ '(' ~ kept | join(' or ') ~ ')' if kept | length == tables | length else 'true' }}
{%- endmacro %}

{# The rows of a table that may be other than when they were last tested. #}
{% macro unchecked_rows(table) -%}
    {%- set condition = is_unchecked('_rows', [table]) | trim -%}
    {{ table if condition == 'true' else rows_where(table, condition) }}
{%- endmacro %}

{# Whether a row that is unchecked cannot have the same key as one that is not. By a part of the key, one of the tables says
   what was touched: rows of what was not are as they were, and where. #}
{% macro are_unchecked_together(key, tables) -%}
    {%- set partly_by = [] -%}
    {%- for table in tables if execute -%}
        {%- do partly_by.append((config_of(table).unique_key or []) | reject('in', key) | list) -%}
    {%- endfor -%}
    {{ return([] in partly_by) }}
{%- endmacro %}

{% macro config_of(table) -%} {{ return(graph.nodes['model.' ~ project_name ~ '.' ~ table.identifier].config) }} {%- endmacro %}
