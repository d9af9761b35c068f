"""What text, wall clocks and places mean: the reading rules of METRICS.md §1 and §3, in plain Python."""

import math
import re
import unicodedata
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

TRUE = frozenset("true 1 si s yes verdadero on".split())
FALSE = frozenset("false 0 no n falso off".split())
EARTH_RADIUS_M = 6_371_008.8
Z_95 = 1.959963984540054

_NUMBER = re.compile(r"(?:(?:\$|MXN)[ \u00a0]*)?([0-9]+|[1-9][0-9]{0,2}(?:,[0-9]{3})+)(\.[0-9]+)?", re.IGNORECASE)
_LOCAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?")
_OFFSET = re.compile(r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)$")
_DAY_FIRST = re.compile(r"([0-9]{2})([/-])([0-9]{2})\2([0-9]{4})")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")


# ---------------------------------------------------------------- text


@cache
def normalised(text: str | None) -> str:
    """Lower case, no accents, anything but letters and digits one space; empty when nothing is left."""
    letters = (c for c in unicodedata.normalize("NFD", text or "").lower() if unicodedata.category(c)[0] != "M")
    return " ".join("".join(c if unicodedata.category(c)[0] in "LN" else " " for c in letters).split())


def blank_as_none(text: str | None) -> str | None:
    return text if text is not None and text.strip() else None


def read_bool(text: str) -> bool | None:
    word = "".join(c for c in unicodedata.normalize("NFD", text.strip().lower()) if not unicodedata.combining(c))
    return True if word in TRUE else False if word in FALSE else None


def read_money(text: str) -> Decimal | None:
    """An amount that can mean one thing only, in cents; as wide as kobra's DECIMAL(18,4)."""
    found = _NUMBER.fullmatch(text.strip())
    if not found:
        return None
    number = Decimal(found[1].replace(",", "") + (found[2] or ""))
    return in_cents(number) if number < 10**14 else None


def read_signed_money(text: str) -> Decimal | None:
    """As `read_money`, but below zero too: a payment taken back, an account in credit."""
    text = text.strip()
    amount = read_money(text.removeprefix("-"))
    return amount if amount is None or not text.startswith("-") else -amount


def in_cents(number: Decimal) -> Decimal:
    return number.quantize(Decimal("0.01"), ROUND_HALF_UP)


def read_date(text: str, zone: str) -> date | None:
    """A date as such, of a local time, of an instant in the zone, or day first."""
    text = text.strip()
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
        if _LOCAL.fullmatch(text):
            return datetime.fromisoformat(text).date()
        if _LOCAL.fullmatch(_OFFSET.sub("", text)):
            return datetime.fromisoformat(text).astimezone(ZoneInfo(zone)).date()
        if found := _DAY_FIRST.fullmatch(text):
            return date(int(found[4]), int(found[3]), int(found[1]))
    except ValueError:  # the form is right, the day is not: 31 February
        pass
    return None


def read_time(text: str) -> time | None:
    found = _TIME.fullmatch(text.strip())
    try:
        return time(*(int(part or 0) for part in found.groups())) if found else None
    except ValueError:  # 25:00
        return None


# ---------------------------------------------------------------- clocks


class Zone(NamedTuple):
    name: str
    is_known: bool


@cache
def _trusted() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones() if "/" in name or name == "UTC"}


def zone_of(raw: str | None, default: str) -> Zone:
    """The zone that was sent, where it can be trusted."""
    name = _trusted().get((raw or "").strip().lower())
    return Zone(name, True) if name else Zone(default, False)


class Moment(NamedTuple):
    """Every instant that a wall clock may stand for, earliest first; in a gap the one moved forward."""

    candidates: tuple[datetime, ...]
    is_ambiguous: bool
    is_in_gap: bool


def moment(local: datetime, zone: str) -> Moment:
    """PEP 495: fold 0 is the offset before the clock change, fold 1 the one after it."""
    before, after = (local.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1))
    is_ambiguous, is_in_gap = before.utcoffset() > after.utcoffset(), before.utcoffset() < after.utcoffset()
    candidates = (before, after) if is_ambiguous else (before,)
    return Moment(tuple(each.astimezone(UTC) for each in candidates), is_ambiguous, is_in_gap)


def end_instant(local: datetime | None, zone: str, start_at: datetime | None) -> datetime | None:
    """The earliest instant not before the start; the latest if all are before it."""
    if local is None:
        return None
    candidates = moment(local, zone).candidates
    return next((each for each in candidates if start_at is None or each >= start_at), candidates[-1])


# ---------------------------------------------------------------- places and shares


class Place(NamedTuple):
    lat: float
    lng: float


def place(lat: float | None, lng: float | None) -> Place | None:
    return None if lat is None or lng is None else Place(lat, lng)


def read_place(lat: str | None, lng: str | None) -> Place | None:
    """A sound pair of coordinates, or none."""
    try:
        found = Place(float(lat or ""), float(lng or ""))
    except ValueError:
        return None
    return found if abs(found.lat) <= 90 and abs(found.lng) <= 180 and found != (0, 0) else None


def metres(here: Place | None, there: Place | None) -> float | None:
    """Haversine on the mean sphere."""
    if here is None or there is None:
        return None
    lat1, lng1, lat2, lng2 = map(math.radians, (*here, *there))
    chord = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lng2 - lng1) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(chord)))


def wilson_low(hits: int, known: int) -> float | None:
    """Lower end of the 95 % Wilson interval of hits/known."""
    if not known:
        return None
    share, z2 = hits / known, Z_95**2
    spread = Z_95 * math.sqrt(share * (1 - share) / known + z2 / (4 * known**2))
    return (share + z2 / (2 * known) - spread) / (1 + z2 / known)
