{# What the last loads touched is computed anew, nothing else. A model that is `incremental` by the strategy `touched`
   names in `meta.touched` the staging model that lists what is to be replaced, and in `unique_key` its key. Whatever its
   query says, other rows stay as they are. #}

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

{# Every key in these columns that a changed visit was or is part of. None in a full build: there nothing asks. #}
{% macro touched_keys(columns) -%}
select {{ columns | join(', ') }}
from {{ ref('touched_visits') }}
where {{ not flags.FULL_REFRESH }}
union
select {{ columns | join(', ') }}
from {{ ref('visits') }} as visits
where {{ not flags.FULL_REFRESH }} and {{ is_in('visits', ref('touched_visits'), ['source', 'visit_id']) }}
{%- endmacro %}

{% macro get_incremental_touched_sql(arguments) %}
    {%- set target = arguments['target_relation'] -%}
    {%- set columns = arguments['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    {%- set touched = ref(config.get('meta')['touched']) -%}
    delete from {{ target }} as _old
    where {{ is_in('_old', touched, config.get('unique_key')) }};

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ arguments['temp_relation'] }} as _new
    where {{ is_in('_new', touched, config.get('unique_key')) }}
{% endmacro %}

{# Whether a row may be other than when it was last tested: where all tables that a test looks at are kept by `touched`,
   only rows that were touched in one of them. `kobra build` asks for that, as what it finds and did not touch passed
   its tests; in a full build and for an analyst it is every row. #}
{% macro is_unchecked(alias, tables) -%}
    {%- set kept = [] -%}
    {%- for table in tables if execute and var('tests_only_touched', false) and not flags.FULL_REFRESH -%}
        {%- set config = graph.nodes['model.' ~ project_name ~ '.' ~ table.identifier].config -%}
        {%- if 'touched' in config.meta -%}
            {%- set touched = table.incorporate(path={'schema': 'staging', 'identifier': config.meta.touched}) -%}
            {%- do kept.append(is_in(alias, touched, config.unique_key)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ '(' ~ kept | join(' or ') ~ ')' if kept | length == tables | length else 'true' }}
{%- endmacro %}
