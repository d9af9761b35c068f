"""Is a body a JSON object? When in doubt it is: what was landed can be judged again, a refusal cannot be undone."""

import json

import msgspec

from receiver.rawstore import Delivery

FAULTS = {
    "empty": "The body was empty: send the visit as a JSON object.",
    "not_utf8": "The body is not UTF-8: send JSON in UTF-8.",
    "not_json": "The body is not JSON: check that it is complete and quoted correctly.",
    "not_an_object": "The body is JSON but no object: send one visit as one JSON object.",
}


class _Anything(msgspec.Struct):
    """Matches every JSON object; its fields are checked for syntax and skipped."""


_check = msgspec.json.Decoder(_Anything).decode


def fault_of(delivery: Delivery, body: bytes) -> str | None:
    """Why a body is no JSON object, as a code of FAULTS; None when it is one, or may be."""
    if delivery.body_encoding:
        return "not_utf8"
    try:
        _check(body)
    except (msgspec.DecodeError, RecursionError):
        return _second_look(delivery.body)
    return None


def _second_look(text: str) -> str | None:
    """What a more lenient parser says: it takes NaN, a byte order mark and odd escapes."""
    text = text.removeprefix("\ufeff").strip()
    if not text:
        return "empty"
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return "not_json"
    except (RecursionError, ValueError):  # deeper, or with longer numbers, than this parser can tell
        return None if text.startswith("{") else "not_an_object"
    return None if isinstance(found, dict) else "not_an_object"
