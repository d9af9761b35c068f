"""Read landed bodies: what is a visit, what is not and why, and which deliveries say the same.

Nothing here raises for a body, whatever it holds.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from pipelines.contract import ANSWER, ANSWERS, CHECKLIST, EMAILS, NUMERIC_IDS, PHONES, QUESTION, TOP_LEVEL, VISIT_ID
from receiver.rawstore import Delivery


def _as_sent(number: str) -> msgspec.Raw:
    """A number with a fraction or an exponent keeps its spelling: an answer's value is text as sent."""
    return msgspec.Raw(number.encode())


_parse = msgspec.json.Decoder(float_hook=_as_sent).decode
_canonical = msgspec.json.Encoder(order="deterministic").encode
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_ID = 40
_POSITION = re.compile("[0-9]{1,18}").fullmatch


def _shape(name: str, fields: dict[str, Any]) -> type[msgspec.Struct]:
    """An object with some of these fields and no others, in sorted order: as it is encoded it is canonical."""
    every = [(field, kind | UnsetType, UNSET) for field, kind in sorted(fields.items())]
    return msgspec.defstruct(name, every, forbid_unknown_fields=True, gc=False)


# The usual visit: nothing in it is unknown, and nothing would be straightened. Read into objects instead of dicts,
# and encoded from them, it takes half the time.
_PLAIN = str | int | bool | None
_ANSWER = _shape("Answer", dict.fromkeys(ANSWER, _PLAIN))
_QUESTION = _shape("Question", dict.fromkeys(QUESTION, _PLAIN) | {ANSWERS: list[_ANSWER] | None})  # type: ignore[valid-type]
_USUAL = _shape(
    "Usual",
    dict.fromkeys(TOP_LEVEL, object)
    | dict.fromkeys(NUMERIC_IDS, _PLAIN)
    | {CHECKLIST: list[_QUESTION] | None, PHONES: list[object] | None, EMAILS: list[object] | None},  # type: ignore[valid-type]
)
_parse_usual = msgspec.json.Decoder(_USUAL, float_hook=_as_sent).decode


class Visit(NamedTuple):
    """A readable visit: `content_hash` tells contents apart, `body` is JSON with lists where lists belong."""

    visit_id: str
    content_hash: str
    body: bytes
    extra: bytes | None


class Reject(NamedTuple):
    """A delivery that cannot become a visit: a code of `contract.REJECTS`, and a sentence without content."""

    reason: str
    detail: str


_NO_VISIT_ID = Reject("no_visit_id", "visitID is missing, blank or neither text nor a whole number.")


def read_body(delivery: Delivery) -> Visit | Reject:
    """The visit that a delivery brings, or why it brings none."""
    try:
        return _read(delivery)
    except RecursionError:
        return Reject("too_deep", "The JSON is nested deeper than can be read.")


def _read(delivery: Delivery) -> Visit | Reject:
    if delivery.body_encoding:
        return Reject("not_utf8", "The body is not UTF-8 text.")
    try:
        usual = _parse_usual(delivery.body)
    except msgspec.DecodeError:
        return _read_unusual(delivery)
    visit_id = _visit_id(getattr(usual, name) for name in VISIT_ID)
    if visit_id is None:
        return _NO_VISIT_ID
    body = _canonical(usual)
    return Visit(visit_id, _content_hash(body), body, None)


def _read_unusual(delivery: Delivery) -> Visit | Reject:
    try:
        payload = _parse(delivery.body)
    except msgspec.DecodeError:
        if not delivery.body.strip():
            return Reject("empty", "The body is empty.")
        try:
            payload = _parse_leniently(delivery.body)
        except ValueError as why:
            at = f" at character {why.pos}" if isinstance(why, json.JSONDecodeError) else ""
            return Reject("not_json", f"The body is not JSON: it breaks off or goes wrong{at}.")
    if type(payload) is not dict:
        return Reject("not_an_object", "The body is JSON, but not an object.")
    visit_id = _visit_id(payload.get(name) for name in VISIT_ID)
    if visit_id is None:
        return _NO_VISIT_ID
    body = _canonical(payload)
    content_hash = _content_hash(body)
    extra = _straighten(payload)
    return Visit(visit_id, content_hash, _canonical(payload) if extra.changed else body, extra.fields)


def _content_hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def _parse_leniently(text: str) -> Any:
    """JSON that a strict parser refuses but that has one meaning: a byte order mark, half an emoji.

    Raises ValueError. A lone surrogate becomes U+FFFD, as everywhere else on its way to a screen.
    """
    text = text.removeprefix("\ufeff")
    with suppress(msgspec.DecodeError):
        return _parse(text)
    payload = json.loads(text, parse_constant=_refuse)
    return _parse(_LONE_SURROGATE.sub("\ufffd", json.dumps(payload, ensure_ascii=False)))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _visit_id(values: Iterable[Any]) -> str | None:
    for value in map(_plain, values):
        if type(value) is int:
            return str(value)
        if type(value) is str and (text := value.strip()):
            return text
    return None


def _plain(value: Any) -> Any:
    """A whole number as an integer: 110105499609.0 is 110105499609."""
    if type(value) is not msgspec.Raw:
        return value
    try:
        number = Decimal(bytes(value).decode())
    except InvalidOperation:  # an exponent that no number has
        return value
    is_whole = number.adjusted() < _LONGEST_ID and number == number.to_integral_value()
    return int(number) if is_whole else value


class _Straightened(NamedTuple):
    changed: bool
    fields: bytes | None


def _straighten(payload: dict[str, Any]) -> _Straightened:
    """Give ids and lists in place the one form that the SQL reads; say whether that changed anything, and
    which fields Kobra's page does not know."""
    changed = False
    unknown = {name: payload[name] for name in payload.keys() - TOP_LEVEL}
    for name in NUMERIC_IDS:
        if type(payload.get(name)) is msgspec.Raw:
            payload[name] = _plain(payload[name])
            changed = True
    checklist = payload.get(CHECKLIST)
    if checklist is not None:
        if type(checklist) is not list:
            items = _items(checklist)
            if items is None:  # no list in any form: keep what was sent, there are no questions in it
                unknown[CHECKLIST] = checklist
            payload[CHECKLIST] = checklist = items or []
            changed = True
        changed |= _straighten_answers(checklist)
    for name in (PHONES, EMAILS):
        value = payload.get(name)
        if value is not None and type(value) is not list:
            items = _items(value)
            payload[name] = [value] if items is None else items
            changed = True
    return _Straightened(changed, _canonical(unknown) if unknown else None)


def _straighten_answers(checklist: Iterable[Any]) -> bool:
    changed = False
    for question in checklist:
        if type(question) is dict:
            answers = question.get("answers")
            if type(answers) is not list and answers is not None:
                items = _items(answers)
                question["answers"] = answers = [{"value": answers}] if items is None else items
                changed = True
            changed |= _straighten_values(answers or ())
    return changed


def _straighten_values(answers: Iterable[Any]) -> bool:
    changed = False
    for answer in answers:
        if type(answer) is dict and type(answer.get("value")) is msgspec.Raw:
            answer["value"] = bytes(answer["value"]).decode()
            changed = True
    return changed


def _items(value: Any) -> list[Any] | None:
    """The items of an object keyed by position, by numeric key: PHP writes a list with gaps that way."""
    if type(value) is not dict or not all(map(_POSITION, value)):
        return None
    return [value[key] for key in sorted(value, key=int)]
