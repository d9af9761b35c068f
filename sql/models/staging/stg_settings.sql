-- One row per source: the thresholds that hold for it. A source's own row beats a general one.
with sources as (
    select distinct source from {{ source('landed', 'deliveries') }}
),

ranked as (
    select
        sources.source,
        settings.key,
        settings.value,
        row_number() over (
            partition by sources.source, settings.key
            order by settings.source is null, settings.line
        ) as preference
    from sources
    inner join {{ source('mappings', 'settings') }} as settings
        on settings.source is null or settings.source = sources.source
),

effective as (
    select source, key, value from ranked where preference = 1
)

select
    source,
    {% for key, type in {
        'default_time_zone': 'string',
        'promise_grace_days': 'integer',
        'promise_threshold': 'decimal(9, 6)',
        'payments_until': 'date',
        'recovery_days': 'integer',
        'revisit_tolerance_days': 'integer',
        'episode_days': 'integer',
        'short_visit_seconds': 'double',
        'long_visit_minutes': 'double',
        'place_radius_m': 'double',
        'max_speed_kmh': 'double',
        'speed_noise_m': 'double',
        'same_spot_accounts': 'integer',
        'skew_minutes': 'double',
        'late_hours': 'double',
        'min_visits_heatmap': 'integer',
        'hours_open': 'time',
        'hours_close': 'time',
    }.items() %}
    cast(max(case when key = '{{ key }}' then value end) as {{ type }}) as {{ key }}{{ "," if not loop.last }}
    {% endfor %}
from effective
group by source
