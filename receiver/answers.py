"""What the receiver says: answers made once, as JSON, that echo nothing of what they answer."""

from http import HTTPStatus
from typing import NamedTuple

import msgspec

Headers = list[tuple[bytes, bytes]]
JSON = (b"content-type", b"application/json")
CLOSE = (b"connection", b"close")
RETRY = (b"retry-after", b"5")


class Answer(NamedTuple):
    """A finished answer; `code` is its `error`, and `closes` ends the connection with it."""

    status: int
    code: str
    headers: Headers
    body: bytes
    closes: bool = False

    def head(self) -> bytes:
        """Status line and headers as bytes of HTTP/1.1, open for more headers."""
        status = b"HTTP/1.1 %d %b\r\n" % (self.status, HTTPStatus(self.status).phrase.encode())
        return status + b"".join(b"%b: %b\r\n" % header for header in self.headers)


def problem(status: int, code: str, detail: str, *headers: tuple[bytes, bytes], closes: bool = True) -> Answer:
    """An error answer whose `detail` says what to do."""
    body = msgspec.json.encode({"error": code, "detail": detail})
    return Answer(status, code, [JSON, (b"content-length", b"%d" % len(body)), *headers], body, closes)


UNEXPECTED = problem(500, "unexpected", "The receiver failed: send this again later, and look at its log.")
