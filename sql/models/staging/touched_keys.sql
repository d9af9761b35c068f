-- One row per (source, agent_key, account_id, local_date) that a changed visit had at the end of the last build or has now:
-- what is kept by any of these is computed anew there. None in a full build: there nothing asks.
{%- set keys = 'source, agent_key, account_id, local_date' %}
select {{ keys }}
from {{ ref('touched_visits') }}
where {{ not flags.FULL_REFRESH }} and place is null
union
select {{ keys }}
from {{ ref('visits') }} as visits
where {{ not flags.FULL_REFRESH }} and {{ is_in('visits', ref('touched_visits'), ['source', 'visit_id']) }}
