{# All names of the zone database, properly spelled, in a column `name`. #}
{% macro time_zone_names() -%}
    (select distinct name from pg_timezone_names())
{%- endmacro %}

{# How far the wall clock of a zone is ahead of UTC at an instant (a timestamp in UTC), in seconds. #}
{% macro utc_offset_s(time_zone, utc) -%}
    date_diff('second', {{ utc }}, timezone({{ time_zone }}, timezone('UTC', {{ utc }})))
{%- endmacro %}

{% macro minus_seconds(timestamp, seconds) -%} {{ timestamp }} - to_seconds({{ seconds }}) {%- endmacro %}

{# A timestamp in UTC as an instant. By its microseconds: in UTC a calendar need not be asked, and is slow. #}
{% macro instant(utc) -%} make_timestamptz(epoch_us({{ utc }})) {%- endmacro %}

{# The UTC day of an instant. #}
{% macro utc_date(instant) -%} cast(make_timestamp(epoch_us({{ instant }})) as date) {%- endmacro %}

{# Seconds from one instant to another, with fractions. #}
{% macro seconds_between(earlier, later) -%}
    (epoch_us({{ later }}) - epoch_us({{ earlier }})) / 1e6
{%- endmacro %}

{# When a visit was, as a value to compare by: one without a date is before all others, one without an end after those
   that started with it. No two visits have the same. It costs a fraction of putting visits in order. #}
{% macro moment() -%}
    row(
        coalesce(local_date, date '-infinity'),
        coalesce(start_at, timestamptz '-infinity'),
        coalesce(end_at, timestamptz 'infinity'),
        visit_id
    )
{%- endmacro %}

{% macro month_of(date) -%} cast(date_trunc('month', {{ date }}) as date) {%- endmacro %}
