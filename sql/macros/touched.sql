{# What the last loads touched is computed anew, nothing else. A model that is `incremental` by the strategy `touched`
   names in `meta.touched` the staging model that lists what is to be replaced, and in `unique_key` its key. #}

{# The rows of a table; in an incremental build only those that were touched. Their keys are looked at first: by the
   places that these give, the other columns are read only where there is something to be had. #}
{% macro touched_rows(table, relation, key) -%}
    {%- if is_incremental() -%}
    (
        select * from {{ table }}
        where rowid in (select _rows.rowid from {{ table }} as _rows where {{ is_in('_rows', relation, key) }})
    )
    {%- else -%}
    {{ table }}
    {%- endif -%}
{%- endmacro %}

{# Whether the row of `alias` is in a relation, by a key whose parts may be NULL. #}
{% macro is_in(alias, relation, key) -%}
    exists (
        select 1 from {{ relation }} as _wanted
        where {% for column in key %}{{ "and " if not loop.first }}_wanted.{{ column }} is not distinct from {{ alias }}.{{ column }}{{ " " if not loop.last }}{% endfor %}
    )
{%- endmacro %}

{# Every key in these columns that a changed visit was or is part of. #}
{% macro touched_keys(columns) -%}
select {{ columns | join(', ') }}
from {{ ref('touched_visits') }}
union
select {{ columns | join(', ') }}
from {{ ref('visits') }} as visits
where {{ is_in('visits', ref('touched_visits'), ['source', 'visit_id']) }}
{%- endmacro %}

{% macro get_incremental_touched_sql(arguments) %}
    {%- set target = arguments['target_relation'] -%}
    {%- set columns = arguments['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    delete from {{ target }} as _old
    where {{ is_in('_old', ref(config.get('meta')['touched']), config.get('unique_key')) }};

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ arguments['temp_relation'] }}
{% endmacro %}
