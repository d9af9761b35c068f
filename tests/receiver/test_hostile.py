"""Clients that mean harm: requests that two parsers would read in two ways, and connections held without need."""

import random
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from threading import Event, Thread

from conftest import RECEIVER_KEY, RunningReceiver

Start = Callable[..., RunningReceiver]

KEY = b"api-key: " + RECEIVER_KEY.encode() + b"\r\n"
POST = b"POST /webhooks/visits HTTP/1.1\r\nHost: kobra\r\n" + KEY
SMUGGLED = POST + b'Content-Length: 14\r\n\r\n{"visitID": 1}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"

# Each is followed by a whole delivery, which a proxy in front may have taken for a part of the body.
AMBIGUOUS = {
    "a length and chunks": POST + b"Content-Length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "chunks and a length": POST + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}",
    "a length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a length in hexadecimal": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length beyond 64 bits": POST + b"Content-Length: 18446744073709551618\r\n\r\n{}",
    "a space before the colon of the length": POST + b"Content-Length : 2\r\n\r\n{}",
    "a space before the colon of the coding": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a coding that only looks like chunks": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a control character before the coding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks and then another coding": POST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunks that are not the last coding": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "no coding, and a length": POST + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
    "a chunk's size with more behind it": POST + CHUNKED + b"\r\n2x\r\n{}\r\n0\r\n\r\n",
    "a chunk's size beyond 64 bits": POST + CHUNKED + b"\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
    "a chunk's size with a sign": POST + CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk's extension with a bare newline": POST + CHUNKED + b"\r\n2;a\nb\r\n{}\r\n0\r\n\r\n",
    "chunks on bare newlines": POST + CHUNKED + b"\r\n2\n{}\n0\n\n",
    "a chunk that is longer than it says": POST + CHUNKED + b"\r\n2\r\n{}xx\r\n0\r\n\r\n",
    "a folded header": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "headers on bare newlines": (POST + b"Content-Length: 0\r\n\r\n").replace(b"\r\n", b"\n"),
    "a bare carriage return": POST + b"X: a\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    "a NUL in a header": POST + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"POST /webhooks/visits\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


def test_nothing_is_smuggled_in_behind_a_request_that_can_be_read_in_two_ways(receiver: RunningReceiver) -> None:
    assert receiver.say(SMUGGLED.replace(KEY, KEY + b"Connection: close\r\n")).startswith(b"HTTP/1.1 200 ")
    said = {name: receiver.say(request + SMUGGLED) for name, request in AMBIGUOUS.items()}
    assert {name: answer for name, answer in said.items() if answer.count(b"HTTP/1.1 ") != 1} == {}
    assert {name: answer for name, answer in said.items() if not answer.startswith(b"HTTP/1.1 400 ")} == {}
    assert len(receiver.landed()) == 1


def test_slow_clients_that_always_come_back_keep_no_delivery_out(receiver_start: Start) -> None:
    """Twice as many as there is room for: silent ones, half a head, half a body, a byte now and then."""
    receiver = receiver_start(KOBRA_MAX_CONNECTIONS="150", KOBRA_REQUEST_TIMEOUT_S="2")
    starts = (b"", POST[:30], POST, POST + b"Content-Length: 1000\r\n\r\n{", POST + CHUNKED + b"\r\n1\r\n{\r\n")
    over = Event()

    def hold(start: bytes) -> None:
        while not over.wait(random.uniform(0.1, 0.3)):
            with suppress(OSError), receiver.connect() as conversation:
                conversation.sendall(start)
                conversation.settimeout(0.5)
                while not over.is_set():
                    with suppress(TimeoutError):
                        if not conversation.recv(4096):
                            break
                    conversation.sendall(start[-1:])

    holders = [Thread(target=hold, args=[starts[number % len(starts)]]) for number in range(300)]
    for holder in holders:
        holder.start()
    try:
        time.sleep(1)
        answers = []
        for number in range(60):
            began = time.monotonic()
            answers.append((receiver.post(b'{"visitID":%d}' % number).status, time.monotonic() - began < 5))
            time.sleep(0.03)
    finally:
        over.set()
        for holder in holders:
            holder.join()
    assert answers == [(200, True)] * 60
    evicted = (
        receiver.request("GET", "/metrics").body.decode().partition('kobra_hang_ups_total{reason="evicted"} ')[2]
    )
    assert float(evicted.split()[0]) > 100


def test_who_has_only_just_come_is_not_the_one_to_go_when_others_crowd_in(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_MAX_CONNECTIONS="20")
    with ExitStack() as all_of_them:

        def come(start: bytes = b"") -> socket.socket:
            conversation = all_of_them.enter_context(receiver.connect())
            conversation.sendall(start)
            time.sleep(0.02)  # until the receiver has seen it
            return conversation

        for _ in range(30):
            come(POST)
        newcomer = come()
        for _ in range(10):
            come(POST)
        newcomer.sendall(SMUGGLED)
        assert newcomer.recv(4096).startswith(b"HTTP/1.1 200 ")
