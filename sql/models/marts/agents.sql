-- One row per (source, agent_key) with any visit.
with visits as (
    select
        source,
        agent_key,
        {{ not_blank('agent_name') }} as name,
        state,
        local_date,
        {{ moment() }} as moment
    from {{ ref('visits') }}
    where agent_key is not null
)

select
    source,
    agent_key,
    {{ last_by('name', 'moment') }} as agent_name,
    count(distinct name) as names_seen,
    count(*) as visits,
    count(*) filter (where state = 'completed') as visits_completed,
    min(local_date) as first_visit_on,
    max(local_date) as last_visit_on
from visits
group by source, agent_key
