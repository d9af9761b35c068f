"""What uvicorn lacks: deadlines, limits, and room for newcomers. No slow or greedy client keeps deliveries out.

tests/receiver/test_http_guard.py names every attribute of uvicorn that this relies on.
"""

import asyncio
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain
from typing import Any
from weakref import proxy

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from receiver import responses
from receiver.responses import MAX_HEAD_BYTES, MOST_HEADERS, WHOLE_RESPONSE, Response

_LINGER_S = 2.0  # for a client to read its last answer
_JUST_NOW_S = 1.0  # who came, or was answered, this recently may be about to send
_MOST_PIPELINED = 64  # requests of one connection that wait for the answer to the one ahead of them
_MOST_WAITING = 4096  # such requests of all connections
_MOST_OFFERS = 8  # of another protocol, in one read
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time

Group = OrderedDict["GuardedHttp", None]


class Guard:
    """The limits of one server, and its connections by what they wait for.

    Each group begins with the connection that has waited longest. So nobody has to look at all connections, neither
    to make room for one nor to find those that are late.
    """

    def __init__(
        self, *, timeout_s: float, max_body_bytes: int, max_connections: int, count: Callable[[str], None]
    ) -> None:
        self.timeout_s = timeout_s
        self.max_connections = max_connections
        # The smallest chunks make a body six times as long on the wire.
        self.max_request_bytes = 8 * max_body_bytes + 2 * MAX_HEAD_BYTES
        self.too_large = responses.too_large(max_body_bytes)
        self.count = count
        self.idle: Group = OrderedDict()  # between two requests
        self.receiving: Group = OrderedDict()  # within a request, or behind with reading answers
        self.closing: Group = OrderedDict()  # have had their last answer
        self.waiting = 0  # pipelined requests
        self._is_watching = False

    def admit(self, newcomer: "GuardedHttp") -> None:
        """Make room for a connection, and watch the clock from now on."""
        if len(newcomer.connections) > self.max_connections:
            self._evict(newcomer.loop.time() - _JUST_NOW_S)
        if not self._is_watching:
            self._watch(newcomer.loop, newcomer.connections)

    def _evict(self, idle_since: float) -> None:
        """End the connection that has been idle or closing longest, else the one that has been at it the longest."""
        oldest = [next(iter(group)) for group in (self.closing, self.idle, self.receiving) if group]
        if oldest:
            chosen = min(oldest, key=lambda each: (each in self.receiving or each.since > idle_since, each.since))
            self.count("evicted")
            chosen.abort()

    def _watch(self, loop: asyncio.AbstractEventLoop, connections: set[Any]) -> None:
        """End whoever is late; look again a few times per deadline, as long as there are connections."""
        now = loop.time()
        limits = ((self.idle, self.timeout_s), (self.receiving, self.timeout_s), (self.closing, _LINGER_S))
        for group, limit in limits:
            while group and (oldest := next(iter(group))).since + limit < now:
                oldest.expire()
        self._is_watching = bool(connections)
        if self._is_watching:
            loop.call_later(min(1.0, self.timeout_s / 8), self._watch, loop, connections)


