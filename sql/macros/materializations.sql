{# How the tables are made, each in one statement. dbt's own `table` and `incremental` take ten, in which they ask of every
   table which columns it has, and where tables are small that is most of a build. A model of your own may use those. #}

{# Made anew in every build. #}
{% materialization anew, adapter='duckdb' %}
    {{ run_hooks(pre_hooks) }}
    {%- set table = made_anew() -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [table]}) }}
{% endmaterialization %}

{# Kept from build to build. Rows are only added; where the model names in `meta.touched` the staging model that lists what
   is to be replaced, and in `unique_key` its key, just that is replaced. Whatever its query says, other rows stay. #}
{% materialization kept, adapter='duckdb' %}
    {{ run_hooks(pre_hooks) }}
    {%- set table = made_touched() if is_incremental() else made_anew() -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [table]}) }}
{% endmaterialization %}

{% macro made_anew() %}
    {%- set table = this.incorporate(type='table') -%}
    {%- set before = load_cached_relation(this) -%}
    {%- if before is not none and not before.is_table -%}
        {%- do adapter.drop_relation(before) -%}
    {%- endif -%}
    {%- if config.get('contract').enforced and not is_as_last_built() -%}
        {%- do get_assert_columns_equivalent(compiled_code) -%}
    {%- endif -%}
    {%- call statement('main', auto_begin=false) -%}
        begin;
        {% if config.get('contract').enforced %}
        create or replace table {{ table }} {{ get_table_columns_and_constraints() }};
        insert into {{ table }} by name {{ compiled_code }};
        {% else %}
        create or replace table {{ table }} as {{ compiled_code }};
        {% endif %}
        {% if config.persist_column_docs() %}
        {{ comments(table) }}
        {% endif %}
        commit
    {%- endcall -%}
    {{ return(table) }}
{% endmacro %}

{% macro made_touched() %}
    {%- set table = this.incorporate(type='table') -%}
    {%- if not is_as_last_built() -%}
        {%- do fail_on_other_columns(table) -%}
    {%- endif -%}
    {%- set is_replaced -%}
        {%- if 'touched' in config.get('meta') -%}
        {{ is_in('_row', touched_of(table, config), config.get('unique_key')) }}
        {%- endif -%}
    {%- endset -%}
    {%- call statement('main', auto_begin=false) -%}
        begin;
        {% if is_replaced %}
        delete from {{ table }} as _row where {{ is_replaced }};
        {% endif %}
        insert into {{ table }} by name select * from ({{ compiled_code }}) as _row {{ "where " ~ is_replaced if is_replaced }};
        commit
    {%- endcall -%}
    {{ return(table) }}
{% endmacro %}

{% macro fail_on_other_columns(table) %}
    {%- set has = adapter.get_columns_in_relation(table) | map(attribute='name') | sort -%}
    {%- set gets = get_column_schema_from_query(compiled_code) | map(attribute='name') | sort -%}
    {%- do adapter.commit() -%}  {# to ask, dbt began a transaction -#}
    {%- if has != gets -%}
        {%- do exceptions.raise_compiler_error(table ~ ' has other columns than its model: build it with --full-refresh') -%}
    {%- endif -%}
{% endmacro %}

{# As dbt's own, of tables that are `kept`, too. #}
{% macro is_incremental() %}
    {%- set before = load_cached_relation(this) if execute else none -%}
    {{ return(
        before is not none
        and before.is_table
        and config.get('materialized') in ['kept', 'incremental']
        and not should_full_refresh()
    ) }}
{% endmacro %}

{# Whether the tables are known to be as these models made them: `kobra build` says so, which builds all afresh where
   models, mappings or versions are others. #}
{% macro is_as_last_built() %}
    {{ return(var('is_as_last_built', false) and not flags.FULL_REFRESH) }}
{% endmacro %}
