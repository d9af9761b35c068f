"""Give a payload the one form that the SQL reads: documented names, lists where lists belong, leftovers in `extra`.

One rule for every level. A name counts whatever its case, with underscores or without; where several names mean one
field, the documented one counts, and a blank one leaves it to the next. A container may be a list, an object keyed by
position, one object, bare text, or the same as JSON text. What nobody reads stands in `extra` of its level, as JSON
text: nothing of a payload is lost.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from pipelines.blanks import trimmed
from pipelines.contract import (
    ALSO_READ,
    ANSWER,
    ANSWERS,
    CHECKLIST,
    EMAIL_KEYS,
    EMAILS,
    ENVELOPES,
    FIELDS,
    NUMERIC_IDS,
    PHONE_KEYS,
    PHONES,
    QUESTION,
    SECTION,
    SECTION_NAMES,
    VISIT_ID,
    Type,
)
from receiver import json_check

Object = dict[str, Any]

_encode = msgspec.json.Encoder().encode
_position = re.compile("[0-9]{1,18}").fullmatch
_LONGEST_ID = 40
_whole_number = re.compile("[0-9]{1,9}").fullmatch


def normalised(name: str) -> str:
    """A name without case and underscores."""
    return name.replace("_", "").lower()


Level = Mapping[str, tuple[str, ...]]
"""The names that mean one field, by each of them normalised; the first is the one that it has in the one form."""


def _level(*fields: tuple[str, ...]) -> Level:
    return {normalised(name): names for names in fields for name in names}


_VISIT = _level(
    VISIT_ID,
    *(field.spellings + ALSO_READ.get(field.column, ()) for field in FIELDS),
    *((name,) for name in (CHECKLIST, PHONES, EMAILS)),
)
_QUESTION = _level(*((name,) for name in QUESTION), (ANSWERS, "answer"))
_ANSWER = _level(*((name,) for name in ANSWER))
_SECTION = _level((SECTION, *SECTION_NAMES), ("questions",))
_TEXTS = {field.spellings[0] for field in FIELDS if field.type is Type.TEXT}


def text_of(value: Any) -> Any:
    """A number as the text that was sent, a list or an object as JSON text; anything else as it is."""
    if type(value) is msgspec.Raw:
        return bytes(value).decode()
    return _encode(value).decode() if type(value) in (dict, list) else value


def plain(value: Any) -> Any:
    """A whole number as an integer: 110105499609.0 is 110105499609; anything else as it is."""
    if type(value) is not msgspec.Raw:
        return value
    try:
        number = Decimal(bytes(value).decode())
    except InvalidOperation:  # an exponent that no number has
        return value
    is_whole = number.adjusted() < _LONGEST_ID and number == number.to_integral_value()
    return int(number) if is_whole else value


def _is_blank(value: Any) -> bool:
    return value is None or (type(value) is str and not trimmed(value))


def _sorted_out(sent: Object, level: Level) -> tuple[Object, Object]:
    """The fields of an object under their documented names, and all that is left over."""
    chosen: dict[tuple[str, ...], list[str]] = {}
    left = {}
    for name, value in sent.items():
        names = level.get(normalised(name))
        if names is None:
            left[name] = value
        else:
            chosen.setdefault(names, []).append(name)
    found = {}
    for names, given in chosen.items():
        sent_as = [*filter(given.__contains__, names), *(name for name in given if name not in names)]
        best = next((name for name in sent_as if not _is_blank(sent[name])), sent_as[0])
        found[names[0]] = sent[best]
        left |= {name: sent[name] for name in sent_as if not _is_blank(sent[name]) and sent[name] != sent[best]}
    return found, left


# ---------------------------------------------------------------- containers


def _unpacked(value: Any) -> Any:
    """What JSON text says, where it is an object or a list within the limits of a body; any other value as it is."""
    if type(value) is not str or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        json_check.check_depth(value)
        found = parse(value)
        json_check.check_keys(value)
    except (json_check.UnreadableError, msgspec.DecodeError, RecursionError):
        return value
    return found


def as_sent(number: str) -> msgspec.Raw:
    """A number with a fraction or an exponent keeps its spelling: an answer's value is text as sent."""
    return msgspec.Raw(number.encode())


parse: Callable[[str], Any] = msgspec.json.Decoder(float_hook=as_sent).decode
"""What JSON says, with the spelling of every number that has a fraction or an exponent."""


