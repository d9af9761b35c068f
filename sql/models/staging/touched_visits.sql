-- One row per visit that is not as it was at the end of the last build (new, another version, gone, or its account has
-- moved), with its `place` in kobra.visits; and one per agent, account and day that it had: at the end of that build, and
-- in marts.visits. None in a full build: there nothing asks.
{%- set visits = load_relation(this.incorporate(path={'schema': 'marts', 'identifier': 'visits'})) %}
{%- set is_first = visits is none or flags.FULL_REFRESH %}
{%- set key = ['source', 'visit_id'] %}
{%- set visits_in_places %}
    {{ source('kobra', 'visits') }} as visits
    left join {{ ref('accounts_on_file') }} as accounts
        on accounts.source = visits.source and accounts.account_id = visits.account_id
{%- endset %}
{%- set state = visit_state('visits', 'accounts') %}
-- Where a file of the customer changed, the account of any visit may have moved. No row, and nothing to read, where none did.
with edited as (
    select is_edited from {{ source('meta', 'build') }} where is_edited and {{ not is_first }}
),

placed as (
    select visits.source, visits.visit_id, {{ state }} as state
    from {{ visits_in_places }}
    cross join edited
),

moved as (
    select source, visit_id
    from placed
    where not exists (
        select 1 from {{ source('meta', 'visits_built') }} as built cross join edited where built.state = placed.state
    )
),

in_doubt as (
    select source, visit_id from {{ source('meta', 'visits_loaded') }} where {{ not is_first }}
    union
    select source, visit_id from moved
),

found as (
    select
        visits.source,
        visits.visit_id,
        visits.rowid as place,
        {{ state }} as state
    from {{ visits_in_places }}
    where visits.rowid in ({{ places_where(source('kobra', 'visits'), is_in('_rows', 'in_doubt', key)) }})
),

built as (
    select * from {{ rows_in(source('meta', 'visits_built'), 'in_doubt', key) }} as visits
),

changed as (
    select in_doubt.source, in_doubt.visit_id, found.place
    from in_doubt
    left join found on found.source = in_doubt.source and found.visit_id = in_doubt.visit_id
    left join built on built.source = in_doubt.source and built.visit_id = in_doubt.visit_id
    where found.state is distinct from built.state
),

had as (
    select source, visit_id, agent_key, account_id, local_date
    from built
    where {{ is_in('built', 'changed', key) }}
    {% if not is_first %}
    union
    select source, visit_id, agent_key, account_id, local_date
    from {{ rows_in(visits, 'changed', key) }} as visits
    {% endif %}
)

select
    source,
    visit_id,
    place,
    null as agent_key,
    null as account_id,
    null as local_date
from changed
where place is not null
union all
select
    source,
    visit_id,
    null as place,
    agent_key,
    account_id,
    local_date
from had
