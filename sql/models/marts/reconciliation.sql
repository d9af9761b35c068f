-- One row per (source, received_date), a UTC day: whether every delivery that landed is accounted for.
with landed as (
    select
        source,
        {{ utc_date('received_at') }} as received_date,
        count(*) as landed,
        count(*) filter (where outcome = 'duplicate') as duplicates
    from {{ ref('kobra_deliveries') }}
    group by source, received_date
),

versions as (
    select source, {{ utc_date('valid_from') }} as received_date, count(*) as new_versions
    from {{ ref('kobra_visit_versions') }}
    group by source, received_date
),

rejected as (
    select source, {{ utc_date('received_at') }} as received_date, count(*) as rejected
    from {{ ref('kobra_rejects') }}
    group by source, received_date
)

select
    coalesce(landed.source, versions.source, rejected.source) as source,
    coalesce(landed.received_date, versions.received_date, rejected.received_date) as received_date,
    coalesce(landed.landed, 0) as landed,
    coalesce(versions.new_versions, 0) as new_versions,
    coalesce(landed.duplicates, 0) as duplicates,
    coalesce(rejected.rejected, 0) as rejected,
    coalesce(landed.landed, 0)
    = coalesce(versions.new_versions, 0) + coalesce(landed.duplicates, 0) + coalesce(rejected.rejected, 0)
        as is_balanced
from landed
full outer join versions
    on versions.source = landed.source and versions.received_date = landed.received_date
full outer join rejected
    on
        rejected.source = coalesce(landed.source, versions.source)
        and rejected.received_date = coalesce(landed.received_date, versions.received_date)
