-- One row per form in which a question was ever put: who is asked what under which id, name and answer type. With the
-- role that the mapping gives it. `form_id` is ours. A question without answers is a form of its own (`has_answer`).
{{ config(materialized=incremental_or_table(), incremental_strategy='append') }}
{%- set form = ['source', 'product_id', 'question_id', 'question_name', 'answer_name', 'answer_type_id', 'has_answer'] %}
with seen as (
    select distinct
        source,
        product_id,
        question_id,
        question_name,
        answer_name,
        answer_type_id,
        has_answer
    from {{ ref('int_checklists') }}
),

forms as (
    select
        row_number() over (order by {{ form | join(', ') }})
            {%- if is_incremental() %} + (select coalesce(max(form_id), 0) from {{ this }}) {%- endif %} as form_id,
        seen.*,
        {{ normalised_text('question_name') }} as question_key,
        coalesce({{ normalised_text('answer_name') }}, '') as answer_key
    from seen
    {% if is_incremental() %}
    where not {{ is_in('seen', this, form) }}
    {% endif %}
),

rules as (
    select
        rules.*,
        {{ normalised_text('question_name') }} as question_key,
        {{ normalised_text('answer_name') }} as answer_key
    from {{ source('mappings', 'question_roles') }} as rules
),

candidates as (
    select
        forms.form_id,
        rules.role,
        rules.value_type,
        rules.source is null as is_general,
        rules.answer_key is null as is_any_answer,
        rules.product_id is null as is_any_product,
        rules.line,
        case
            when rules.question_key = forms.question_key and rules.question_id = forms.question_id then 'name+id'
            when rules.question_key = forms.question_key then 'name'
            when rules.question_id = forms.question_id and (
                (rules.value_type = 'bool' and forms.answer_type_id in ('6', '7', '8', '9'))
                or (rules.value_type = 'money' and forms.answer_type_id in ('3', '4'))
                or (rules.value_type = 'date' and forms.answer_type_id = '5')
                or (rules.value_type = 'time' and forms.answer_type_id = '10')
                or (rules.value_type = 'code' and forms.answer_type_id in ('1', '6', '7', '9'))
                or (rules.value_type = 'text' and forms.answer_type_id in ('1', '2'))
            ) then 'id'
        end as matched_by
    from forms
    inner join rules
        on
            (rules.question_key = forms.question_key or rules.question_id = forms.question_id)
            and (rules.source is null or rules.source = forms.source)
            and (rules.product_id is null or rules.product_id = forms.product_id)
            and (rules.answer_key is null or rules.answer_key = forms.answer_key)
),

ranked as (
    select
        *,
        row_number() over (
            partition by form_id
            order by
                is_general,
                case matched_by when 'name+id' then 1 when 'name' then 2 else 3 end,
                is_any_answer,
                is_any_product,
                line
        ) as preference
    from candidates
    where matched_by is not null
)

select
    forms.form_id,
    forms.source,
    forms.product_id,
    forms.question_id,
    forms.question_name,
    forms.answer_name,
    forms.answer_type_id,
    forms.has_answer,
    forms.question_key,
    forms.answer_key,
    ranked.role,
    ranked.value_type,
    coalesce(ranked.matched_by, 'unmapped') as matched_by
from forms
left join ranked on ranked.form_id = forms.form_id and ranked.preference = 1
