-- One row per (source, visit_id) with a checklist: which one, and how many answers did not read as their type. Visits of
-- one `checklist` were asked the same questions, left the same ones open and gave answers that read as the same types:
-- there are few of those, see `checklists`.
{{ config(
    materialized=incremental_or_table(),
    incremental_strategy='append',
    pre_hook="{{ delete_changed(ref('int_changed_visits'), ['source', 'visit_id']) }}",
) }}
with asked as (
    select
        source,
        visit_id,
        {{ bag_hash(['question_pos', 'question_id', 'question_name']) }} as asked
    from {{ current_rows_of('questions') }} as questions
    group by source, visit_id
),

answered as (
    select
        source,
        visit_id,
        {{ bag_hash([
            'question_pos', 'answer_pos', 'answer_name', 'answer_type_id', 'value is null', read_as()
        ]) }} as answered,
        count(parse_ok) as answers_tested,
        count(*) filter (where not parse_ok) as answers_unparsed
    from {{ current_rows_of('answers') }} as answers
    group by source, visit_id
)

select
    visits.source,
    visits.visit_id,
    cast(visits.start_local as date) as local_date,
    {{ row_hash(['visits.source', 'visits.product_id', 'asked.asked', 'answered.answered']) }} as checklist,
    coalesce(answered.answers_tested, 0) as answers_tested,
    coalesce(answered.answers_unparsed, 0) as answers_unparsed
from {{ current_visits() }} as visits
inner join asked on asked.source = visits.source and asked.visit_id = visits.visit_id
left join answered on answered.source = visits.source and answered.visit_id = visits.visit_id
