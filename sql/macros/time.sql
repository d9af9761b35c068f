{# All names of the zone database, properly spelled, in a column `name`. #}
{% macro time_zone_names() -%} {{ adapter.dispatch('time_zone_names')() }} {%- endmacro %}
{# Those that DuckDB knows: a run on Spark writes them down. #}
{% macro default__time_zone_names() -%} (select name from meta.time_zone_names) {%- endmacro %}
{% macro duckdb__time_zone_names() -%} (select distinct name from pg_timezone_names()) {%- endmacro %}

{# How far the wall clock of a zone is ahead of UTC at an instant (a timestamp in UTC), in seconds. #}
{% macro utc_offset_s(time_zone, utc) -%} {{ adapter.dispatch('utc_offset_s')(time_zone, utc) }} {%- endmacro %}
{% macro default__utc_offset_s(time_zone, utc) -%} utc_offset_s({{ time_zone }}, {{ utc }}) {%- endmacro %}
{% macro duckdb__utc_offset_s(time_zone, utc) -%}
    date_diff('second', {{ utc }}, timezone({{ time_zone }}, timezone('UTC', {{ utc }})))
{%- endmacro %}

{% macro minus_seconds(timestamp, seconds) -%} {{ adapter.dispatch('minus_seconds')(timestamp, seconds) }} {%- endmacro %}
{% macro default__minus_seconds(timestamp, seconds) -%}
    timestampadd(second, -cast({{ seconds }} as int), {{ timestamp }})
{%- endmacro %}
{% macro duckdb__minus_seconds(timestamp, seconds) -%} {{ timestamp }} - to_seconds({{ seconds }}) {%- endmacro %}

{# A timestamp in UTC as an instant. By its microseconds: in UTC a calendar need not be asked, and is slow. #}
{% macro instant(utc) -%} {{ adapter.dispatch('instant')(utc) }} {%- endmacro %}
{% macro default__instant(utc) -%} cast({{ utc }} as timestamp_ltz) {%- endmacro %}
{% macro duckdb__instant(utc) -%} make_timestamptz(epoch_us({{ utc }})) {%- endmacro %}

{# The UTC day of an instant. #}
{% macro utc_date(instant) -%} {{ adapter.dispatch('utc_date')(instant) }} {%- endmacro %}
{% macro default__utc_date(instant) -%} cast({{ instant }} as date) {%- endmacro %}
{% macro duckdb__utc_date(instant) -%} cast(make_timestamp(epoch_us({{ instant }})) as date) {%- endmacro %}

{# Microseconds of an instant since 1970. #}
{% macro micros(instant) -%} {{ adapter.dispatch('micros')(instant) }} {%- endmacro %}
{% macro default__micros(instant) -%} unix_micros({{ instant }}) {%- endmacro %}
{% macro duckdb__micros(instant) -%} epoch_us({{ instant }}) {%- endmacro %}

{# Seconds from one instant to another, with fractions. #}
{% macro seconds_between(earlier, later) -%}
    ({{ micros(later) }} - {{ micros(earlier) }}) / 1e6
{%- endmacro %}

{# Days from one date to another. #}
{% macro days_between(earlier, later) -%} {{ adapter.dispatch('days_between')(earlier, later) }} {%- endmacro %}
{% macro default__days_between(earlier, later) -%} cast(datediff({{ later }}, {{ earlier }}) as bigint) {%- endmacro %}
{% macro duckdb__days_between(earlier, later) -%} date_diff('day', {{ earlier }}, {{ later }}) {%- endmacro %}

{# The wall clock of a local time. #}
{% macro clock_of(local) -%} {{ adapter.dispatch('clock_of')(local) }} {%- endmacro %}
{% macro default__clock_of(local) -%}
    make_time(hour({{ local }}), minute({{ local }}), extract(second from {{ local }}))
{%- endmacro %}
{% macro duckdb__clock_of(local) -%} cast({{ local }} as time) {%- endmacro %}

{# The day of the week of a local time, 1 = Monday. #}
{% macro iso_dow(local) -%} {{ adapter.dispatch('iso_dow')(local) }} {%- endmacro %}
{% macro default__iso_dow(local) -%} extract(dayofweek_iso from {{ local }}) {%- endmacro %}
{% macro duckdb__iso_dow(local) -%} extract(isodow from {{ local }}) {%- endmacro %}

{# A date before all others. #}
{% macro before_all() -%} {{ adapter.dispatch('before_all')() }} {%- endmacro %}
{% macro default__before_all() -%} date '0001-01-01' {%- endmacro %}
{% macro duckdb__before_all() -%} date '-infinity' {%- endmacro %}

{# When a visit was, as a value to compare by: one without a date is before all others, one without an end after those
   that started with it. No two visits have the same. It costs a fraction of putting visits in order. #}
{% macro moment() -%} {{ adapter.dispatch('moment')() }} {%- endmacro %}
{% macro default__moment() -%}
    struct(
        coalesce(local_date, {{ before_all() }}),
        coalesce(start_at, timestamp_ltz '0001-01-01 00:00:00'),
        coalesce(end_at, timestamp_ltz '9999-12-31 00:00:00'),
        visit_id
    )
{%- endmacro %}
{% macro duckdb__moment() -%}
    row(
        coalesce(local_date, {{ before_all() }}),
        coalesce(start_at, timestamptz '-infinity'),
        coalesce(end_at, timestamptz 'infinity'),
        visit_id
    )
{%- endmacro %}

{% macro month_of(date) -%} {{ adapter.dispatch('month_of')(date) }} {%- endmacro %}
{% macro default__month_of(date) -%} trunc({{ date }}, 'MM') {%- endmacro %}
{% macro duckdb__month_of(date) -%} cast(date_trunc('month', {{ date }}) as date) {%- endmacro %}
