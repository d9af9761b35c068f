-- One row per visit that is not as it was at the end of the last build (new, another version, gone, or its account has
-- moved), with its `state` where it is there; and one per place where it stood: at the end of that build and, after one
-- that was cut short, where that had put it.
{%- set visits = load_relation(this.incorporate(path={'schema': 'marts', 'identifier': 'visits'})) %}
{%- set is_first = visits is none or flags.FULL_REFRESH %}
{%- set state = ['source', 'visit_id', 'content_hash', 'delivery_id', 'versions', 'account_lat', 'account_lng'] %}
with known as (
    select
        visits.source,
        visits.visit_id,
        visits.content_hash,
        visits.delivery_id,
        visits.versions,
        accounts.lat as account_lat,
        accounts.lng as account_lng
    from {{ source('kobra', 'visits') }} as visits
    left join {{ ref('accounts_on_file') }} as accounts
        on accounts.source = visits.source and accounts.account_id = visits.account_id
),

loaded as (
    select source, visit_id, {{ row_hash(state) }} as state from known
),

built as (
    select *
    from {{ source('meta', 'visits_built') }}
    {% if is_first %} where false {% endif %}
),

changed as (
    select
        coalesce(loaded.source, built.source) as source,
        coalesce(loaded.visit_id, built.visit_id) as visit_id,
        loaded.state,
        built.agent_key,
        built.account_id,
        built.local_date
    from loaded
    full outer join built on built.state = loaded.state
    where loaded.state is null or built.state is null
)

select
    source,
    visit_id,
    state,
    agent_key,
    account_id,
    local_date
from changed
{% if not is_first %}
union
select
    visits.source,
    visits.visit_id,
    null as state,
    visits.agent_key,
    visits.account_id,
    visits.local_date
from {{ visits }} as visits
where {{ is_in('visits', 'changed', ['source', 'visit_id']) }}
{% endif %}
