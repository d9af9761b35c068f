-- One row per e-mail address of a visit (source, visit_id, pos), current version.
{{ config(alias='emails') }}
select
    source,
    visit_id,
    pos,
    value,
    normalised,
    extra
from {{ rows_of('emails', ref('int_current_contents')) }} as emails
