{# Every row's key is the key of a row of another table. #}
{% test found_in(model, to, key) %}
select {{ key | join(', ') }}
from {{ model }} as _rows
where {{ is_unchecked('_rows', [model, to]) }} and not {{ is_in('_rows', to, key) }}
{% endtest %}
