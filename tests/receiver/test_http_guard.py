"""What the receiver adds to uvicorn: what it relies on there, and what it does with odd, old or greedy clients."""

import inspect
import re
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import httptools
import pytest
import uvicorn
from conftest import RECEIVER_KEY, RunningReceiver, hear
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.server import ServerState

from receiver import http_guard
from receiver.http_guard import Guard

Start = Callable[..., RunningReceiver]

KEY = b"api-key: " + RECEIVER_KEY.encode() + b"\r\n"
POST = b"POST /webhooks/visits HTTP/1.1\r\nHost: kobra\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: kobra\r\n\r\n"
VISIT = b'{"visitID":"h"}'
DELIVERY = POST + KEY + b"Content-Length: 15\r\n\r\n" + VISIT


def statuses(heard: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", heard)


def peak_kib(receiver: RunningReceiver) -> int:
    return int(Path(f"/proc/{receiver.process.pid}/status").read_text().partition("VmHWM:")[2].split()[0])


# ---------------------------------------------------------------- uvicorn


def test_uvicorn_has_what_the_guard_relies_on() -> None:
    """An upgrade of uvicorn that changes any of it has to fail here first."""
    config = uvicorn.Config(lambda: None, http="httptools", loop="none")
    protocol = httptools_impl.HttpToolsProtocol(config, ServerState(), {}, _loop=SimpleNamespace())
    protocol.on_message_begin()
    flow = flow_control.FlowControl(SimpleNamespace())
    cycle = httptools_impl.RequestResponseCycle(
        {}, *[None] * 5, default_headers=[], message_event=None, expect_100_continue=False, keep_alive=True,
        on_response=None,
    )  # fmt: skip
    relied_on = {
        protocol: "loop parser connections server_state pipeline transport flow cycle url headers scope "
        "expect_100_continue connection_made connection_lost eof_received data_received shutdown pause_writing "
        "resume_writing on_message_begin on_url on_header on_headers_complete on_body on_message_complete "
        "on_response_complete _start_asgi_task",
        protocol.server_state: "connections default_headers total_requests",
        flow: "write_paused drain resume_reading",
        cycle: "scope keep_alive disconnected message_event response_started response_complete",
    }
    missing = [name for where, names in relied_on.items() for name in names.split() if not hasattr(where, name)]
    assert missing == []
    used = set(re.findall(r"self\.cycle\.(\w+)|cycle\.(\w+)", inspect.getsource(http_guard)))
    assert {name for pair in used for name in pair if name} <= set(relied_on[cycle].split())
    assert list(inspect.signature(httptools_impl.HttpToolsProtocol).parameters) == [
        "config", "server_state", "app_state", "_loop",
    ]  # fmt: skip


# ---------------------------------------------------------------- old and odd clients


@pytest.mark.parametrize("blanks", [(b"", b" "), (b"\t ", b" \t "), (b"", b"")])
def test_blanks_around_the_key_are_no_part_of_it(receiver: RunningReceiver, blanks: tuple[bytes, bytes]) -> None:
    before, behind = blanks
    key = b"api-key:" + before + RECEIVER_KEY.encode() + behind + b"\r\n"
    assert receiver.say(DELIVERY.replace(KEY, key + b"Connection: close\r\n")).startswith(b"HTTP/1.1 200 ")


def test_a_client_of_http_1_0_is_not_told_to_continue(receiver: RunningReceiver) -> None:
    head = DELIVERY.removesuffix(VISIT).replace(b"HTTP/1.1", b"HTTP/1.0")
    with receiver.connect() as conversation:
        conversation.sendall(head.replace(KEY, KEY + b"Expect: 100-continue\r\n"))
        time.sleep(0.3)
        conversation.sendall(VISIT)
        assert statuses(hear(conversation)) == [b"200"]
    assert len(receiver.landed()) == 1


@pytest.mark.parametrize(
    ("wire", "answered"),
    [
        (DELIVERY, [b"200"]),
        (GET, [b"200"]),
        (GET + DELIVERY + GET + DELIVERY, [b"200"] * 4),
        (POST + KEY + b"Transfer-Encoding: chunked\r\n\r\nf\r\n" + VISIT + b"\r\n0\r\n\r\n", [b"200"]),
        (DELIVERY.replace(KEY, b""), [b"401"]),
        (DELIVERY + b"garbage\r\n\r\n", [b"200"]),
        (DELIVERY[:-1], []),
        (DELIVERY + DELIVERY[:-1], [b"200"]),
        (b"POST / HT", []),
    ],
)
def test_a_client_that_has_closed_its_side_hears_the_answers_it_is_owed(
    receiver_start: Start, wire: bytes, answered: list[bytes]
) -> None:
    receiver = receiver_start(KOBRA_REQUEST_TIMEOUT_S="2")
    with receiver.connect() as conversation:
        conversation.sendall(wire)
        conversation.shutdown(socket.SHUT_WR)
        began = time.monotonic()
        heard = hear(conversation)
    assert statuses(heard)[: len(answered)] == answered
    assert b"408" not in statuses(heard) or len(answered) == 1
    assert time.monotonic() - began < 4
    assert receiver.stop() == 0
    assert len(receiver.landed()) == heard.count(b'"stored"')


def test_more_headers_than_anybody_needs_are_refused(receiver: RunningReceiver) -> None:
    hundred = b"".join(b"x%d:\r\n" % number for number in range(97))
    assert receiver.say(b"GET / HTTP/1.1\r\n" + hundred + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    for end in (b"\r\n", b""):  # complete or not
        assert receiver.say(b"GET / HTTP/1.1\r\n" + b"x:\r\n" * 3000 + end).startswith(b"HTTP/1.1 431 ")


def test_a_trailer_is_no_header(receiver: RunningReceiver) -> None:
    chunks = b"Transfer-Encoding: chunked\r\n\r\nf\r\n" + VISIT + b"\r\n0\r\n"
    trailer = b"Content-Encoding: gzip\r\napi-key: x\r\n" + b"t: x\r\n" * 1000
    wire = POST + KEY + b"Connection: close\r\n" + chunks + trailer + b"\r\n"
    assert receiver.say(wire).startswith(b"HTTP/1.1 200 ")


# ---------------------------------------------------------------- greedy clients


def test_a_small_body_in_large_wrapping_is_refused(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_MAX_BODY_BYTES="1000")
    chunk = b"1;" + b"x" * 1000 + b"\r\n \r\n"
    wire = POST + KEY + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert receiver.say(wire + chunk * 20 + b"2\r\n{}\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert receiver.say(wire + chunk * 100 + b"2\r\n{}\r\n0\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert len(receiver.landed()) == 1


def test_requests_that_wait_are_answered_up_to_a_limit_and_then_the_connection_ends(
    receiver: RunningReceiver,
) -> None:
    heard = receiver.say(b"GET /a HTTP/1.1\r\n\r\n" * 10_000)
    assert statuses(heard) == [b"404"] * 65
    with receiver.connect() as conversation:  # and that many can wait at once, again and again
        for _ in range(3):
            conversation.sendall(GET * 65)
            heard = b""
            while heard.count(b"alive") < 65:
                heard += conversation.recv(65536)
    heard = receiver.say(DELIVERY * 1000)
    assert statuses(heard) == [b"200"] * 65
    assert heard.count(b"connection: close") == 1
    assert len(receiver.landed()) == 65


@pytest.mark.parametrize(
    "request_",
    [b"GET /a HTTP/1.1\r\n\r\n", b"GET /a HTTP/1.1\r\n" + b"x:\r\n" * 100 + b"\r\n"],
    ids=["bare", "headers"],
)
def test_pipelined_requests_take_little_memory(receiver: RunningReceiver, request_: bytes) -> None:
    assert receiver.post(VISIT).status == 200
    before, wire = peak_kib(receiver), request_ * (250_000 // len(request_))
    with ExitStack() as connections:
        clients = [connections.enter_context(receiver.connect()) for _ in range(100)]
        for client in clients:
            client.setblocking(False)
            client.send(wire)
        for number in range(20):
            began = time.monotonic()
            assert receiver.post(b'{"visitID":%d}' % number).status == 200
            assert time.monotonic() - began < 2
    assert peak_kib(receiver) - before < 150_000


def test_requests_of_all_connections_that_wait_have_a_limit() -> None:
    loop = Mock()
    loop.create_task.side_effect = lambda coroutine: coroutine.close() or Mock()
    guard = Guard(timeout_s=1, max_body_bytes=1, max_connections=1, count=lambda _: None)
    connection = http_guard.GuardedHttp(
        guard,
        config=uvicorn.Config(lambda: None, loop="none"),
        server_state=ServerState(),
        app_state={},
        _loop=loop,
    )
    connection._extensions = {}
    guard.waiting = http_guard._MOST_WAITING
    connection.parser.feed_data(GET)  # which waits for nobody
    with pytest.raises(httptools.HttpParserCallbackError) as refused:
        connection.parser.feed_data(GET)
    assert isinstance(refused.value.__context__, ValueError)


def test_making_room_looks_at_few_connections_however_many_there_are() -> None:
    looked = count()

    class Connection:
        loop = SimpleNamespace(time=lambda: 100.0, call_later=lambda *_: None)

        def __init__(self, number: int) -> None:
            self.number = number

        @property
        def since(self) -> float:
            next(looked)
            return self.number / 1000

        def abort(self) -> None:
            ended.append(self)
            guard.idle.pop(self, None)
            guard.receiving.pop(self, None)

    ended: list[Connection] = []
    guard = Guard(timeout_s=1000, max_body_bytes=1, max_connections=2000, count=lambda _: None)
    everybody = [Connection(number) for number in range(4000)]
    for each in everybody[::2]:
        guard.receiving[each] = None  # type: ignore[index]
    for each in everybody[1::2]:
        guard.idle[each] = None  # type: ignore[index]
    newcomer = Connection(0)
    newcomer.connections = everybody  # type: ignore[attr-defined]
    for _ in range(3):
        guard.admit(newcomer)  # type: ignore[arg-type]
    assert [each.number for each in ended] == [1, 3, 5]  # who was idle the longest
    assert next(looked) < 30
