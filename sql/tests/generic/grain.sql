{# The key tells rows apart, and is known but for the columns said to be nullable. Where rows are parts `of` another table's,
   there is a row of that key there. #}
{% test grain(model, key, nullable=[], of=none) %}
{%- set columns = key | join(', ') %}
select {{ columns }}, cast(count(*) as varchar) || ' rows with this key' as fault
from {{ model }} as _row
group by {{ columns }}
having count(*) > 1{% for column in key if column not in nullable %} or {{ column }} is null{% endfor %}
{% if of %}
union all
select {{ columns }}, 'no row with this key in {{ of.identifier }}' as fault
from {{ model }} as _row
{{ anti_join() }} {{ of }} as _wanted on {{ is_same('_row', '_wanted', key) }}
{% endif %}
{% endtest %}
