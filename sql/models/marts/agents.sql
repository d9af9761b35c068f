-- One row per (source, agent_key) with any visit.
with visits as (
    select
        source,
        agent_key,
        {{ not_blank('agent_name') }} as name,
        state,
        local_date,
        row_number() over (
            partition by source, agent_key
            order by local_date nulls first, start_at nulls first, end_at nulls last, visit_id
        ) as visit_no
    from {{ ref('visits') }}
    where agent_key is not null
)

select
    source,
    agent_key,
    {{ last_by('name', 'visit_no') }} as agent_name,
    count(distinct name) as names_seen,
    count(*) as visits,
    count(*) filter (where state = 'completed') as visits_completed,
    min(local_date) as first_visit_on,
    max(local_date) as last_visit_on
from visits
group by source, agent_key
