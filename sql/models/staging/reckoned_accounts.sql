-- One row per (source, account_id) that is reckoned anew, with its promises, revisits and episodes: those that a changed
-- visit was or is part of; those with a last day that is over as of one of two builds, the last one and this, and not of the
-- other; and all when a file of the customer is another (promises without an account are in no account_facts). None in a
-- full build: there nothing asks.
with build as (
    select
        is_edited,
        case when built_as_of < as_of then built_as_of else as_of end as earlier,
        case when built_as_of < as_of then as_of else built_as_of end as later
    from {{ source('meta', 'build') }}
),

last_days as (
    select promises.source, promises.account_id, promises.promise_date + settings.promise_grace_days as last_day
    from {{ ref('promises_made') }} as promises
    inner join {{ ref('settings_by_source') }} as settings on settings.source = promises.source
    union all
    select asked.source, asked.account_id, asked.revisit_date + settings.revisit_tolerance_days as last_day
    from {{ ref('revisits_asked') }} as asked
    inner join {{ ref('settings_by_source') }} as settings on settings.source = asked.source
    union all
    select episodes.source, episodes.account_id, episodes.last_date + settings.episode_days as last_day
    from {{ ref('episodes') }} as episodes
    inner join {{ ref('settings_by_source') }} as settings on settings.source = episodes.source
)

select source, account_id
from {{ ref('touched_keys') }}
union
select last_days.source, last_days.account_id
from last_days
inner join build on last_days.last_day >= build.earlier and last_days.last_day < build.later
where {{ not flags.FULL_REFRESH }}
union
select promises.source, promises.account_id
from {{ ref('promises_made') }} as promises
inner join build on build.is_edited
where {{ not flags.FULL_REFRESH }}
union
select facts.source, facts.account_id
from {{ ref('account_facts') }} as facts
inner join build on build.is_edited
where {{ not flags.FULL_REFRESH }}
