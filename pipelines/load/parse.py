"""Read landed bodies: which visits are in one, what is none and why, and which say the same.

Nothing here raises for a body, whatever it holds, and every step takes time linear in its length.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from pipelines.blanks import trimmed
from pipelines.contract import (
    ANSWER,
    ANSWERS,
    CHECKLIST,
    EMAIL_KEYS,
    EMAILS,
    FIELDS,
    MOST_VALUES,
    PHONE_KEYS,
    PHONES,
    QUESTION,
    REJECTS,
    TOP_LEVEL,
    VISIT_ID,
    Type,
)
from pipelines.load import straighten
from receiver import json_check
from receiver.rawstore import Delivery

_encode = msgspec.json.Encoder().encode
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_INTEGER = 18  # digits that a 64-bit integer has room for
_STRING_OR_COMMA = re.compile(rb'"(?:[^"\\]|\\.)*+"|,', re.S)


def _shape(name: str, fields: dict[str, Any]) -> type[msgspec.Struct]:
    """An object with some of these fields and no others, in sorted order: as it is encoded it is canonical."""
    every = [(field, kind | UnsetType, UNSET) for field, kind in sorted(fields.items())]
    return msgspec.defstruct(name, every, forbid_unknown_fields=True, gc=False)


# The usual visit: nothing in it is unknown, and nothing would be straightened. Read into objects instead of dicts,
# and encoded from them, it takes half the time.
_PLAIN = str | int | bool | None
_ORDER = {"order": int | None}
_ANSWER = _shape("Answer", dict.fromkeys(ANSWER, _PLAIN) | _ORDER)
_QUESTION = _shape("Question", dict.fromkeys(QUESTION, _PLAIN) | _ORDER | {ANSWERS: list[_ANSWER] | None})  # type: ignore[valid-type]
_PHONE, _EMAIL = (_shape("Contact", dict.fromkeys(keys, _PLAIN)) for keys in (PHONE_KEYS, EMAIL_KEYS))
_NO_TEXTS = [name for field in FIELDS if field.type is not Type.TEXT for name in field.spellings]
_USUAL = _shape(
    "Usual",
    dict.fromkeys(TOP_LEVEL, _PLAIN)
    | dict.fromkeys(_NO_TEXTS, object)
    | {
        CHECKLIST: list[_QUESTION] | None,  # type: ignore[valid-type]
        PHONES: list[_PHONE | str | int | None] | None,  # type: ignore[valid-type]
        EMAILS: list[_EMAIL | str | None] | None,  # type: ignore[valid-type]
    },
)
_SPELLINGS = [names for names in (VISIT_ID, *(field.spellings for field in FIELDS)) if len(names) > 1]
_parse_usual = msgspec.json.Decoder(_USUAL, float_hook=straighten.as_sent).decode


class Visit(NamedTuple):
    """A readable visit: `content_hash` tells contents apart, `body` is JSON in the form that straighten gives it,
    `extra` what nobody reads of it."""

    visit_id: str
    content_hash: str
    body: bytes
    extra: bytes | None


class Reject(NamedTuple):
    """What cannot become a visit: a code of `contract.REJECTS`, and a sentence without content. `body` and
    `visit_id`: what can be read of it all the same, as of a visit."""

    reason: str
    detail: str
    body: bytes | None = None
    visit_id: str | None = None


def read_body(delivery: Delivery) -> list[Visit | Reject]:
    """The visits that a delivery brings, or why it brings none: there is at least one."""
    try:
        text = json_check.text_of(delivery.exact_body()) if delivery.body_encoding else delivery.body
        json_check.check_depth(text)
        usual = _read_usual(text) if text.count(",") <= MOST_VALUES else None
        return [usual] if usual else _read_unusual(text)
    except json_check.UnreadableError as why:
        return [_reject(str(why))]


def _reject(reason: str, body: bytes | None = None, visit_id: str | None = None) -> Reject:
    return Reject(reason, REJECTS[reason], body, visit_id)


def _read_usual(text: str) -> Visit | None:
    try:
        usual = _parse_usual(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    if any(sum(getattr(usual, name) is not UNSET for name in names) > 1 for names in _SPELLINGS):
        return None
    visit_id = _visit_id(getattr(usual, name) for name in VISIT_ID)
    if visit_id is None:
        return None
    json_check.check_keys(text)
    for name in _NO_TEXTS:
        if type(value := getattr(usual, name)) in (dict, list):
            setattr(usual, name, _in_order(value))
    body = _encode(usual)
    return Visit(visit_id, _content_hash(body), body, None)


def _read_unusual(text: str) -> list[Visit | Reject]:
    json_check.check(text)
    return [_read(sent, around) for sent, around in straighten.visits(_parse_leniently(text))]


def _read(sent: Any, around: dict[str, Any]) -> Visit | Reject:
    if type(sent) is not dict:
        return _reject("not_an_object")
    whole, around = _in_order(sent), _in_order(around)
    try:
        content_hash = _content_hash(_encode([whole, around] if around else whole))
    except UnicodeEncodeError:  # half an emoji
        content_hash = _content_hash(_encode(_without_halves([whole, around], "\ufffd{:x}")))
        whole, around = _without_halves([whole, around], "\ufffd")
    visit, extra = straighten.visit(whole, around)
    body = _encode(visit)
    visit_id = _visit_id([visit.get(VISIT_ID[0])])
    if _has_too_many_values(body) or _has_too_many_values(extra or b""):
        return _reject("too_many_values", body, visit_id)
    return Visit(visit_id, content_hash, body, extra) if visit_id else _reject("no_visit_id", body)


def _has_too_many_values(body: bytes) -> bool:
    """Whether this JSON has more commas outside of strings than memory has room for values."""
    if body.count(b",") <= MOST_VALUES:
        return False
    return sum(found[0] == b"," for found in _STRING_OR_COMMA.finditer(body)) > MOST_VALUES


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
    mark, half an emoji, or an integer of any length."""
    text = text.removeprefix("\ufeff")
    try:
        return straighten.parse(text)
    except msgspec.DecodeError:
        return json.loads(text, parse_int=_integer, parse_float=straighten.as_sent)


def _without_halves(value: Any, instead: str) -> Any:
    """The same with something else in the place of every half of an emoji: U+FFFD on its way to a screen."""
    if type(value) is str:
        return _LONE_SURROGATE.sub(lambda half: instead.format(ord(half[0])), value)
    if type(value) is dict:
        return {_without_halves(key, instead): _without_halves(item, instead) for key, item in value.items()}
    if type(value) is list:
        return [_without_halves(item, instead) for item in value]
    return value


def _integer(digits: str) -> Any:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else straighten.as_sent(digits)


def _visit_id(values: Iterable[Any]) -> str | None:
    for value in map(straighten.plain, values):
        if type(value) is int:
            return str(value)
        if type(value) is str and (text := trimmed(value)):
            return text
    return None
