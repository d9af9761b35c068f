-- One row per changed visit (source, visit_id) that is still there: its current version. None in a full build.
select *
from {{ ref('int_current_contents') }} as contents
{{ keep_in('contents', ref('int_changed_visits'), ['source', 'visit_id']) }}
where {{ not flags.FULL_REFRESH }}
