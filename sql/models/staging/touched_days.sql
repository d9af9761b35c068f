-- One row per (source, local_date) that a changed visit was or is part of.
select distinct
    source,
    local_date
from {{ ref('touched_agent_days') }}
