"""Read landed bodies: what is a visit, what is not and why, and which deliveries say the same.

Nothing here raises for a body, whatever it holds, and every step takes time linear in its length.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from pipelines.contract import (
    ANSWER,
    ANSWERS,
    CHECKLIST,
    EMAILS,
    NUMERIC_IDS,
    PHONES,
    QUESTION,
    REJECTS,
    TOP_LEVEL,
    VISIT_ID,
)
from receiver import json_check
from receiver.rawstore import Delivery


def _as_sent(number: str) -> msgspec.Raw:
    """A number with a fraction or an exponent keeps its spelling: an answer's value is text as sent."""
    return msgspec.Raw(number.encode())


_parse = msgspec.json.Decoder(float_hook=_as_sent).decode
_encode = msgspec.json.Encoder().encode
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_INTEGER = 18  # digits that a 64-bit integer has room for
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
_USUAL_FIELDS = tuple(sorted(TOP_LEVEL - {CHECKLIST}))  # which may hold anything
_parse_usual = msgspec.json.Decoder(_USUAL, float_hook=_as_sent).decode


class Visit(NamedTuple):
    """A readable visit: `content_hash` tells contents apart, `body` is JSON with lists where lists belong."""

    visit_id: str
    content_hash: str
    body: bytes
    extra: bytes | None


class Reject(NamedTuple):
    """A delivery that cannot become a visit: a code of `contract.REJECTS`, and a sentence without content. `body`:
    what can be read of it all the same, as of a visit."""

    reason: str
    detail: str
    body: bytes | None = None


def read_body(delivery: Delivery) -> Visit | Reject:
    """The visit that a delivery brings, or why it brings none."""
    try:
        return _read(json_check.text_of(delivery.exact_body()) if delivery.body_encoding else delivery.body)
    except json_check.UnreadableError as why:
        return Reject(str(why), REJECTS[str(why)])


def _read(text: str) -> Visit | Reject:
    json_check.check_depth(text)
    try:
        usual = _parse_usual(text)
    except (msgspec.DecodeError, RecursionError):
        return _read_unusual(text)
    json_check.check_keys(text)
    visit_id = _visit_id(getattr(usual, name) for name in VISIT_ID)
    for name in _USUAL_FIELDS:
        if type(value := getattr(usual, name)) in (dict, list):
            setattr(usual, name, _in_order(value))
    body = _encode(usual)
    if visit_id is None:
        return Reject("no_visit_id", REJECTS["no_visit_id"], body)
    return Visit(visit_id, _content_hash(body), body, None)


def _read_unusual(text: str) -> Visit | Reject:
    json_check.check(text)
    payload = _parse_leniently(text)
    visit_id = _visit_id(payload.get(name) for name in VISIT_ID)
    payload = _in_order(payload)
    body = _encode(payload)
    content_hash = _content_hash(body)
    extra = _straighten(payload)
    straight = _encode(payload) if extra.changed else body
    if visit_id is None:
        return Reject("no_visit_id", REJECTS["no_visit_id"], straight)
    return Visit(visit_id, content_hash, straight, extra.fields)


def _in_order(value: Any) -> Any:
    """The same with the keys of every object sorted. The encoder's own sorting is quadratic for some objects, and
    from some size on ends the process."""
    if type(value) is dict:
        ordered = {}
        for key in sorted(value):
            ordered[key] = _in_order(value[key])
        return ordered
    if type(value) is list:
        for at, item in enumerate(value):
            if type(item) in (dict, list):
                value[at] = _in_order(item)
    return value


def _content_hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def _parse_leniently(text: str) -> Any:
    """The payload of a text that `json_check` takes, also one that a strict parser refuses: one with a byte order
    mark, half an emoji, or an integer of any length.

    A lone surrogate becomes U+FFFD, as everywhere else on its way to a screen.
    """
    text = text.removeprefix("\ufeff")
    try:
        return _parse(text)
    except msgspec.DecodeError:
        return _whole(json.loads(text, parse_int=_integer, parse_float=_as_sent))


def _whole(value: Any) -> Any:
    """The same with whole characters alone."""
    if type(value) is str:
        return _LONE_SURROGATE.sub("\ufffd", value)
    if type(value) is dict:
        whole = {}
        for key, item in value.items():
            whole[_whole(key)] = _whole(item)
        return whole
    if type(value) is list:
        for at, item in enumerate(value):
            value[at] = _whole(item)
    return value


def _integer(digits: str) -> Any:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else _as_sent(digits)


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
    return _Straightened(changed, _encode(unknown) if unknown else None)


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
