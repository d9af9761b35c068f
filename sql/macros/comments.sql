{# Descriptions as comments in the file: those of a table and all its columns. dbt's own asks twice per table which columns
   it has. #}
{% macro comments(table) -%}
comment on table {{ table }} is {{ duckdb_escape_comment(model.description) }};
{% for column in model.columns.values() %}
comment on column {{ table }}.{{ adapter.quote(column.name) }} is {{ duckdb_escape_comment(column.description) }};
{% endfor %}
{%- endmacro %}

{% macro duckdb__persist_docs(relation, model, for_relation, for_columns) -%}
    {%- if config.persist_column_docs() and not is_incremental() -%}
        {%- call statement('comments') -%} {{ comments(relation) }} {%- endcall -%}
    {%- endif -%}
{%- endmacro %}
