-- One row per (source, product_id, local_date): what came of the visits. Product and date are NULL where unknown.
with payments_file as (
    select is_present from {{ source('inputs', 'files') }} where name = 'payments'
),

recovered as (
    select
        source,
        product_id,
        visit_date as local_date,
        {{ sum_of_one_currency('amount', 'currency') }} as recovered_amount
    from {{ ref('recoveries') }}
    where visit_id is not null
    group by source, product_id, visit_date
),

counted as (
    select
        source,
        product_id,
        local_date,
        count(*) filter (where state = 'completed') as visits_completed,
        count(*) filter (where state = 'cancelled') as visits_cancelled,
        count(*) filter (where state = 'open') as visits_open,
        count(is_contact) as contact_known,
        count(*) filter (where is_contact) as contacts,
        count(*) filter (where is_rpc) as rpcs,
        count(*) filter (where is_contact and promise_made is not null) as contacts_asked,
        count(*) filter (where is_promise) as promises,
        count(*) filter (where is_promise and is_contact) as promises_in_contact,
        count(*) filter (where is_promise and not is_contact) as promises_without_contact,
        {{ as_amount('sum(promise_amount) filter (where is_promise)') }} as promise_amount,
        count(promise_amount) filter (where is_promise) as promises_with_amount,
        count(*) filter (where state = 'completed' and outcome = 'claims_paid') as claims_paid,
        count(*) filter (where state = 'completed' and rebound) as rebounds,
        count(rebound) filter (where state = 'completed') as rebound_known,
        count(*) filter (where state = 'completed' and validation = 'validated') as validated,
        count(*) filter (where state = 'completed' and validation = 'refuted') as refuted,
        count(*) filter (where state = 'completed' and validation = 'inconclusive') as inconclusive
    from {{ ref('visits') }} as visits
    group by source, product_id, local_date
)

select
    counted.source,
    counted.product_id,
    counted.local_date,
    counted.visits_completed,
    counted.visits_cancelled,
    counted.visits_open,
    counted.contact_known,
    counted.contacts,
    counted.rpcs,
    counted.contacts_asked,
    counted.promises,
    counted.promises_in_contact,
    counted.promises_without_contact,
    counted.promise_amount,
    counted.promises_with_amount,
    counted.claims_paid,
    counted.rebounds,
    counted.rebound_known,
    counted.validated,
    counted.refuted,
    counted.inconclusive,
    {{ recovered_amount() }} as recovered_amount,
    {{ ratio('visits_cancelled', 'visits_completed + visits_cancelled') }} as cancellation_rate,
    {{ ratio('contacts', 'contact_known') }} as contact_rate,
    {{ ratio('rpcs', 'contact_known') }} as rpc_rate,
    {{ ratio('promises_in_contact', 'contacts_asked') }} as ptp_per_contact,
    {{ ratio('promises', 'visits_completed') }} as ptp_per_visit,
    {{ ratio('rebounds', 'rebound_known') }} as rebound_rate,
    {{ ratio('validated', 'validated + refuted') }} as validated_rate,
    case when counted.product_id in (2, 3) then {{ ratio('validated + refuted', 'visits_completed') }} end as conclusive_rate
from counted
cross join payments_file
left join recovered
    on
        recovered.source = counted.source
        and recovered.product_id is not distinct from counted.product_id
        and recovered.local_date = counted.local_date
