{# The key tells rows apart, and is known but for the columns said to be nullable. Where rows are parts `of` another table's,
   there is a row of that key there. #}
{% test grain(model, key, nullable=[], of=none) %}
{%- set columns = key | join(', ') %}
{%- set tables = [model, of] if of else [model] %}
with unchecked as (
    select {{ columns }}
    from {{ model }} as _row
    where {{ is_unchecked('_row', tables) if are_unchecked_together(key, tables) else 'true' }}
)

select {{ columns }}, cast(count(*) as varchar) || ' rows with this key' as fault
from unchecked
group by {{ columns }}
having count(*) > 1{% for column in key if column not in nullable %} or {{ column }} is null{% endfor %}
{% if of %}
union all
select {{ columns }}, 'no row with this key in {{ of.identifier }}' as fault
from unchecked as _row
where not {{ is_in('_row', of, key) }}
{% endif %}
{% endtest %}
