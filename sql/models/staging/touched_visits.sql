-- One row per visit that is not as it was at the end of the last build (new, another version, gone, or its account has
-- moved) and place where it stood: at the end of that build and, after one that was cut short, where that had put it.
{%- set visits = load_relation(this.incorporate(path={'schema': 'marts', 'identifier': 'visits'})) %}
with loaded as (
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

built as (
    select *
    from {{ source('meta', 'visits_built') }}
    {% if visits is none or flags.FULL_REFRESH %} where false {% endif %}
),

changed as (
    select
        coalesce(loaded.source, built.source) as source,
        coalesce(loaded.visit_id, built.visit_id) as visit_id,
        built.agent_key,
        built.account_id,
        built.local_date
    from loaded
    full outer join built on built.source = loaded.source and built.visit_id = loaded.visit_id
    where
        loaded.content_hash is distinct from built.content_hash
        or loaded.delivery_id is distinct from built.delivery_id
        or loaded.versions is distinct from built.versions
        or loaded.account_lat is distinct from built.account_lat
        or loaded.account_lng is distinct from built.account_lng
)
{% if visits is none %}
select
    source,
    visit_id,
    agent_key,
    account_id,
    local_date
from changed
{% else %}
select
    changed.source,
    changed.visit_id,
    changed.agent_key,
    changed.account_id,
    changed.local_date
from changed
union
select
    visits.source,
    visits.visit_id,
    visits.agent_key,
    visits.account_id,
    visits.local_date
from {{ visits }} as visits
inner join changed on changed.source = visits.source and changed.visit_id = visits.visit_id
{% endif %}
