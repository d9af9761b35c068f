-- One row per raw segment taken: (segment).
{{ config(alias='segments') }}
select
    segments.segment,
    segments.received_date,
    segments.lines,
    segments.bytes,
    segments.damaged,
    segments.loaded_at
from {{ source('landed', 'segments') }} as segments
inner join {{ ref('stg_loads') }} as loads on loads.load_id = segments._dlt_load_id
