"""HTTP with manners: whoever is slow, silent or bloated is let go, so that real deliveries always get in."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from receiver.answers import Answer, problem

MAX_HEAD_BYTES = 16 << 10
_LINGER_S = 2.0
_MAX_UPGRADES = 8  # in one chunk

_LATE = problem(408, "too_slow", "The request did not arrive in time: send headers and body without pausing.")
_MALFORMED = problem(400, "malformed", "This is not HTTP: check the request line, the headers and the chunks.")
_BLOATED = problem(431, "headers_too_large", f"Send at most {MAX_HEAD_BYTES} bytes of headers.")
_TOO_LARGE = problem(413, "too_large", "The body is larger than this receiver accepts.")


class Doorkeeper:
    """How long and how large a request may be, and how many connections one process keeps.

    It looks at all connections a few times per deadline, and only while there are any.
    """

    def __init__(
        self, *, timeout_s: float, max_body_bytes: int, max_connections: int, count: Callable[[str], None]
    ) -> None:
        self.timeout_s = timeout_s
        # The smallest chunks make a body six times as long on the wire.
        self.max_request_bytes = 8 * max_body_bytes + 2 * MAX_HEAD_BYTES
        self.max_connections = max_connections
        self.count = count
        self._watching = False

    def admit(self, connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Make room for one more connection at the expense of the one that has been idle the longest."""
        if len(connections) >= self.max_connections:
            waiting = [each for each in connections if each.waits_for_client]
            if waiting:
                min(waiting, key=lambda each: (not each.idle, each.since)).evict()
        if not self._watching:
            self._watching = True
            self._look_later(connections, loop)

    def _look_later(self, connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(min(1.0, self.timeout_s / 8), self._look, connections, loop)

    def _look(self, connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(connections):
            connection.look_at_clock(now)
        self._watching = bool(connections)
        if self._watching:
            self._look_later(connections, loop)


class _LingeringTransport:
    """A transport whose close() lets a client that is still sending read its answer.

    Closing a socket with unread bytes resets it, and the reset can overtake the answer. So when bytes are
    still expected, only our own direction is closed at first.
    """

    def __init__(self, transport: asyncio.Transport, expects_more: Callable[[], bool]) -> None:
        self._transport = transport
        self._expects_more = expects_more
        self.lingering = False
        self.write = transport.write
        self.abort = transport.abort
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def is_closing(self) -> bool:
        return self.lingering or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        if self._expects_more() and self._transport.can_write_eof():
            self.lingering = True
            self._transport.write_eof()
        else:
            self._transport.close()


class _Cycle(RequestResponseCycle):
    """uvicorn's cycle, with a short way for answers whose head is made once: one write instead of two."""

    _head: bytes | None = None
    _dated: ClassVar[tuple[list[tuple[bytes, bytes]], bytes]] = ([], b"")  # uvicorn makes a new list every second

    async def send(self, message: Any) -> None:
        if self._head is not None and not self.disconnected:
            self._send_whole(self._head, message["body"])
        elif "wire" in message and self.keep_alive and not self.flow.write_paused:
            self._head = message["wire"]
            self.response_started = True
        else:
            await super().send(message)

    def _send_whole(self, head: bytes, body: bytes) -> None:
        headers, date = _Cycle._dated
        if headers is not self.default_headers:
            date = b"".join([b"%b: %b\r\n" % header for header in self.default_headers])
            _Cycle._dated = (self.default_headers, date)
        self.transport.write(b"%b%b\r\n%b" % (head, date, body))
        self._head = None
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:  # since a moment ago: the server is shutting down
            self.transport.close()
        self.on_response()


class ReceiverProtocol(HttpToolsProtocol):
    """uvicorn's protocol on llhttp with deadlines, limits and a lingering close.

    The application's lifespan state holds the Doorkeeper. `since` is when the client last had a reason to
    hurry: connecting, the first byte of a request, or the answer before it.
    """

    door: Doorkeeper
    since: float
    idle = True
    _deaf = False  # what still arrives is thrown away
    _in_head = False
    _head = 0  # bytes of the headers so far
    _begun = False  # whether this chunk began the request
    _further = 0  # bytes on the wire behind the chunk that began the request
    _thrown_away = 0
    _fault: Answer = _MALFORMED

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.door = self.app_state["door"]
        self.since = self.loop.time()
        self.door.admit(self.connections, self.loop)
        self._wire = _LingeringTransport(transport, self._expects_more)
        super().connection_made(cast("asyncio.Transport", self._wire))

    def _expects_more(self) -> bool:
        return self._in_head or (self.cycle is not None and self.cycle.more_body)

    # ------------------------------------------------------------ what arrives

    def data_received(self, data: bytes) -> None:
        if self._deaf or self._wire.lingering:
            self._throw_away(len(data))
            return
        if self.idle:
            self.idle = False
            self.since = self.loop.time()
        self._begun = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as asked:
            self._feed_again(data[asked.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._fault)
        else:
            if not self._begun:
                self._count_further(len(data))

    def _throw_away(self, size: int) -> None:
        self._thrown_away += size
        if self._thrown_away > self.door.max_request_bytes:
            self._wire.abort()

    def _feed_again(self, rest: bytes) -> None:
        try:
            for _ in range(_MAX_UPGRADES):
                rest = self._without_upgrade() + rest
                try:
                    self.parser.feed_data(rest)
                except httptools.HttpParserUpgrade as asked:
                    rest = rest[asked.args[0] :]
                else:
                    return
        except httptools.HttpParserError:
            pass
        self._refuse(self._fault)

    def _without_upgrade(self) -> bytes:
        """The head once more as if no other protocol had been offered: curl offers h2c before its body, and
        the parser would drop that body. Raises HttpParserError for CONNECT, which is an upgrade by itself."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT")
        kept = (b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version.encode(), b"".join(kept))

    def _count_further(self, size: int) -> None:
        self._further += size
        if self._in_head:
            if self._further > MAX_HEAD_BYTES:
                self._refuse(_BLOATED)
        elif self._further > self.door.max_request_bytes and self._expects_more():
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._in_head = self._begun = True
        self._head = self._further = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """As in the parent, counted; a trailer is no header."""
        if self._in_head:
            self._head += len(name) + len(value) + 4
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if self._head + len(self.url) > MAX_HEAD_BYTES:
            self._fault = _BLOATED
            raise ValueError("headers too large")
        super().on_headers_complete()
        # The parent makes the cycle in the middle of a longer method; its task runs only after this turn.
        self.cycle.__class__ = _Cycle
        self._in_head = False

    def on_message_complete(self) -> None:
        if not self._in_head:  # or it is the one that the parser ended early
            super().on_message_complete()

    # ------------------------------------------------------------ what goes out

    def on_response_complete(self) -> None:
        """As in the parent, with a note of the time instead of a timer for every request."""
        self.server_state.total_requests += 1
        self.since = self.loop.time()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self.idle = not self._in_head

    def _refuse(self, answer: Answer) -> None:
        """Answer in the application's place and hang up, once whoever is owed an answer has it."""
        self._deaf = True
        cycle = self.cycle
        if self.pipeline and cycle.more_body:
            self._wire.abort()
            return
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body or cycle.response_started:
                cycle.keep_alive = False
                return
            cycle.scope["refused"] = True  # type: ignore[typeddict-unknown-key]
            cycle.response_started = cycle.response_complete = True
            cycle.message_event.set()
        self.door.count(answer.code)
        self.flow.resume_reading()
        self._in_head = True  # more may be on its way: linger
        self.since = self.loop.time()
        self.transport.write(answer.on_the_wire())
        self.transport.close()

    # ------------------------------------------------------------ the clock

    @property
    def waits_for_client(self) -> bool:
        """Whether nothing is happening here until the client sends or reads."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body or self.flow.write_paused

    def look_at_clock(self, now: float) -> None:
        """Let go of a client that has used up its time."""
        waited = now - self.since
        if self.transport.is_closing():
            if waited > _LINGER_S:
                self._wire.abort()
        elif waited > self.door.timeout_s and self.waits_for_client:
            if self.idle:
                self.transport.close()
            elif self.flow.write_paused:
                self._wire.abort()
            else:
                self._refuse(_LATE)

    def evict(self) -> None:
        """Give up the place for somebody else."""
        self.door.count("evicted")
        self._wire.abort()

    def shutdown(self) -> None:
        """Finish what is being answered; hang up on everybody else."""
        if self.cycle is None or self.cycle.response_complete:
            self._wire.abort() if self._wire.lingering else self.transport.close()
        else:
            self.cycle.keep_alive = False
