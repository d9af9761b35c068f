-- One row per source, product, role and text as answered: the code that it means. Texts without a code are not here.
{{ config(materialized=incremental_or_table(), incremental_strategy='append') }}
{%- set text = ['source', 'product_id', 'role', 'text'] %}
{%- set coded = ['contact_with', 'payment_method', 'validation_result', 'tag'] %}
with visits as (
    select source, visit_id, product_id, tag_name
    from {{ current_visits() }} as visits
),

roles as (
    select *
    from {{ changed_rows(ref('int_visit_roles'), ref('int_changed_visits'), ['source', 'visit_id']) }} as roles
),

texts as (
    select source, product_id, 'tag' as role, tag_name as text from visits where tag_name is not null
    {% for role in coded %}
    union
    select visits.source, visits.product_id, '{{ role }}', roles.{{ role }}
    from visits
    inner join roles on roles.source = visits.source and roles.visit_id = visits.visit_id
    where roles.{{ role }} is not null
    {% endfor %}
),

keyed as (
    select *, {{ normalised_text('text') }} as text_key from texts
),

codes as (
    select *, {{ normalised_text('value') }} as text_key from {{ source('mappings', 'answer_codes') }}
),

ranked as (
    select
        keyed.source,
        keyed.product_id,
        keyed.role,
        keyed.text,
        codes.code,
        row_number() over (
            partition by keyed.source, keyed.product_id, keyed.role, keyed.text
            order by codes.source is null, codes.product_id is null, codes.line
        ) as preference
    from keyed
    inner join codes
        on
            codes.role = keyed.role
            and codes.text_key = keyed.text_key
            and (codes.source is null or codes.source = keyed.source)
            and (codes.product_id is null or codes.product_id = keyed.product_id)
)

select
    source,
    product_id,
    role,
    text,
    code
from ranked
where preference = 1 {%- if is_incremental() %} and not {{ is_in('ranked', this, text) }} {%- endif %}
