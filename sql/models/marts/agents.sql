-- One row per (source, agent_key) with any visit.
{# What is costly is asked of an agent's few spellings, not of every visit. -#}
with spelled as (
    select
        source,
        agent_key,
        {{ not_blank('agent_name') }} as name,
        max({{ moment() }}) as moment,
        count(*) as visits,
        count(*) filter (where state = 'completed') as visits_completed,
        min(local_date) as first_visit_on,
        max(local_date) as last_visit_on
    from {{ ref('visits') }}
    where agent_key is not null
    group by source, agent_key, agent_name
)

select
    source,
    agent_key,
    {{ last_by('name', 'moment') }} as agent_name,
    count(distinct name) as names_seen,
    cast(sum(visits) as bigint) as visits,
    cast(sum(visits_completed) as bigint) as visits_completed,
    min(first_visit_on) as first_visit_on,
    max(last_visit_on) as last_visit_on
from spelled
group by source, agent_key
