"""What the receiver answers: JSON that echoes nothing of the request, made once where it is always the same."""

from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from receiver.json_check import REASONS

MAX_HEAD_BYTES = 16 << 10
MOST_HEADERS = 100
WHOLE_RESPONSE = "kobra.whole_response"
"""An ASGI extension of http_guard: its "respond" sends a Response in one write."""

Header = tuple[bytes, bytes]
Message = MutableMapping[str, Any]

_RETRY = (b"retry-after", b"5")


class Response(NamedTuple):
    """A finished response: `code` is what it is counted as, `start` the message of ASGI that it begins with, `head`
    the same as bytes of HTTP/1.1, without the empty line at its end. `closes`: the connection ends with it."""

    code: str
    start: Message
    head: bytes
    content: bytes
    closes: bool = False

    @property
    def detail(self) -> str:
        """What an error says to do."""
        return str(msgspec.json.decode(self.content)["detail"])


def _response(status: int, code: str, content: bytes, *headers: Header, closes: bool = False) -> Response:
    every = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content)), *headers]
    every += [(b"connection", b"close")] if closes else []
    start = {"type": "http.response.start", "status": status, "headers": every}
    lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode()), *map(b": ".join, every)]
    return Response(code, start, b"".join(line + b"\r\n" for line in lines), content, closes)


def _problem(status: int, code: str, detail: str, *headers: Header, closes: bool = True) -> Response:
    """An error whose `detail` says what to do."""
    return _response(status, code, msgspec.json.encode({"error": code, "detail": detail}), *headers, closes=closes)


# ---------------------------------------------------------------- the delivery is on disk

_CONTENT = b'{"status":"stored","delivery_id":"%b"}'
_STORED = _response(200, "stored", _CONTENT % bytes(36))


def stored(delivery_id: str) -> Response:
    """The delivery is on disk."""
    return Response("stored", _STORED.start, _STORED.head, _CONTENT % delivery_id.encode())


def kept(status: int, reason: str, delivery_id: str) -> Response:
    """The delivery is on disk, and its body cannot be read: `reason` is one of json_check.REASONS."""
    content = {"error": reason, "detail": REASONS[reason], "delivery_id": delivery_id}
    return _response(status, reason, msgspec.json.encode(content))


# ---------------------------------------------------------------- nothing is kept

ONLY_POST = _problem(405, "method_not_allowed", "Send visits with POST.", (b"allow", b"POST"))
UNAUTHORIZED = _problem(401, "unauthorized", "Send the key that was agreed on in one header named api-key.")
OVERLOADED = _problem(503, "overloaded", "Too much is arriving at once: send this again later.", _RETRY)
NOT_STORED = _problem(503, "not_stored", "It could not be stored: send this again later.", _RETRY, closes=False)
UNEXPECTED = _problem(500, "unexpected", "The receiver failed: send this again later, and look at its log.")

TOO_SLOW = _problem(408, "too_slow", "The request did not arrive in time: send it without pausing.")
MALFORMED = _problem(400, "malformed", "This is not HTTP: check the request line, the headers and the chunks.")
_HEADERS = f"Send at most {MOST_HEADERS} headers of {MAX_HEAD_BYTES} bytes together."
HEADERS_TOO_LARGE = _problem(431, "headers_too_large", _HEADERS)


def too_large(most_bytes: int) -> Response:
    """The body exceeds the limit."""
    return _problem(413, "too_large", f"The body is too large: send at most {most_bytes} bytes.")