def items(value: Any) -> list[Any]:
    """The items of a container: of a list, of an object keyed by position, which PHP makes of a list with gaps; or
    else one item."""
    value = _unpacked(value)
    if type(value) is list:
        return value
    if type(value) is dict and value and all(map(_position, value)):
        return [value[key] for key in sorted(value, key=int)]
    return [] if _is_blank(value) or value == {} else [value]


# ---------------------------------------------------------------- levels


def visits(payload: Any) -> Iterator[tuple[Any, Object]]:
    """The visits of a payload as they were sent, each with what stands around them: `{"data":{…}}`,
    `{"visits":[…]}` and a list are the visits within them. Where nothing is within, the payload itself is one: every
    delivery brings at least one, or it would be in no table."""
    payload = _unpacked(payload)
    if type(payload) is list and payload:
        for item in payload:
            yield from visits(item) if type(item) is list else ((item, {}),)
        return
    if type(payload) is dict and not any(normalised(name) in _NAMES_OF_VISITS for name in payload):
        for name, value in payload.items():
            if normalised(name) in ENVELOPES and type(within := _unpacked(value)) in (dict, list) and within:
                around = {other: payload[other] for other in payload if other != name}
                for visit, more in visits(within):
                    yield visit, around | more
                return
    yield payload, {}


_NAMES_OF_VISITS = {normalised(name) for name in VISIT_ID}


def visit(sent: Object, around: Object) -> tuple[Object, bytes | None]:
    """A visit in the one form, and what nobody reads of it."""
    found, left = _sorted_out(sent, _VISIT)
    if around:
        left["envelope"] = around
    for name in _TEXTS & found.keys():
        found[name] = text_of(plain(found[name]) if name in NUMERIC_IDS else found[name])
    if CHECKLIST in found:
        found[CHECKLIST] = list(_questions(found[CHECKLIST]))
    for name, keys in ((PHONES, PHONE_KEYS), (EMAILS, EMAIL_KEYS)):
        if name in found:
            found[name] = [_contact(item, keys) for item in items(found[name])]
    return found, _encode(left) if left else None


def _questions(checklist: Any) -> Iterator[Object]:
    for item in items(checklist):
        if type(item) is dict and (section := _as_section(item)):
            yield from section
        else:
            yield _question(item)


def _as_section(item: Object) -> list[Object]:
    """The questions of a section, with its name; none where the item is no section."""
    found, left = _sorted_out(item, _SECTION)
    if "questions" not in found or any(normalised(name) in _QUESTION for name in left):
        return []
    questions = [_question(item) for item in items(found["questions"])] or [{}]
    name = text_of(found.get(SECTION))
    for question in questions:
        question[SECTION] = name
    if left:
        _keep(questions[0], {"section": left})
    return questions


def _question(sent: Any) -> Object:
    if type(sent) is not dict:
        return {} if sent is None else {"questionName": text_of(sent)}
    found, left = _sorted_out(sent, _QUESTION)
    if ANSWERS not in found and any(normalised(name) in _ONLY_OF_ANSWERS for name in left):
        answer, left = _sorted_out(left, _ANSWER)
        found[ANSWERS] = [answer]
    found = _typed(found, left, ("questionName",))
    if ANSWERS in found:
        found[ANSWERS] = [_answer(item) for item in items(found[ANSWERS])]
    return _keep(found, left)


_ONLY_OF_ANSWERS = _ANSWER.keys() - _QUESTION.keys()


def _answer(sent: Any) -> Object:
    if type(sent) is not dict:
        return {} if sent is None else {"value": text_of(sent)}
    found, left = _sorted_out(sent, _ANSWER)
    return _keep(_typed(found, left, ("answerName", "value")), left)


def _contact(sent: Any, keys: Iterable[str]) -> Any:
    """A phone or an e-mail: text, or an object with documented names."""
    if type(sent) is not dict:
        return text_of(plain(sent))
    known = {normalised(key): key for key in keys}
    return {known.get(normalised(name), name): text_of(plain(value)) for name, value in sent.items()}


def _typed(found: Object, left: Object, texts: Iterable[str]) -> Object:
    """Texts as sent; an order that is no whole number is left over."""
    for name in texts:
        if name in found:
            found[name] = text_of(found[name])
    order = text_of(found.get("order"))
    if type(order) is bool or (type(order) is str and not _whole_number(trimmed(order).removesuffix(".0"))):
        left["order"] = found.pop("order")
    return found


def _keep(found: Object, left: Object) -> Object:
    """The object, with what is left over as JSON text in `extra`."""
    if left:
        before = json.loads(found["extra"]) if "extra" in found else {}
        found["extra"] = _encode(before | left).decode()
    return found
