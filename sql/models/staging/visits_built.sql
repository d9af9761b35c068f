-- One row per (source, visit_id): the visits as this build knew them. Written when everything that is built from
-- single visits stands: a build that was cut short before leaves it, and the next one finds the same visits changed.
-- depends_on: {{ ref('legs') }}
-- depends_on: {{ ref('visit_quality') }}
-- depends_on: {{ ref('agent_days') }}
-- depends_on: {{ ref('outcomes_daily') }}
-- depends_on: {{ ref('data_quality') }}
-- depends_on: {{ ref('promises_made') }}
-- depends_on: {{ ref('revisits_asked') }}
-- depends_on: {{ ref('episodes') }}
-- depends_on: {{ ref('account_facts') }}
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['source', 'visit_id'],
    meta={'touched': 'touched_visits'},
) }}
select
    visits.source,
    visits.visit_id,
    visits.content_hash,
    visits.delivery_id,
    visits.versions,
    accounts.lat as account_lat,
    accounts.lng as account_lng,
    visits.agent_key,
    visits.account_id,
    visits.local_date
from {{ ref('visits') }} as visits
left join {{ ref('accounts_on_file') }} as accounts
    on accounts.source = visits.source and accounts.account_id = visits.account_id
{{ only_touched('visits', ref('touched_visits'), ['source', 'visit_id']) }}