class _Transport:
    """A transport whose connection decides what closing means."""

    def __init__(self, transport: asyncio.Transport, connection: "GuardedHttp") -> None:
        self._transport = transport
        self._connection = proxy(connection)
        self.write = transport.write

    def close(self) -> None:
        self._connection.close()

    def is_closing(self) -> bool:
        return bool(self._connection.is_closing())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class GuardedHttp(HttpToolsProtocol):
    """uvicorn's protocol on llhttp, held to the limits of a Guard. `since` is when it came into its group there."""

    since = 0.0
    _group: Group | None = None
    _begun = False  # a request has begun to arrive, and is not complete
    _in_body = False
    _size = 0  # bytes that came since the read in which the request began, or since it was refused
    _deaf = False  # what still arrives is thrown away
    _lingers = False
    _fault = responses.MALFORMED
    _answering: RequestResponseCycle  # what the application is at

    def __init__(self, guard: Guard, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._guard = guard

    @property
    def _is_owed(self) -> bool:
        """Whether the request that came last has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_in(self, group: Group | None) -> None:
        if self._group is not None:
            del self._group[self]
        self._group = group
        if group is not None:
            group[self] = None
            self.since = self.loop.time()

    def _regroup(self) -> None:
        group: Group | None = None
        if self._begun or self.flow.write_paused:
            group = self._guard.receiving
        elif not self._is_owed:
            group = self._guard.idle
        if group is not self._group and not self.is_closing():
            self._wait_in(group)

    # ------------------------------------------------------------ the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._wire = transport
        super().connection_made(_Transport(transport, self))  # type: ignore[arg-type]
        self._extensions: Any = {WHOLE_RESPONSE: {"respond": self._respond}}
        self._guard.admit(self)
        self._wait_in(self._guard.idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_in(None)
        self._guard.waiting -= len(self.pipeline)
        self._extensions.clear()  # which else would keep this alive
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection of a client that has sent everything as long as it is owed an answer."""
        is_owed = self._is_owed and (not self._in_body or bool(self.pipeline))
        if is_owed:
            self.cycle.keep_alive = False
        return is_owed

    def is_closing(self) -> bool:
        """Whether the last answer has been given."""
        return self._lingers or self._wire.is_closing()

    def close(self) -> None:
        """Hang up. A client that may still be sending can read its answer first: closing a socket with unread bytes
        resets it, and the reset can overtake the answer."""
        if self.is_closing():
            return
        if self._begun or self._deaf or self.pipeline:
            self.flow.resume_reading()
            self._lingers = True
            self._wire.write_eof()
        else:
            self._wire.close()
        self._wait_in(self._guard.closing)

    def abort(self) -> None:
        """Forget the connection, and have the kernel forget it, which else would offer unread answers for minutes."""
        self._wait_in(None)
        self._wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._wire.abort()

    def expire(self) -> None:
        """End a connection that has used up its time."""
        if self._group is self._guard.idle:
            self.close()
        elif self.is_closing() or self.flow.write_paused:
            self.abort()
        else:
            self._refuse(responses.TOO_SLOW)

    # ------------------------------------------------------------ what arrives

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), MAX_HEAD_BYTES):
            piece = data[start : start + MAX_HEAD_BYTES]
            self._size += len(piece)
            if not self._deaf and not self.is_closing():
                self._parse(piece)
                if self._begun and not self._in_body and self._is_head_too_large():
                    self._refuse(responses.HEADERS_TOO_LARGE)
            if self._size > self._guard.max_request_bytes and (self._begun or self._deaf):
                self._refuse(self._guard.too_large)
        self._regroup()

    def _parse(self, data: bytes) -> None:
        try:
            for _ in range(_MOST_OFFERS):
                try:
                    self.parser.feed_data(data)
                except httptools.HttpParserUpgrade as offer:
                    data = self._without_offer() + data[offer.args[0] :]
                else:
                    return
        except httptools.HttpParserError:
            pass
        self._refuse(self._fault)

    def _without_offer(self) -> bytes:
        """The head once more as if no other protocol had been offered: curl offers h2c before its body, and the
        parser would drop that body. Raises HttpParserError for CONNECT, which is an upgrade by itself."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT")
        kept = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version.encode(), kept)

    def _is_head_too_large(self) -> bool:
        if len(self.headers) > MOST_HEADERS:
            return True
        # A head that came in one piece is small enough.
        return self._size > 0 and len(self.url) + sum(map(len, chain(*self.headers))) > MAX_HEAD_BYTES

    def on_message_begin(self) -> None:
        self._begun = True
        self._size = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if self._is_head_too_large():
            self._fault = responses.HEADERS_TOO_LARGE
            raise ValueError("headers too large")
        if self._is_owed and (len(self.pipeline) >= _MOST_PIPELINED or self._guard.waiting >= _MOST_WAITING):
            raise ValueError("too many requests wait")
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False
        self.scope["extensions"] = self._extensions
        super().on_headers_complete()
        self._in_body = True
        if self.pipeline:
            self._guard.waiting += 1
        else:
            self._answering = self.cycle
        self.headers = []  # for trailers, which are no headers

    def on_message_complete(self) -> None:
        if self._in_body:  # else it is the one that the parser ended early, at an offer
            self._begun = self._in_body = False
            super().on_message_complete()

    # ------------------------------------------------------------ what goes out

    async def _respond(self, response: Response) -> None:
        """Send a response in one write. uvicorn's `send` takes two, and looks at every header again."""
        cycle = self._answering
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected:
            return
        lines = [response.head, *[b"%b: %b\r\n" % header for header in self.server_state.default_headers]]
        if response.closes:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"\r\n", b"" if cycle.scope["method"] == "HEAD" else response.content)
        self._wire.write(b"".join(lines))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Turn to the next request that waits, or wait for the client; without uvicorn's timer for every answer."""
        self.server_state.total_requests += 1
        if self.is_closing():
            return
        if self.pipeline:
            self._guard.waiting -= 1
            self._answering, app = self.pipeline.pop()
            self._start_asgi_task(self._answering, app)
        if not self.pipeline:
            self.flow.resume_reading()
        self._regroup()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._regroup()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._regroup()

    def _refuse(self, answer: Response) -> None:
        """Answer in the application's place, and hang up."""
        if self._deaf or self.is_closing():
            self.abort()
            return
        self._deaf, self._size = True, 0
        if self._is_owed and not self._in_body:  # what is refused comes behind a request that is owed its answer
            self.cycle.keep_alive = self._begun = False
            self._wait_in(None)
        elif self._in_body and (not self._is_owed or self.pipeline or self.cycle.response_started):
            self.abort()
        else:
            if self._in_body:  # the application hears that the client is gone
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self._guard.count(answer.code)
            self._wire.write(b"%b\r\n%b" % (answer.head, answer.content))
            self.close()
