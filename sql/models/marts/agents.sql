-- One row per (source, agent_key) with any visit.
with spelled as (
    select
        source,
        agent_key,
        {{ not_blank('agent_name') }} as name,
        count(*) as visits,
        count(*) filter (where state = 'completed') as visits_completed,
        min(local_date) as first_visit_on,
        max(local_date) as last_visit_on
    from {{ ref('visits') }}
    where agent_key is not null
    group by source, agent_key, agent_name
),

known as (
    select
        source,
        agent_key,
        {{ last_by('name', "coalesce(last_visit_on, " ~ before_all() ~ ")") }} as name,
        count(distinct name) as names_seen,
        cast(sum(visits) as bigint) as visits,
        cast(sum(visits_completed) as bigint) as visits_completed,
        min(first_visit_on) as first_visit_on,
        max(last_visit_on) as last_visit_on,
        max(last_visit_on) filter (where name is not null) as last_named_on
    from spelled
    group by source, agent_key
),

-- Which of several names came last on a day, its visits tell.
contested as (
    select known.source, known.agent_key, known.last_named_on as local_date
    from known
    inner join spelled
        on
            spelled.source = known.source
            and spelled.agent_key = known.agent_key
            and spelled.last_visit_on is not distinct from known.last_named_on
    where spelled.name is not null
    group by known.source, known.agent_key, known.last_named_on
    having count(*) > 1
),

last_names as (
    select source, agent_key, {{ last_by(not_blank('agent_name'), moment()) }} as name
    from (
        select visits.*
        from {{ ref('visits') }} as visits
        inner join contested
            on
                contested.source = visits.source
                and contested.agent_key = visits.agent_key
                and contested.local_date is not distinct from visits.local_date
    )
    group by source, agent_key
)

select
    known.source,
    known.agent_key,
    coalesce(last_names.name, known.name) as agent_name,
    known.names_seen,
    known.visits,
    known.visits_completed,
    known.first_visit_on,
    known.last_visit_on
from known
left join last_names on last_names.source = known.source and last_names.agent_key = known.agent_key
