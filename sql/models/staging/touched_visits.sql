-- One row per visit that is not as it was at the end of the last build (new, another version, gone, or its account has
-- moved), with its `place` in kobra.visits; and one per agent, account and day that it had: at the end of that build, and
-- in marts.visits. None in a full build: there nothing asks.
{%- set visits = load_relation(this.incorporate(path={'schema': 'marts', 'identifier': 'visits'})) %}
{%- set is_first = visits is none or flags.FULL_REFRESH %}
{%- set key = ['source', 'visit_id'] %}
with loaded as (
    select distinct source, visit_id
    from {{ source('meta', 'visits_loaded') }}
    {% if is_first %} where false {% endif %}
),

found as (
    select
        visits.source,
        visits.visit_id,
        visits.rowid as place,
        {{ visit_state('visits', 'accounts') }} as state
    from {{ source('kobra', 'visits') }} as visits
    left join {{ ref('accounts_on_file') }} as accounts
        on accounts.source = visits.source and accounts.account_id = visits.account_id
    where visits.rowid in ({{ places_where(source('kobra', 'visits'), is_in('_rows', 'loaded', key)) }})
),

built as (
    select * from {{ rows_in(source('meta', 'visits_built'), 'loaded', key) }} as visits
),

changed as (
    select loaded.source, loaded.visit_id, found.place
    from loaded
    left join found on found.source = loaded.source and found.visit_id = loaded.visit_id
    left join built on built.source = loaded.source and built.visit_id = loaded.visit_id
    where found.state is distinct from built.state
),

had as (
    select source, visit_id, agent_key, account_id, local_date
    from built
    where {{ is_in('built', 'changed', key) }}
    {% if not is_first %}
    union
    select source, visit_id, agent_key, account_id, local_date
    from {{ rows_in(visits, 'changed', key) }} as visits
    {% endif %}
)

select
    source,
    visit_id,
    place,
    null as agent_key,
    null as account_id,
    null as local_date
from changed
where place is not null
union all
select
    source,
    visit_id,
    null as place,
    agent_key,
    account_id,
    local_date
from had
