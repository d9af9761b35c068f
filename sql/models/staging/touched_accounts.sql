-- One row per (source, account_id) that a changed visit was or is part of.
select
    source,
    account_id
from {{ ref('touched_visits') }}
union
select
    visits.source,
    visits.account_id
from {{ ref('visits') }} as visits
where {{ is_in('visits', ref('touched_visits'), ['source', 'visit_id']) }}
