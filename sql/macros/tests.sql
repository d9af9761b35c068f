{# The rows that a test looks at. In an incremental `kobra build`, a test with `where: changed visits` (or accounts, or agent
   days) looks only at those: all others passed it when they changed. In a full build, and for an analyst's `dbt test`, it
   looks at all rows. dbt calls this for every generic test. #}
{% macro get_where_subquery(relation) -%}
    {%- set changed = {
        'changed visits': ('int_changed_visits', ['source', 'visit_id']),
        'changed accounts': ('int_changed_keys', ['source', 'account_id']),
        'changed agent days': ('int_changed_keys', ['source', 'agent_key', 'local_date']),
    } -%}
    {%- set where = config.get('where') -%}
    {%- if where not in changed -%}
        {{ return(relation if not where else "(select * from " ~ relation ~ " where " ~ where ~ ") as tested") }}
    {%- elif not var('kobra_build', false) or flags.FULL_REFRESH -%}
        {{ return(relation) }}
    {%- endif -%}
    {%- set name, key = changed[where] -%}
    {{ return(rows_in(relation, relation.incorporate(path={'schema': 'staging', 'identifier': name}), key)) }}
{%- endmacro %}
