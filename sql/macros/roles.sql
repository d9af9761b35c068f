{# The roles that a question can play, and as what their answers are read. A code is found by the text of the answer. #}
{% macro roles() -%}
    {{ return({
        'contact_made': 'bool',
        'contact_with': 'text',
        'contact_name': 'text',
        'promise_made': 'bool',
        'payment_method': 'text',
        'promise_amount': 'money',
        'promise_date': 'date',
        'revisit': 'bool',
        'revisit_date': 'date',
        'slot1_start': 'time',
        'slot1_end': 'time',
        'slot2_start': 'time',
        'slot2_end': 'time',
        'validation_result': 'text',
        'tag': 'text',
        'address_found': 'bool',
        'lives_here': 'bool',
        'business_operating': 'bool',
        'business_activity_match': 'bool',
    }) }}
{%- endmacro %}
