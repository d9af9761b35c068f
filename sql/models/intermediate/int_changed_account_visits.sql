-- One row per visit of an account that changed, (source, visit_id): found once for all models that are kept by account. None
-- in a full build. Read in one pass: visits of an account are all over the table.
select
    visits.source,
    visits.visit_id,
    visits.account_id,
    visits.product_id,
    visits.agent_key,
    visits.client_name,
    visits.state,
    visits.outcome,
    visits.validation,
    visits.payment_method_code,
    visits.local_date,
    visits.start_at,
    visits.end_at,
    visits.start_local,
    visits.is_contact,
    visits.is_rpc,
    visits.is_promise,
    visits.promise_date,
    visits.promise_amount,
    visits.revisit,
    visits.revisit_date,
    visits.slot1_start,
    visits.slot1_end,
    visits.slot2_start,
    visits.slot2_end
from {{ ref('int_visits') }} as visits
{{ keep_in('visits', ref('int_changed_keys'), ['source', 'account_id']) }}
