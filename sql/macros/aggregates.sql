{# The value of the row with the smallest or greatest `by`, among rows where it is not NULL. #}
{% macro first_by(value, by) -%} {{ adapter.dispatch('first_by')(value, by) }} {%- endmacro %}
{% macro default__first_by(value, by) -%} min_by({{ value }}, {{ where_known(value, by) }}) {%- endmacro %}
{% macro duckdb__first_by(value, by) -%} arg_min({{ value }}, {{ by }}) {%- endmacro %}
{% macro last_by(value, by) -%} {{ adapter.dispatch('last_by')(value, by) }} {%- endmacro %}
{% macro default__last_by(value, by) -%} max_by({{ value }}, {{ where_known(value, by) }}) {%- endmacro %}
{% macro duckdb__last_by(value, by) -%} arg_max({{ value }}, {{ by }}) {%- endmacro %}
{% macro where_known(value, by) -%} case when {{ value }} is not null then {{ by }} end {%- endmacro %}

{# A sum of money as an amount. NULL where it is too large for one: a slip of the finger stops no build. #}
{% macro as_amount(sum) -%} try_cast({{ sum }} as decimal(18, 2)) {%- endmacro %}

{# A sum of money in one currency; NULL over several, which nothing adds up. One that is not said is a currency like any
   other. #}
{% macro sum_of_one_currency(amount, currency) -%}
    case when count(distinct coalesce({{ currency }}, '')) = 1 then {{ as_amount("sum(" ~ amount ~ ")") }} end
{%- endmacro %}

{# What was recovered, where `recovered` is joined to what it may have no row for: then nothing came, if payments are known. #}
{% macro recovered_amount() -%}
    case
        when payments_file.is_present and recovered.source is null then cast(0 as decimal(18, 2))
        else recovered.recovered_amount
    end
{%- endmacro %}

{# A number with so many decimals. Spark's own round() goes by how the number is written, and so another way at the middle. #}
{% macro rounded(number, decimals) -%} {{ adapter.dispatch('rounded')(number, decimals) }} {%- endmacro %}
{% macro default__rounded(number, decimals) -%}
    round({{ number }} * 1e{{ decimals }}) / 1e{{ decimals }}
{%- endmacro %}
{% macro duckdb__rounded(number, decimals) -%} round({{ number }}, {{ decimals }}) {%- endmacro %}

{# A ratio of sums: NULL, never 0 or infinite, over nothing. #}
{% macro ratio(numerator, denominator) -%}
    cast({{ numerator }} as double) / nullif({{ denominator }}, 0)
{%- endmacro %}

{# Lower end of the two-sided 95 % score interval of a proportion (Wilson 1927). #}
{% macro wilson_low95(successes, tried) -%}
    {%- set z = 1.959963984540054 -%}
    case when {{ tried }} > 0 then greatest(0.0,
        ({{ successes }} + {{ z * z / 2 }} - {{ z }} * sqrt(
            {{ successes }} * ({{ tried }} - {{ successes }}) / cast({{ tried }} as double) + {{ z * z / 4 }}
        )) / ({{ tried }} + {{ z * z }})
    ) end
{%- endmacro %}

{# Metres between two points on a sphere of the Earth's mean radius; NULL when either is unknown. #}
{% macro haversine_m(lat1, lng1, lat2, lng2) -%}
    {%- set half_chord -%}
    sqrt(
        pow(sin(radians({{ lat2 }} - {{ lat1 }}) / 2), 2)
        + cos(radians({{ lat1 }})) * cos(radians({{ lat2 }})) * pow(sin(radians({{ lng2 }} - {{ lng1 }}) / 2), 2)
    )
    {%- endset -%}
    2 * 6371008.8 * asin(case when {{ half_chord }} > 1 then 1 else {{ half_chord }} end)
{%- endmacro %}
