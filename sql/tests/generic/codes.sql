{# Columns hold the codes given for each, or NULL. #}
{% test codes(model, codes) %}
select *
from {{ model }} as _row
where not (
    {%- for column, known in codes.items() %}
    {{ 'and ' if not loop.first }}({{ column }} is null or {{ column }} in ('{{ known | join("', '") }}'))
    {%- endfor %}
)
{% endtest %}
