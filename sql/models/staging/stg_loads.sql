-- One row per load that completed: its rows count, those of others do not.
select
    loads.load_id,
    not exists (select 1 from {{ source('meta', 'loads_built') }} as built where built.load_id = loads.load_id) as is_new
from {{ source('landed', '_dlt_loads') }} as loads
where loads.status = 0 and loads.schema_name = 'kobra'
