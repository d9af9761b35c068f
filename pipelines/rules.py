"""The reading rules: DuckDB macros from text as sent to typed values, for loading and for models alike."""

from pipelines.blanks import BLANKS

_YEAR = r"(19\d\d|2[01]\d\d)"  # what pandas, Arrow and a spreadsheet can hold as well
_CLOCK = r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
_LOCAL = _YEAR + r"-\d{2}-\d{2}[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
_OFFSET = r"(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)"
_MIDNIGHT = _YEAR + r"-\d{2}-\d{2}[ T]00:00(:00(\.0+)?)?(Z|[+-]00(:?00)?)"
_DAY_FIRST = r"\d{1,2}(/\d{1,2}/|-\d{1,2}-)" + _YEAR
_HALF_DAY = r"(0?[1-9]|1[0-2]):[0-5]\d(:[0-5]\d)?[\s\x{A0}]*[ap]\.?[\s\x{A0}]*m\.?"
# Thousands in threes and a decimal point, or neither. "1.500", "1.500,50" and "12,5" could mean two things.
_GAP = r"[\s\x{A0}]*"  # a browser puts a no-break space behind a currency
_NUMBER = rf"((MXN{_GAP}\$?|MX\$|\$){_GAP})?(\d+|[1-9]\d{{0,2}}(,\d{{3}})+)(\.\d+)?({_GAP}MXN)?"
_AMBIGUOUS = r"\D*[1-9]\d{0,2}\.\d{3}\D*"

_MACROS = rf"""
create or replace macro @as_sent(x) as x;
create or replace macro @trimmed(x) as  -- a look whether there is anything to do takes a tenth of doing it
    case when regexp_matches(x, '^[^!-~]|[^!-~]$') then trim(x, '{BLANKS}') else x end;
create or replace macro @read_integer(x) as
    case when regexp_full_match(@trimmed(x), '\d{{1,9}}(\.0+)?') then try_cast(@trimmed(x) as double)::integer end;
create or replace macro @read_whole(x) as try_cast(nullif(@trimmed(x), '') as decimal(18,4))::bigint;
create or replace macro @read_double(x) as
    case when regexp_full_match(@trimmed(x), '[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')
              and isfinite(try_cast(@trimmed(x) as double))
         then try_cast(@trimmed(x) as double) end;
create or replace macro @read_bool(x) as
    case when x in ('true', '1') then true when x in ('false', '0') then false
         when regexp_full_match(strip_accents(lower(@trimmed(x))), 'true|1(\.0+)?|si|s|yes|verdadero|on') then true
         when regexp_full_match(strip_accents(lower(@trimmed(x))), 'false|0(\.0+)?|no|n|falso|off') then false end;
create or replace macro @instant(x) as
    try_cast(regexp_replace(regexp_replace(x,
        '([+-]\d\d)(\d\d)$', '\1:\2'), '([ T]\d\d?:\d\d)(Z|[+-])', '\1:00\2') as timestamptz);
create or replace macro @within_reach(x) as case when year(x) between 1900 and 2199 then x end;
create or replace macro @read_local_time(x, zone) as
    case when regexp_full_match(@trimmed(x), '{_LOCAL}') then try_cast(@trimmed(x) as timestamp)
         when regexp_full_match(@trimmed(x), '{_LOCAL}{_OFFSET}')
         then @within_reach(timezone(zone, @instant(@trimmed(x))))
         when regexp_full_match(@trimmed(x), '{_DAY_FIRST} {_CLOCK}')
         then try_cast(try_strptime(replace(split_part(@trimmed(x), ' ', 1), '-', '/'), '%d/%m/%Y')::date::varchar
              || ' ' || split_part(@trimmed(x), ' ', 2) as timestamp) end;
create or replace macro @read_number(x) as
    case when regexp_full_match(@trimmed(x), '{_NUMBER}', 'i')
              and not regexp_full_match(@trimmed(x), '{_AMBIGUOUS}')
         then try_cast(regexp_replace(x, '[^0-9.]', '', 'g') as decimal(18,4)) end;
create or replace macro @read_time(x) as
    case when regexp_full_match(@trimmed(x), '{_CLOCK}') then try_cast(@trimmed(x) as time)
         when regexp_full_match(@trimmed(x), '{_HALF_DAY}', 'i')
         then try_strptime(regexp_extract(x, '\d+:\d+') || regexp_extract(lower(x), '[ap]') || 'm', '%I:%M%p')::time
    end;
create or replace macro @read_date(x, zone) as
    case when regexp_full_match(@trimmed(x), '{_YEAR}-\d{{2}}-\d{{2}}') then try_cast(@trimmed(x) as date)
         when regexp_full_match(@trimmed(x), '{_LOCAL}') then try_cast(@trimmed(x) as timestamp)::date
         when regexp_full_match(@trimmed(x), '{_MIDNIGHT}') then try_cast(left(@trimmed(x), 10) as date)
         when regexp_full_match(@trimmed(x), '{_LOCAL}{_OFFSET}')
         then @within_reach(timezone(zone, @instant(@trimmed(x)))::date)
         when regexp_full_match(@trimmed(x), '{_DAY_FIRST}( {_CLOCK})?')
         then try_strptime(replace(split_part(@trimmed(x), ' ', 1), '-', '/'), '%d/%m/%Y')::date end;
create or replace macro @read_id(x) as
    case when contains(x, '.') then regexp_replace(@trimmed(x), '^(\d+)\.0+$', '\1') else @trimmed(x) end;
create or replace macro @read_account(x) as
    case when regexp_full_match(@trimmed(x), '\d[.,]\d+[eE]\+\d{{1,2}}')
              and length(regexp_extract(x, '[.,](\d+)', 1)) = regexp_extract(x, '\+(\d+)', 1)::integer
         then regexp_extract(x, '(\d)[.,]', 1) || regexp_extract(x, '[.,](\d+)', 1)
         else @read_id(x) end;
create or replace macro @normalised_text(x) as
    trim(regexp_replace(lower(strip_accents(nfc_normalize(x))), '[^\p{{L}}\p{{N}}]+', ' ', 'g'));
"""


def macros(schema: str) -> str:
    """SQL that makes the macros in a schema: `read_bool(x)` and so on, each NULL for what does not read."""
    return _MACROS.replace("@", f"{schema}.")
