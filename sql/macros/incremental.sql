{# How a model is kept from build to build: rows of what changed are deleted and made again, all others stay. An engine that
   cannot delete makes the table again. #}
{% macro incremental_or_table() -%}
    {{ return(adapter.dispatch('incremental_or_table')()) }}
{%- endmacro %}
{% macro default__incremental_or_table() -%} {{ return('table') }} {%- endmacro %}
{% macro duckdb__incremental_or_table() -%} {{ return('incremental') }} {%- endmacro %}

{# What public tables are that only show what is kept elsewhere: views, where one reads tables through the engine that has the
   views; else tables, as whoever reads their files sees no view. #}
{% macro view_or_table() -%} {{ return('view' if target.type == 'duckdb' else 'table') }} {%- endmacro %}

{# Delete the rows whose key is in `changed`, in the transaction that adds them again. Strategy delete+insert of dbt would
   leave those that have no successor. #}
{% macro delete_changed(changed, key) -%}
    {%- if is_incremental() -%}
    delete from {{ this }} as _row where {{ is_in('_row', changed, key) }}
    {%- endif -%}
{%- endmacro %}

{# The rows of a table; in an incremental build only those whose key is in `changed`. #}
{% macro changed_rows(table, changed, key) -%}
    {{ rows_in(table, changed, key) if is_incremental() else table }}
{%- endmacro %}

{# What a model reads in a full build, and what holds of it the changed rows. #}
{% macro changed_copy(table, changed) -%} {{ changed if is_incremental() else table }} {%- endmacro %}

{# Whether the row of `alias` is in a relation, by a key whose parts may be NULL. #}
{% macro is_in(alias, relation, key) -%}
    exists (
        select 1 from {{ relation }} as _wanted
        where {{ is_same(alias, '_wanted', key) }}
    )
{%- endmacro %}

{# The rows of a table whose key is in a relation. #}
{% macro rows_in(table, relation, key) -%} {{ adapter.dispatch('rows_in')(table, relation, key) }} {%- endmacro %}
{% macro default__rows_in(table, relation, key) -%}
    (select _rows.* from {{ table }} as _rows {{ keep_in('_rows', relation, key) }})
{%- endmacro %}
{# Keys are looked at first; the other columns are read only where that found a row. #}
{% macro duckdb__rows_in(table, relation, key) -%}
    (
        select * from {{ table }}
        where rowid in (select _rows.rowid from {{ table }} as _rows {{ keep_in('_rows', relation, key) }})
    )
{%- endmacro %}

{# Whether two rows have the same key, whose parts may be NULL. #}
{% macro is_same(one, other, key) -%}
    {% for column in key %}{{ "and " if not loop.first }}{{ other }}.{{ column }} is not distinct from {{ one }}.{{ column }}{{ " " if not loop.last }}{% endfor %}
{%- endmacro %}

{# Joins that keep the rows of their left side for which there is one on the right, or none. `exists` says the same, and in
   larger queries DuckDB then looks for every distinct row of the left side first. #}
{% macro semi_join() -%} {{ adapter.dispatch('semi_join')() }} {%- endmacro %}
{% macro default__semi_join() -%} left semi join {%- endmacro %}
{% macro duckdb__semi_join() -%} semi join {%- endmacro %}
{% macro anti_join() -%} {{ adapter.dispatch('anti_join')() }} {%- endmacro %}
{% macro default__anti_join() -%} left anti join {%- endmacro %}
{% macro duckdb__anti_join() -%} anti join {%- endmacro %}

{# Behind a table in `from`: keep the rows whose key is in a relation. #}
{% macro keep_in(alias, relation, key) -%}
    {{ semi_join() }} {{ relation }} as _wanted on {{ is_same(alias, '_wanted', key) }}
{%- endmacro %}

{# A CTE that is computed once, where the engine would not decide so itself. #}
{% macro materialized() -%} {{ adapter.dispatch('materialized')() }} {%- endmacro %}
{% macro default__materialized() -%} {%- endmacro %}
{% macro duckdb__materialized() -%} materialized {%- endmacro %}

{# A CTE that is computed where it is used, where the engine would not decide so itself. #}
{% macro not_materialized() -%} {{ adapter.dispatch('not_materialized')() }} {%- endmacro %}
{% macro default__not_materialized() -%} {%- endmacro %}
{% macro duckdb__not_materialized() -%} not materialized {%- endmacro %}
