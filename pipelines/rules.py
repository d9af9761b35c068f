"""The reading rules: DuckDB macros from text as sent to typed values, for loading and for models alike."""

_YEAR = r"(000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})"
_LOCAL_TIME = _YEAR + r"-\d{2}-\d{2}[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
_OFFSET = r"(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)"
# Thousands in threes and a decimal point, or neither. "1.500,50" and "12,5" could mean two things. A browser puts a
# no-break space behind a currency.
_NUMBER = r"((\$|MXN)[ \x{A0}]*)?(\d+|[1-9]\d{0,2}(,\d{3})+)(\.\d+)?"

_MACROS = rf"""
create or replace macro SCHEMA.as_sent(x) as x;
create or replace macro SCHEMA.read_integer(x) as
    case when regexp_full_match(x, '\d{{1,9}}(\.0+)?') then try_cast(x as double)::integer end;
create or replace macro SCHEMA.read_whole(x) as try_cast(nullif(x, '') as decimal(18,4))::bigint;
create or replace macro SCHEMA.read_double(x) as
    case when regexp_full_match(trim(x), '[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?') and isfinite(try_cast(x as double))
         then try_cast(x as double) end;
create or replace macro SCHEMA.read_bool(x) as
    case when x in ('true', '1') then true when x in ('false', '0') then false
         when regexp_full_match(strip_accents(lower(trim(x))), 'true|1|si|s|yes|verdadero|on') then true
         when regexp_full_match(strip_accents(lower(trim(x))), 'false|0|no|n|falso|off') then false end;
create or replace macro SCHEMA.read_local_time(x) as
    case when regexp_full_match(x, '{_LOCAL_TIME}') then try_cast(x as timestamp) end;
create or replace macro SCHEMA.read_number(x) as
    case when regexp_full_match(trim(x), '{_NUMBER}', 'i')
         then try_cast(regexp_replace(x, '[^0-9.]', '', 'g') as decimal(18,4)) end;
create or replace macro SCHEMA.read_time(x) as
    case when regexp_full_match(trim(x), '([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?') then try_cast(trim(x) as time) end;
create or replace macro SCHEMA.read_date(x, zone) as
    case when regexp_full_match(trim(x), '{_YEAR}-\d{{2}}-\d{{2}}') then try_cast(trim(x) as date)
         when regexp_full_match(trim(x), '{_LOCAL_TIME}') then try_cast(trim(x) as timestamp)::date
         when regexp_full_match(trim(x), '{_LOCAL_TIME}{_OFFSET}')
         then timezone(zone, try_cast(regexp_replace(regexp_replace(trim(x),
             '([+-]\d\d)(\d\d)$', '\1:\2'), '([ T]\d\d:\d\d)(Z|[+-])', '\1:00\2') as timestamptz))::date
         when regexp_full_match(trim(x), '\d\d/\d\d/{_YEAR}') then try_strptime(trim(x), '%d/%m/%Y')::date
         when regexp_full_match(trim(x), '\d\d-\d\d-{_YEAR}') then try_strptime(trim(x), '%d-%m-%Y')::date end;
create or replace macro SCHEMA.read_id(x) as
    case when contains(x, '.') then regexp_replace(x, '^(\d+)\.0+$', '\1') else x end;
create or replace macro SCHEMA.normalised_text(x) as
    trim(regexp_replace(lower(strip_accents(nfc_normalize(x))), '[^\p{{L}}\p{{N}}]+', ' ', 'g'));
"""


def macros(schema: str) -> str:
    """SQL that makes the macros in a schema: `read_bool(x)` and so on, each NULL for what does not read."""
    return _MACROS.replace("SCHEMA", schema)
