"""HTTP with manners: whoever is slow, silent or bloated is let go, so that real deliveries always get in."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, ClassVar, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from receiver.answers import Answer, problem
from receiver.hook import Hook, Visit, is_hook

MAX_HEAD_BYTES = 16 << 10
_LINGER_S = 2.0
_RESET = struct.pack("ii", 1, 0)  # on, and for no time
_JUST_NOW_S = 1.0  # who came, or was answered, this recently may be about to send
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
        """Make room for one more connection at the expense of one that is idle, else of the one that has been at its
        request the longest."""
        if len(connections) >= self.max_connections:
            waiting = [each for each in connections if each.waits_for_client]
            if waiting:
                idle_since = loop.time() - _JUST_NOW_S
                min(waiting, key=lambda each: (not each.is_idle_since(idle_since), each.since)).evict()
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
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def is_closing(self) -> bool:
        return self.lingering or self._transport.is_closing()

    def abort(self) -> None:
        """Forget the connection, and have the kernel forget it, which else would offer unread answers for minutes."""
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def close(self) -> None:
        if self.is_closing():
            return
        if self._expects_more() and self._transport.can_write_eof():
            self.lingering = True
            self._transport.write_eof()
        else:
            self._transport.close()


class ReceiverProtocol(HttpToolsProtocol):
    """uvicorn's protocol on llhttp with deadlines, limits and a lingering close. It answers the hook by itself,
    without a task for every request; all other addresses are the application's.

    The application's lifespan state holds the Hook and the Doorkeeper. `since` is when the client last had a
    reason to hurry: connecting, the first byte of a request, or the answer before it.
    """

    hook: Hook
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
    _arriving: Visit | None = None  # whose turn it is, until its body is complete
    _stalled = False  # until the client has read more of its answers
    _dated: ClassVar[tuple[list[tuple[bytes, bytes]], bytes]] = ([], b"")  # uvicorn makes a new list every second

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.hook, self.door = self.app_state["hook"], self.app_state["door"]
        self.since = self.loop.time()
        self.door.admit(self.connections, self.loop)
        self._wire = _LingeringTransport(transport, self._expects_more)
        super().connection_made(cast("asyncio.Transport", self._wire))

    def connection_lost(self, exc: Exception | None) -> None:
        visit, self._arriving = self._arriving, None
        if visit is not None and not visit.response_complete:
            self.hook.lose(visit)
        super().connection_lost(exc)

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
        self._go_on()

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
        if is_hook(self.url):
            self._receive_visit()
        else:
            super().on_headers_complete()
        self._in_head = False

    def _receive_visit(self) -> None:
        """What the parent does for the application: begin, or wait for the answers before."""
        visit = Visit(
            self,
            self.parser.get_method(),
            self.headers,
            keep_alive=self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive(),
            expects_100_continue=self.expect_100_continue,
        )
        before, self.cycle = self.cycle, cast("RequestResponseCycle", visit)
        if before is None or before.response_complete:
            self._arriving = visit
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_message_complete(self) -> None:
        if not self._in_head:  # or it is the one that the parser ended early
            super().on_message_complete()

    def _go_on(self) -> None:
        """With the visit whose turn it is, as far as it has arrived."""
        visit = self._arriving
        if visit is None:
            return
        if not visit.more_body or visit.response_complete:
            self._arriving = None
        if not visit.response_complete:
            if visit.more_body:
                self.flow.resume_reading()
            self.hook.go_on(visit)

    # ------------------------------------------------------------ what goes out

    def invite(self) -> None:
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answer(self, visit: Visit, answer: Answer) -> None:
        visit.keep_alive &= not answer.closes
        self.answer_briefly(visit, answer.head(), b"" if visit.method == b"HEAD" else answer.body)

    def answer_briefly(self, visit: Visit, head: bytes, body: bytes) -> None:
        visit.response_complete = True
        if self.transport.is_closing():
            return
        if visit.keep_alive:
            self.transport.write(b"%b%b\r\n%b" % (head, self._date(), body))
        else:
            self.transport.write(b"%b%bconnection: close\r\n\r\n%b" % (head, self._date(), body))
            self.transport.close()
        self.on_response_complete()

    def _date(self) -> bytes:
        headers, date = ReceiverProtocol._dated
        if headers is not self.server_state.default_headers:
            headers = self.server_state.default_headers
            date = b"".join([b"%b: %b\r\n" % header for header in headers])
            ReceiverProtocol._dated = (headers, date)
        return date

    def on_response_complete(self) -> None:
        """As in the parent, with a note of the time instead of a timer for every request."""
        self.server_state.total_requests += 1
        self.since = self.loop.time()
        if not self.transport.is_closing():
            self._next_turn()

    def _next_turn(self) -> None:
        """Begin what waits, unless the client leaves its answers unread: they would pile up here."""
        self._stalled = self.flow.write_paused
        if self._stalled:
            self.flow.pause_reading()
            return
        waiting = self.pipeline.pop() if self.pipeline else None
        if not self.pipeline:
            self.flow.resume_reading()
        if waiting is None:
            self.idle = not self._in_head
        elif isinstance(waiting[0], Visit):
            self._arriving = waiting[0]
            self._go_on()
        else:
            self._start_asgi_task(*waiting)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled:
            self._next_turn()

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
            if isinstance(cycle, Visit):
                self.hook.forget(cycle)
            cycle.response_started = cycle.response_complete = True
            cycle.message_event.set()
        self.door.count(answer.code)
        self.flow.resume_reading()
        self._in_head = True  # more may be on its way: linger
        self.since = self.loop.time()
        self.transport.write(b"%bconnection: close\r\n\r\n%b" % (answer.head(), answer.body))
        self.transport.close()

    # ------------------------------------------------------------ the clock

    @property
    def waits_for_client(self) -> bool:
        """Whether nothing is happening here until the client sends or reads."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body or self.flow.write_paused

    def is_idle_since(self, moment: float) -> bool:
        """Whether nothing has been sent or answered here since that moment."""
        return self.idle and self.since <= moment

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
