-- One row per (source, account_id) with any visit: what its visits say of it.
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_keys'), ['source', 'account_id']) }}",
) }}
with visits as (
    select
        *,
        {{ moment() }} as moment
    from {{ changed_copy(ref('int_visits'), ref('int_changed_account_visits')) }} as visits
    where
        account_id is not null
)

select
    source,
    account_id,
    {{ last_by(not_blank('client_name'), 'moment') }} as client_name,
    count(*) as visits,
    count(*) filter (where state = 'completed') as visits_completed,
    min(local_date) as first_visit_on,
    max(local_date) as last_visit_on,
    nullif({{ last_by("coalesce(outcome, '')", 'moment') }} filter (where state = 'completed'), '') as last_outcome,
    max(local_date) filter (where is_contact) as last_contact_on
from visits
group by source, account_id
