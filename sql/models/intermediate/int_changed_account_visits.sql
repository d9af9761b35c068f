-- One row per visit of an account that changed, (source, visit_id): found once for all models that are kept by account. None
-- in a full build. Read in one pass: visits of an account are all over the table.
select
    source,
    visit_id,
    account_id,
    product_id,
    agent_key,
    client_name,
    state,
    outcome,
    validation,
    payment_method_code,
    local_date,
    start_at,
    end_at,
    start_local,
    is_contact,
    is_rpc,
    is_promise,
    promise_date,
    promise_amount,
    revisit,
    revisit_date,
    slot1_start,
    slot1_end,
    slot2_start,
    slot2_end
from {{ ref('int_visits') }} as visits
{{ keep_in('visits', ref('int_changed_keys'), ['source', 'account_id']) }}
