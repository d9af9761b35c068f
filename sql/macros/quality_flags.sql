{# The flags of `visit_quality`, in its order. #}
{% macro quality_flags() -%}
    {{ return([
        'gps_missing',
        'gps_emulator_default',
        'negative_duration',
        'too_short',
        'too_long',
        'clock_skew',
        'late_arrival',
        'time_zone_unknown',
        'start_in_gap',
        'out_of_hours',
        'third_party_contact',
        'overlaps_previous',
        'impossible_speed',
        'same_spot',
        'promise_without_contact',
        'out_of_place',
        'tag_conflict',
    ]) }}
{%- endmacro %}
