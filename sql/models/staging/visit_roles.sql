-- One row per (source, visit_id) with a checklist: what was answered for each role, and how many answers did not read as
-- their type. For a role with several answers the first one that reads counts. Visits of one `checklist` were asked
-- the same questions and left the same ones open: there are few of those, see `checklists`.
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['source', 'visit_id'],
    meta={'touched': 'touched_visits'},
) }}
with asked as (
    {{ checklist_rows(ref('touched_visits')) }}
),

formed as (
    select
        asked.source,
        asked.visit_id,
        asked.position,
        asked.value,
        asked.parse_ok,
        forms.form_id,
        forms.role,
        forms.value_type,
        time_zones.time_zone
    from asked
    inner join {{ ref('question_forms') }} as forms on {{ is_of_form('asked', 'forms') }}
    inner join {{ ref('time_zones') }} as time_zones
        on
            time_zones.source = asked.source
            and time_zones.time_zone_raw is not distinct from asked.time_zone_raw
),

tallied as (
    select
        source,
        visit_id,
        {{ bag_hash(['form_id', 'value is null']) }} as checklist,
        count(parse_ok) as answers_tested,
        count(*) filter (where not parse_ok) as answers_unparsed
    from formed
    group by source, visit_id
),

read as (
    select
        source,
        visit_id,
        position,
        role,
        case when value_type = 'bool' then {{ read_bool('value') }} end as bool_value,
        case when value_type = 'money' then {{ read_money('value') }} end as money_value,
        case when value_type = 'date' then {{ read_date('value', 'time_zone') }} end as date_value,
        case when value_type = 'time' then {{ read_time('value') }} end as time_value,
        case when value_type in ('code', 'text') then {{ not_blank('value') }} end as text_value
    from formed
    where role is not null and value is not null
),

played as (
    select
        source,
        visit_id,
        {% for role, value in roles().items() %}
        {{ first_by(value ~ '_value', 'position') }} filter (where role = '{{ role }}')
            as {{ role }}{{ "," if not loop.last }}
        {% endfor %}
    from read
    group by source, visit_id
)

select
    tallied.source,
    tallied.visit_id,
    {% for role in roles() %}
    played.{{ role }},
    {% endfor %}
    tallied.checklist,
    tallied.answers_tested,
    tallied.answers_unparsed
from tallied
left join played on played.source = tallied.source and played.visit_id = tallied.visit_id
