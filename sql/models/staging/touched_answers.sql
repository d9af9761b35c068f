-- One row per answer in a changed visit: its place in kobra.answers, found once for all that read them. None in a full build.
select answers.rowid as place
from {{ source('kobra', 'answers') }} as answers
where {{ not flags.FULL_REFRESH }} and {{ is_in('answers', ref('touched_visits'), ['source', 'visit_id']) }}
