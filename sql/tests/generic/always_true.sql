{# No row where a statement about it is false or unknown. #}
{% test always_true(model, column) %}
select *
from {{ model }}
where {{ column }} is not true
{% endtest %}
