{# The key tells rows apart, and is known but for the columns said to be nullable. Where rows are parts `of` another table's,
   there is a row of that key there. #}
{% test grain(model, key, nullable=[], of=none) %}
{%- set quoted = [] %}
{%- for column in key %}{% do quoted.append(adapter.quote(column)) %}{% endfor %}
{%- set columns = quoted | join(', ') %}
select {{ columns }}, cast(count(*) as {{ dbt.type_string() }}) || ' rows with this key' as fault
from {{ model }} as _row
group by {{ columns }}
having count(*) > 1{% for column in key if column not in nullable %} or {{ adapter.quote(column) }} is null{% endfor %}
{% if of %}
union all
select {{ columns }}, 'no row with this key in {{ of.identifier }}' as fault
from {{ model }} as _row
{{ anti_join() }} {{ of }} as _wanted on {{ is_same('_row', '_wanted', quoted) }}
{% endif %}
{% endtest %}
