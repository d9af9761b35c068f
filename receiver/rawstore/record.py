"""A record: one delivery as one line of a segment, with a checksum of its own."""

import base64
import os
import re
import struct
import zlib
from datetime import UTC, datetime
from time import time_ns
from typing import Literal

import msgspec

MARKER = b'{"crc32":"'  # a body's quotes are escaped, so this can only begin a record
_PAYLOAD_AT = len(MARKER) + 8 + len('",')
_SOURCE = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch
LONGEST_BODY = 64 << 20
"""Bytes; a receiver may accept less."""


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """One accepted POST: `received_at` is UTC with microseconds, `size` the length of the exact body."""

    delivery_id: str
    received_at: str
    source: str
    size: int = msgspec.field(name="bytes")
    body: str
    body_encoding: Literal["base64"] | None = None
    erased: bool = False

    def exact_body(self) -> bytes:
        """The bytes that Kobra sent."""
        return base64.b64decode(self.body) if self.body_encoding else self.body.encode()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Delivery).decode


def delivery(delivery_id: str, received_at: str, source: str, body: bytes) -> Delivery:
    """The record of a body, whatever bytes it is made of."""
    try:
        return Delivery(delivery_id, received_at, source, len(body), body.decode())
    except UnicodeDecodeError:
        return Delivery(delivery_id, received_at, source, len(body), base64.b64encode(body).decode(), "base64")


def encode(record: Delivery) -> bytes:
    """A record as the line that stands in a segment, newline included."""
    payload = _encode(record)[1:]
    return b'%b%08x",%b\n' % (MARKER, zlib.crc32(payload), payload)


def is_source(text: str) -> bool:
    """Whether a text can be the name of a source: 1 to 64 letters, digits, dots, dashes or underscores."""
    return bool(_SOURCE(text))


def longest_line(body: int) -> int:
    """The bytes that the record of a body of so many bytes takes at most: JSON writes a control character in six."""
    return 6 * body + 1024


def decode(line: bytes) -> Delivery | None:
    """The record on a line (without its newline), or None when the line is damaged."""
    if not line.startswith(MARKER) or line[_PAYLOAD_AT - 2 : _PAYLOAD_AT] != b'",':
        return None
    payload = line[_PAYLOAD_AT:]
    if line[len(MARKER) : _PAYLOAD_AT - 2] != b"%08x" % zlib.crc32(payload):
        return None
    try:
        return _decode(b"{" + payload)
    except msgspec.DecodeError:  # sound, but no record of ours
        return None


class Stamps:
    """When a delivery came and what it is called. Names never run backwards, even when the clock does.

    A `delivery_id` is a UUIDv7 (RFC 9562) whose 12 bits behind the version hold the microsecond: ids of one
    process sort in the order of arrival.
    """

    def __init__(self) -> None:
        self._last = 0
        self._second, self._prefix = -1, ""
        self._tails: list[int] = []

    def next(self) -> tuple[str, str]:
        """(`delivery_id`, `received_at`) for a delivery that arrives now."""
        now = time_ns() // 1000
        self._last = max(now, self._last + 1)
        second, micros = divmod(now, 1_000_000)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return delivery_id(self._last, self._tail()), f"{self._prefix}.{micros:06d}Z"

    def _tail(self) -> int:
        if not self._tails:  # a system call for every delivery would cost more than all the rest of its stamp
            self._tails = list(struct.unpack("512Q", os.urandom(4096)))
        return self._tails.pop()


def delivery_id(micros: int, tail: int) -> str:
    """A UUIDv7 of a time in microseconds since 1970; 62 bits of `tail` tell apart what came together."""
    millis, rest = divmod(micros, 1000)
    return (
        f"{millis >> 16:08x}-{millis & 0xFFFF:04x}-7{rest * 4096 // 1000:03x}"
        f"-{0x8000 | (tail >> 48 & 0x3FFF):04x}-{tail & 0xFFFFFFFFFFFF:012x}"
    )
