{# Descriptions as comments in the file: those of a table and all its columns in one statement, and none in an
   incremental build, where they are there already. dbt's own asks twice per table which columns it has. #}
{% macro duckdb__persist_docs(relation, model, for_relation, for_columns) -%}
    {%- if config.persist_column_docs() and not is_incremental() -%}
        {%- call statement('comments') -%}
        comment on table {{ relation }} is {{ duckdb_escape_comment(model.description) }};
        {% for column in model.columns.values() %}
        comment on column {{ relation }}.{{ adapter.quote(column.name) }} is {{ duckdb_escape_comment(column.description) }};
        {% endfor %}
        {%- endcall -%}
    {%- endif -%}
{%- endmacro %}
