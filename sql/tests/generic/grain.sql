{# The key tells rows apart, and is known but for the columns said to be nullable. #}
{% test grain(model, key, nullable=[]) %}
{%- set known = key | reject('in', nullable) | list %}
select {{ key | join(', ') }}, count(*) as "rows"
from {{ model }} as _rows
where {{ is_unchecked('_rows', [model]) }}
group by {{ key | join(', ') }}
having count(*) > 1{% for column in known %} or {{ column }} is null{% endfor %}
{% endtest %}
