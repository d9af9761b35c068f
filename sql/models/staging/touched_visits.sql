-- One row per visit that is not as it was at the end of the last build (new, another version, gone, or its account has
-- moved), with its `place` in kobra.visits; and one per agent, account and day that it had: at the end of that build, and
-- in marts.visits. None in a full build: there nothing asks.
{%- set visits = load_relation(this.incorporate(path={'schema': 'marts', 'identifier': 'visits'})) %}
{%- set is_first = visits is none or flags.FULL_REFRESH %}
with loaded as (
    select
        visits.rowid as place,
        {{ visit_state('visits', 'accounts') }} as state
    from {{ source('kobra', 'visits') }} as visits
    left join {{ ref('accounts_on_file') }} as accounts
        on accounts.source = visits.source and accounts.account_id = visits.account_id
    {% if is_first %} where false {% endif %}
),

built as (
    select
        rowid as place,
        state
    from {{ source('meta', 'visits_built') }}
    {% if is_first %} where false {% endif %}
),

{# Places, not keys, through the join of all visits with themselves. -#}
places as (
    select
        loaded.place as loaded_at,
        built.place as built_at
    from loaded
    full outer join built on built.state = loaded.state
    where loaded.state is null or built.state is null
),

changed as (
    select
        source,
        visit_id,
        rowid as place,
        null as agent_key,
        null as account_id,
        null as local_date
    from {{ source('kobra', 'visits') }}
    where rowid in (select loaded_at from places)
    union all
    select
        source,
        visit_id,
        null as place,
        agent_key,
        account_id,
        local_date
    from {{ source('meta', 'visits_built') }}
    where rowid in (select built_at from places)
)

select
    source,
    visit_id,
    place,
    agent_key,
    account_id,
    local_date
from changed
{% if not is_first %}
union
select
    visits.source,
    visits.visit_id,
    null as place,
    visits.agent_key,
    visits.account_id,
    visits.local_date
from {{ visits }} as visits
where {{ is_in('visits', 'changed', ['source', 'visit_id']) }}
{% endif %}
