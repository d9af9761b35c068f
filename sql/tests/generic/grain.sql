{# The key tells rows apart, and is known but for the columns said to be nullable. #}
{% test grain(model, key, nullable=[]) %}
{%- set known = key | reject('in', nullable) | list %}
{%- set unchecked = is_unchecked('_new', [model]) | trim %}
{%- set new -%} (select * from {{ model }} as _new where {{ unchecked }}) {%- endset %}
select {{ key | join(', ') }}, count(*) as "rows"
from {{ model }} as _rows
{% if unchecked != 'true' %}
where {{ is_in('_rows', new, key) }}
{% endif %}
group by {{ key | join(', ') }}
having count(*) > 1{% for column in known %} or {{ column }} is null{% endfor %}
{% endtest %}
