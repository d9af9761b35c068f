-- One row per phone number of a visit (source, visit_id, pos), current version.
{{ config(alias='phones') }}
select
    source,
    visit_id,
    pos,
    value,
    normalised,
    e164,
    extra
from {{ rows_of('phones', ref('int_current_contents')) }} as phones
