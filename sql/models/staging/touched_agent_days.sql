-- One row per (source, agent_key, local_date) that a changed visit was or is part of.
select
    source,
    agent_key,
    local_date
from {{ ref('touched_visits') }}
union
select
    visits.source,
    visits.agent_key,
    visits.local_date
from {{ ref('visits') }} as visits
where {{ is_in('visits', ref('touched_visits'), ['source', 'visit_id']) }}
