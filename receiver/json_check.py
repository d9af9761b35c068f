"""Can a body be read: as a JSON object, or a list of them? The receiver asks before it answers, the loader before it
parses.

When in doubt a body is one: what was landed can be read again, a refusal cannot be undone. Every check takes time
linear in the body's length, and memory that is bounded.
"""

import json
import re
import zlib

import msgspec

DEEPEST = 500
"""Levels of lists and objects within each other; parsers and the stack of Python end not far beyond."""
MOST_KEYS = 10_000
"""Keys of one object."""
LARGEST_UNPACKED = 16 << 20
"""Bytes of a body that came compressed."""

REASONS = {
    "empty": "The body was empty: send the visit as a JSON object.",
    "packed": "The body is compressed and cannot be unpacked: send the JSON as it is.",
    "not_utf8": "The body is not UTF-8: send JSON in UTF-8.",
    "not_json": "The body is not JSON: check that it is complete and quoted correctly.",
    "not_json_number": "The body holds NaN or Infinity, which JSON does not have: send null instead.",
    "not_an_object": "The body is JSON but no object: send a visit as a JSON object, or several as a list of them.",
    "too_deep": f"The JSON is nested too deeply: {DEEPEST} levels can be read.",
    "too_many_keys": f"An object of the JSON has too many keys: {MOST_KEYS} can be read.",
}


class UnreadableError(ValueError):
    """A body that nobody can read; its text is one of REASONS, and nothing of the body."""


def reason_of(body: bytes) -> str | None:
    """Why a body is nothing that can be read, as one of REASONS; None when it can be, or may be."""
    if _is_usual(body):
        return None
    try:
        check(text_of(body))
    except UnreadableError as why:
        return str(why)
    return None


def _is_usual(body: bytes) -> bool:
    """Whether a body is a JSON object with so few brackets and colons that it exceeds no limit: the quick check."""
    if len(body) - len(body.translate(None, b"[{:")) > DEEPEST:
        return False
    try:
        body.decode()  # msgspec looks into no string that it skips
        _check_object(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False
    return True


# ---------------------------------------------------------------- bytes


def text_of(body: bytes) -> str:
    """The text of a body, unpacked where it came compressed. Raises UnreadableError."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        if not body.startswith(_PACKED):
            raise UnreadableError("not_utf8") from None
    try:
        return _unpacked(body).decode()
    except UnicodeDecodeError:
        raise UnreadableError("not_utf8") from None


# What gzip and zlib streams begin with.
_PACKED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


def _unpacked(body: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, as its header says
    try:
        text = stream.decompress(body, LARGEST_UNPACKED)
    except zlib.error:
        raise UnreadableError("packed") from None
    if not stream.eof:  # it breaks off, or goes on beyond the limit
        raise UnreadableError("packed")
    return text


# ---------------------------------------------------------------- text


class _Object(msgspec.Struct):
    """Matches every JSON object; its fields are checked for syntax and skipped."""


_check_object = msgspec.json.Decoder(_Object).decode
_parse = msgspec.json.Decoder(float_hook=len).decode  # whatever a number is, it is no object
# A string, closed or not, or a bracket outside of strings; every character is looked at once.
_NESTING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[{]|[\]}]', re.S)


def check(text: str) -> None:
    """Raise UnreadableError where a text is neither a JSON object nor a list of them, or exceeds the limits."""
    check_depth(text)
    try:
        _check_object(text)
    except (msgspec.DecodeError, RecursionError):
        _check_leniently(text)
    check_keys(text)


def check_depth(text: str) -> None:
    """Raise UnreadableError where lists and objects are nested deeper than DEEPEST."""
    if text.count("{") + text.count("[") <= DEEPEST:
        return
    depth = 0
    for found in _NESTING.finditer(text):
        if (mark := found[0]) in "[{":
            depth += 1
            if depth > DEEPEST:
                raise UnreadableError("too_deep")
        elif mark in "]}":
            depth -= 1


def check_keys(text: str) -> None:
    """Raise UnreadableError where an object has more than MOST_KEYS different keys. The text is JSON."""
    if text.count(":") <= MOST_KEYS:
        return
    try:
        within = [_parse(text)]
    except msgspec.DecodeError:
        within = [_loads(text)]
    while within:
        value = within.pop()
        if type(value) is dict:
            if len(value) > MOST_KEYS:
                raise UnreadableError("too_many_keys")
            within += value.values()
        elif type(value) is list:
            within += value


def _check_leniently(text: str) -> None:
    """What a more lenient parser says: it takes a byte order mark, half an emoji, and integers of any length."""
    if not text.removeprefix("\ufeff").strip():
        raise UnreadableError("empty")
    try:
        found = _loads(text)
    except json.JSONDecodeError:
        raise UnreadableError("not_json") from None
    if not isinstance(found, dict) and not (
        isinstance(found, list) and any(isinstance(each, dict) for each in found)
    ):
        raise UnreadableError("not_an_object")


def _loads(text: str) -> object:
    return json.loads(text.removeprefix("\ufeff").strip(), parse_int=len, parse_constant=_refuse)


def _refuse(_constant: str) -> None:
    raise UnreadableError("not_json_number")
