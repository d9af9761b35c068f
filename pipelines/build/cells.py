"""What a cell of a customer's file says; None where it says nothing, or could mean two things."""

import re
from datetime import date, time
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

_CLOCK = r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.[0-9]{1,9})?)?(?:\s*([ap])\.?\s*m\.?)?"
_clock = re.compile(_CLOCK, re.I).fullmatch
_year_first = re.compile(rf"([0-9]{{4}})-([0-9]{{2}})-([0-9]{{2}})(?:(?:T|\s+){_CLOCK})?", re.I).fullmatch
_day_first = re.compile(rf"([0-9]{{1,2}})([/-])([0-9]{{1,2}})\2([0-9]{{4}})(?:\s+{_CLOCK})?", re.I).fullmatch
_amount = re.compile(
    r"([-−(]?)\s*(?:(?:MXN\s*\$?|MX\$|\$)\s*)?([-−(]?)\s*([0-9]+|[1-9][0-9]{0,2}(?:,[0-9]{3})+)(\.[0-9]+)?"
    r"(\)?)(?:\s*MXN)?(\)?)",
    re.I,
).fullmatch
_thousands_or_fraction = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}").fullmatch
_number = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_whole = re.compile(r"(-?[0-9]{1,9})(?:\.0+)?").fullmatch
_CENT, _TOO_MUCH = Decimal("0.01"), 10**14


@lru_cache(maxsize=10_000)
def read_date(text: str) -> date | None:
    """The day of 2026-11-21, 21/11/2026, 1/2/2026 (1 February) or 21-11-2026, whatever the time behind it."""
    try:
        if found := _year_first(text):
            day = date(int(found[1]), int(found[2]), int(found[3]))
        elif found := _day_first(text):
            day = date(int(found[4]), int(found[3]), int(found[1]))
        else:
            return None
    except ValueError:  # 31 February
        return None
    return day if 1900 <= day.year <= 2199 else None


def read_time(text: str) -> time | None:
    """The time of 7:00, 07:00:00, 7:00 pm or 7:00 p. m."""
    found = _clock(text)
    if not found:
        return None
    hour, half = int(found[1]), (found[4] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    return time(hour, int(found[2]), int(found[3] or 0))


def read_amount(text: str) -> Decimal | None:
    """The pesos and cents of 1500, 1,500.50, $1,500, 1,500.50 MXN; below zero -200 and (200.00).

    1.500 could be 1500, and 12,5 could be 12.5 or a slip: both are None.
    """
    found = _amount(text)
    if not found:
        return None
    before, within, whole, fraction, after, end = found.groups("")
    signs = before + within + after + end
    if signs not in ("", "-", "−", "()") or _thousands_or_fraction(whole + fraction):
        return None
    amount = Decimal(whole.replace(",", "") + fraction)
    if amount >= _TOO_MUCH:
        return None
    return (-amount if signs else amount).quantize(_CENT, ROUND_HALF_UP)


def read_whole(text: str) -> int | None:
    """The whole number of 45, -3 or 45.0."""
    found = _whole(text)
    return int(found[1]) if found else None


def read_degrees(text: str, most: int) -> float | None:
    """A coordinate between -most and most."""
    value = float(text) if _number(text) else None
    return value if value is not None and abs(value) <= most else None
