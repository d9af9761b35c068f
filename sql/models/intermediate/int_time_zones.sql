-- One row per source and time zone name as sent: the zone that is meant. Only Region/City names and UTC are trusted.
with sent as (
    select distinct source, time_zone_raw from {{ source('landed', 'visits') }}
),

trusted as (
    select name, {{ lower_case('name') }} as zone_key
    from {{ time_zone_names() }} as names
    where name like '%/%' and name not like 'SystemV/%' or name = 'UTC'
)

select
    sent.source,
    sent.time_zone_raw,
    coalesce(trusted.name, settings.default_time_zone) as time_zone,
    trusted.name is not null as time_zone_known
from sent
inner join {{ ref('stg_settings') }} as settings on settings.source = sent.source
left join trusted on trusted.zone_key = {{ lower_case(trimmed('sent.time_zone_raw')) }}
