-- One row per (source, agent_key) with any visit.
with spelled as (
    select
        source,
        agent_key,
        {{ not_blank('agent_name') }} as name,
        count(*) as visits,
        count(*) filter (where state = 'completed') as visits_completed,
        min(local_date) as first_visit_on,
        max(local_date) as last_visit_on
    from {{ ref('visits') }}
    where agent_key is not null
    group by source, agent_key, agent_name
),

known as (
    select
        source,
        agent_key,
        max(name) as name,
        count(distinct name) as names_seen,
        cast(sum(visits) as bigint) as visits,
        cast(sum(visits_completed) as bigint) as visits_completed,
        min(first_visit_on) as first_visit_on,
        max(last_visit_on) as last_visit_on
    from spelled
    group by source, agent_key
),

several_names as (
    select source, agent_key from known where names_seen > 1
),

-- Which name came last is costly to tell: it is asked only where there are several.
last_names as (
    select source, agent_key, {{ last_by(not_blank('agent_name'), moment()) }} as name
    from {{ ref('visits') }} as visits
    where {{ is_in('visits', 'several_names', ['source', 'agent_key']) }}
    group by source, agent_key
)

select
    known.source,
    known.agent_key,
    coalesce(last_names.name, known.name) as agent_name,
    known.names_seen,
    known.visits,
    known.visits_completed,
    known.first_visit_on,
    known.last_visit_on
from known
left join last_names on last_names.source = known.source and last_names.agent_key = known.agent_key
