-- One row per (source, agent_key, account_id, local_date) that any version of a changed visit has: what is kept by any of
-- these is computed anew there. None in a full build: there nothing asks.
select distinct
    source,
    {{ agent_key('agent_id', 'agent_name') }} as agent_key,
    {{ not_blank('account_id') }} as account_id,
    cast(start_local as date) as local_date
from {{ source('landed', 'visits') }} as visits
{{ keep_in('visits', ref('int_changed_visits'), ['source', 'visit_id']) }}
where {{ not flags.FULL_REFRESH }}
