"""A second reader, in plain Python and written from the rules alone, says the same of every field of a mess."""

import json
import os
import re
import unicodedata
from datetime import datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from kobra_home import Post, later, loaded

from pipelines.sample.visits import deliveries

COUNT = int(os.environ.get("KOBRA_EXAMPLES", "700"))  # 5000 for a long look
BLANKS = "".join(c for c in map(chr, range(0x10000)) if c.isspace()) + "\u200b\u2060\ufeff"
ZONES = {name.lower(): name for name in available_timezones() if "/" in name or name == "UTC"}
NAMES = {
    "visit_id": ["visitID", "visitId"], "product_id": ["productID"], "agent_id": ["agentID"], "agent_name": ["agent"],
    "account_id": ["externalID"], "client_name": ["client"], "visit_type": ["visitType"], "lat": ["lat", "latitude"],
    "lng": ["lng", "Ing", "long", "longitude", "lon"], "interest": ["interest"], "rebound": ["rebound"],
    "tag_name": ["tagName"], "finished": ["finished"], "cancelled": ["cancelled"],
    "cancellation_reason": ["cancellationReason"], "start_local": ["startDate"], "end_local": ["endDate"],
    "time_zone_raw": ["timeZone"], "comment": ["comment"],
}  # fmt: skip
KNOWN = {name.replace("_", "").lower() for names in NAMES.values() for name in names}
IDS = ("visit_id", "agent_id", "account_id")


class Number(str):
    """A number as it was spelt."""


def norm(name: str) -> str:
    return name.replace("_", "").lower()


def sent(payload: dict[str, Any], names: list[str]) -> Any:
    """What counts among the names of a field: the documented one, or the next that is not blank."""
    wanted = [norm(name) for name in names]
    keys = [*(name for name in names if name in payload), *(key for key in payload if norm(key) in wanted)]
    values = [payload[key] for key in keys]
    said = [value for value in values if value is not None and not (type(value) is str and not value.strip(BLANKS))]
    return (said or values or [None])[0]


def text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else re.sub("[\ud800-\udfff]", "\ufffd", value)  # half an emoji
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def whole(value: str) -> str:
    return value.removesuffix(".0") if re.fullmatch(r"[0-9]+\.0+", value) else value


def number(value: str | None) -> float | None:
    good = value is not None and re.fullmatch(
        r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value.strip(BLANKS)
    )
    found = float(value.strip(BLANKS)) if good and value else None
    return found if found is not None and abs(found) < float("inf") else None


def is_whole(value: str) -> bool:
    return Decimal(value).adjusted() < 40 and Decimal(value) == int(Decimal(value))


def truth(value: str | None) -> bool | None:
    plain = "".join(c for c in unicodedata.normalize("NFD", (value or "").strip(BLANKS).lower())
                    if not unicodedata.combining(c))  # fmt: skip
    if re.fullmatch(r"true|1(\.0+)?|si|s|yes|verdadero|on", plain):
        return True
    return False if re.fullmatch(r"false|0(\.0+)?|no|n|falso|off", plain) else None


def moment(value: str | None, zone: str | None) -> datetime | None:
    value = (value or "").strip(BLANKS)
    place = ZoneInfo(ZONES.get((zone or "").strip(BLANKS).lower(), "America/Mexico_City"))
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?", value):
            found = datetime.fromisoformat(value)
            found = found.astimezone(place).replace(tzinfo=None) if found.tzinfo else found
        elif re.fullmatch(r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d(:\d\d)?", value):
            found = datetime.strptime(value, "%d/%m/%Y %H:%M:%S" if value.count(":") == 2 else "%d/%m/%Y %H:%M")
        else:
            return None
    except ValueError:
        return None
    return found if 1900 <= found.year <= 2199 else None


def refuse(_constant: str) -> None:
    raise ValueError("JSON has neither NaN nor Infinity")


def read(body: bytes) -> dict[str, Any] | None:
    """The visit in a body that holds one; None for a body that this reader leaves alone: a list, or no JSON."""
    try:
        payload = json.loads(body.decode("utf-8-sig"), parse_float=Number, parse_int=Number, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(payload, dict):
        return None
    if any(isinstance(value, dict | list) and norm(name) in KNOWN for name, value in payload.items()):
        return None
    found = {column: text(sent(payload, names)) for column, names in NAMES.items()}
    for column in IDS:
        if isinstance(found_as := sent(payload, NAMES[column]), Number) and is_whole(found_as):
            found[column] = str(int(Decimal(found_as)))
        found[column] = whole(found[column].strip(BLANKS)) if found[column] else found[column]
    product = whole((found["product_id"] or "").strip(BLANKS))
    found["product_id"] = int(product) if re.fullmatch("[0-9]{1,9}", product) else None
    for column in ("lat", "lng", "interest"):
        found[column] = number(found[column])
    lat, lng = found["lat"], found["lng"]
    if lat is None or lng is None or abs(lat) > 90 or abs(lng) > 180 or (lat, lng) == (0, 0):
        found["lat"] = found["lng"] = None
    for column in ("rebound", "finished", "cancelled"):
        found[column] = truth(found[column])
    for column in ("start_local", "end_local"):
        found[column] = moment(found[column], found["time_zone_raw"])
    return found if found["visit_id"] else None


def test_both_readers_say_the_same_of_every_field(tmp_path: Path) -> None:
    bodies = {}
    for number_, each in enumerate(islice(deliveries(COUNT * 3, seed=21), COUNT * 3)):
        if (expected := read(each.body)) and len(bodies) < COUNT:
            body = each.body.replace(expected["visit_id"].encode(), b"v%d" % number_) if len(
                expected["visit_id"]) > 5 else each.body  # fmt: skip
            if (again := read(body)) and again["visit_id"] not in bodies:
                bodies[again["visit_id"]] = body, again
    home = loaded(tmp_path, *(Post(body, later(seconds=n)) for n, (body, _) in enumerate(bodies.values())))
    found = home.visits()
    assert found.keys() == bodies.keys()
    for visit_id, (_, expected) in bodies.items():
        assert {column: found[visit_id][column] for column in expected} == expected, visit_id
    assert len(bodies) > COUNT // 2
