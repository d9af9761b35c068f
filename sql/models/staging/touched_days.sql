-- One row per (source, local_date) that a changed visit was or is part of.
select
    source,
    local_date
from {{ ref('touched_visits') }}
union
select
    visits.source,
    visits.local_date
from {{ ref('visits') }} as visits
where {{ is_in('visits', ref('touched_visits'), ['source', 'visit_id']) }}
