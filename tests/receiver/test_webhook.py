"""What a client hears, and what is on disk when it hears it."""

import gzip
import http.client
import json
import signal
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import RECEIVER_KEY, RunningReceiver, hear

from receiver import json_check

Start = Callable[..., RunningReceiver]

VISIT = json.dumps({"visitID": 9001, "client": "Ana", "checklist": []}).encode()
KEY = b"api-key: " + RECEIVER_KEY.encode() + b"\r\n"
POST = b"POST /webhooks/visits HTTP/1.1\r\nHost: kobra\r\n"


def post(body: bytes, *headers: bytes, key: bytes = KEY) -> bytes:
    """A whole delivery as it stands on the wire."""
    return POST + key + b"".join(headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def ids_in(heard: bytes) -> list[str]:
    return [part[:36].decode() for part in heard.split(b'"delivery_id":"')[1:]]


def bodies(receiver: RunningReceiver) -> list[bytes]:
    return [delivery.exact_body() for delivery in receiver.landed()]


def test_a_visit_is_stored_byte_for_byte_with_when_from_whom_and_under_which_id(receiver: RunningReceiver) -> None:
    body = b'{\r\n  "visitID" : 9001,  "client":"Jos\xc3\xa9 \\u00d1",\t"lng":"-99.1"}\n'
    answer = receiver.post(body)
    (landed,) = receiver.landed()
    assert answer.status == 200
    assert answer.json == {"status": "stored", "delivery_id": landed.delivery_id}
    assert (landed.exact_body(), landed.source, landed.size) == (body, "lender_a", len(body))
    assert landed.received_at.endswith("Z")


@pytest.mark.parametrize(
    "path", ["/webhooks/visits/", "/webhooks/visits?from=kobra", "/webhooks/visit%73", "http://kobra/webhooks/visits"]
)
def test_an_address_spelled_otherwise_is_the_same(receiver: RunningReceiver, path: str) -> None:
    assert receiver.request("POST", path, VISIT, api_key=RECEIVER_KEY).status == 200
    assert bodies(receiver) == [VISIT]


def test_a_stored_visit_leaves_the_connection_open_unless_the_client_asks_otherwise(
    receiver: RunningReceiver,
) -> None:
    for wire in (post(VISIT, b"Connection: close\r\n"), post(VISIT).replace(b"HTTP/1.1", b"HTTP/1.0")):
        answer = receiver.say(post(VISIT) + wire)
        first, last = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
        assert b"\r\ndate: " in first
        assert b"connection:" not in first
        assert b"\r\nconnection: close\r\n" in last


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b'{"client":"Jos\xe9"}', "not_utf8"),
        (b'{"visitID":', "not_json"),
        (b"visitID=1", "not_json"),
        (b"[1]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b'{"interest":NaN}', "not_json_number"),
        (b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
        (b'{"k":1' + b"".join(b',"%d":1' % number for number in range(70_000)) + b"}", "too_many_keys"),
        (b"\x1f\x8b broken off", "packed"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_body_that_is_no_json_object_is_told_and_kept(receiver: RunningReceiver, body: bytes, error: str) -> None:
    answer = receiver.post(body)
    (landed,) = receiver.landed()
    assert (answer.status, answer.json["error"]) == (400, error)
    assert answer.json["delivery_id"] == landed.delivery_id
    assert landed.exact_body() == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":123456789012345678901234567890}',
        b'\xef\xbb\xbf{"visitID":1}',
        b'{"a":1,"a":2}',
        rb'{"client":"\ud800"}',
        b'{"n":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_odd_but_may_be_an_object_is_stored_without_complaint(receiver: RunningReceiver, body: bytes) -> None:
    assert receiver.post(body).status == 200
    assert bodies(receiver) == [body]


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"api-key: wrong-but-long-enough\r\n",
        KEY + KEY,
        "api-key: clé-de-seize-caractères\r\n".encode(),
        b"api-key: \xff\xfe\xfd\r\n",
        b"api-key:\r\n",
    ],
    ids=["missing", "wrong", "twice", "non-ascii", "bytes", "empty"],
)
def test_without_one_live_key_the_body_is_not_waited_for(receiver: RunningReceiver, key: bytes) -> None:
    answer = receiver.say(POST + key + b"Content-Length: 1000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer
    assert bodies(receiver) == []


def test_a_key_hidden_in_a_trailer_opens_nothing(receiver: RunningReceiver) -> None:
    wire = POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + KEY + b"\r\n"
    assert receiver.say(wire).startswith(b"HTTP/1.1 401 ")


def test_a_refused_client_that_is_still_sending_can_read_why(receiver: RunningReceiver) -> None:
    for _ in range(20):
        with receiver.connect() as conversation:
            conversation.sendall(POST + b"Content-Length: 6000000\r\n\r\n" + b"x" * 6_000_000)
            assert hear(conversation).startswith(b"HTTP/1.1 401 ")


def test_other_methods_are_told_which_one_to_use(receiver: RunningReceiver) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        answer = receiver.request(method, "/webhooks/visits")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
    answer = receiver.say(b"HEAD" + POST.removeprefix(b"POST") + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"\r\n\r\n")  # and no body


def test_other_addresses_answer_in_json(receiver: RunningReceiver) -> None:
    for path in ("/", "/docs", "/openapi.json", "/webhooks/visits/7", "/healthz/"):
        answer = receiver.request("GET", path)
        assert (answer.status, answer.json["error"]) == (404, "not_found")
    assert receiver.request("POST", "/healthz").json["error"] == "method_not_allowed"


def test_a_body_over_the_limit_is_refused_before_it_is_read(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_MAX_BODY_BYTES="1000")
    answer = receiver.say(POST + KEY + b"Content-Length: 1001\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert receiver.post(b"{" + b" " * 998 + b"}").status == 200
    assert len(bodies(receiver)) == 1


def test_a_body_over_the_limit_without_a_length_is_refused_while_it_streams(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_MAX_BODY_BYTES="1000")
    with receiver.connect() as conversation:
        conversation.sendall(POST + KEY + b"Transfer-Encoding: chunked\r\n\r\n")
        conversation.sendall((b"64\r\n" + b"x" * 100 + b"\r\n") * 11)
        assert hear(conversation).startswith(b"HTTP/1.1 413 ")
    assert bodies(receiver) == []


@pytest.mark.parametrize("body", [VISIT, gzip.compress(VISIT), zlib.compress(VISIT)], ids=["plain", "gzip", "zlib"])
@pytest.mark.parametrize("coding", ["UTF-8", "none", "gzip", "deflate", "identity", "x-canary", ""])
def test_a_visit_is_stored_as_it_came_whatever_its_coding_is_said_to_be(
    receiver: RunningReceiver, coding: str, body: bytes
) -> None:
    assert receiver.post(body, content_encoding=coding).status == 200
    assert bodies(receiver) == [body]


@pytest.mark.parametrize(
    ("coding", "status"), [("gzip", 415), ("br", 415), ("none", 415), ("Identity", 400), ("", 400)]
)
def test_an_encoded_body_that_cannot_be_read_is_kept_too(receiver: RunningReceiver, coding: str, status: int) -> None:
    for body in (b"\x0b\x02\x80{}\x03", b"[]", b"\x1f\x8b\x08", b""):
        answer = receiver.post(body, content_encoding=coding)
        landed = receiver.landed()[-1]
        assert (answer.status, answer.json["delivery_id"]) == (status, landed.delivery_id)
        assert (answer.json["error"], landed.exact_body()) == (json_check.reason_of(body), body)


def test_chunks_within_another_coding_are_stored_as_they_came(receiver: RunningReceiver) -> None:
    packed = gzip.compress(VISIT)
    chunk = b"Transfer-Encoding: gzip, chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    heard = receiver.say(POST + KEY + b"Connection: close\r\n" + chunk % (len(packed), packed))
    assert heard.startswith(b"HTTP/1.1 200 ")
    assert bodies(receiver) == [packed]


def test_more_bytes_at_once_than_the_cap_are_put_off_not_dropped(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_MAX_BODY_BYTES="1000", KOBRA_MAX_IN_FLIGHT_BYTES="1500")
    with receiver.connect() as first:
        first.sendall(POST + KEY + b"Content-Length: 1000\r\n\r\n{" + b" " * 900)
        time.sleep(0.2)
        answer = receiver.post(b"{" + b" " * 700 + b"}")
        assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (503, "overloaded", "5")
        first.sendall(b" " * 98 + b"}")
        assert first.recv(100).startswith(b"HTTP/1.1 200 ")
    assert receiver.post(b"{" + b" " * 700 + b"}").status == 200


def test_a_chunked_body_is_stored_without_its_chunks(receiver: RunningReceiver) -> None:
    def chunks() -> Iterator[bytes]:
        yield VISIT[:7]
        yield VISIT[7:]

    assert receiver.post(chunks()).status == 200
    assert bodies(receiver) == [VISIT]


def test_a_php_client_that_waits_for_100_continue_is_served(receiver: RunningReceiver) -> None:
    body = rb'{"client":"Jos\u00e9 \/ \u00d1u\u00f1ez","comment":"\ud83d\udc4d"}'
    with receiver.connect() as conversation:
        conversation.sendall(POST + KEY + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert conversation.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        conversation.sendall(body)
        assert conversation.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert bodies(receiver) == [body]


def test_a_refused_client_that_waits_for_100_continue_is_not_invited(receiver: RunningReceiver) -> None:
    wire = POST + b"api-key: wrong-but-long-enough\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
    assert receiver.say(wire).startswith(b"HTTP/1.1 401 ")


def test_an_invitation_waits_for_the_answers_before_it(receiver: RunningReceiver) -> None:
    with receiver.connect() as conversation:
        conversation.sendall(
            post(VISIT) + POST + KEY + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(VISIT)
        )
        heard = b""
        while not heard.endswith(b"100 Continue\r\n\r\n"):
            heard += conversation.recv(1000)
        assert heard.startswith(b"HTTP/1.1 200 ")
        conversation.sendall(VISIT)
        assert conversation.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert bodies(receiver) == [VISIT, VISIT]


@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_a_client_that_offers_http2_before_its_body_loses_nothing(receiver: RunningReceiver, pause: float) -> None:
    head = POST + KEY + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    with receiver.connect() as conversation:
        conversation.sendall(head + b"Content-Length: %d\r\n\r\n" % len(VISIT) + VISIT[:5])
        time.sleep(pause)
        conversation.sendall(VISIT[5:])
        assert conversation.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert bodies(receiver) == [VISIT]


@pytest.mark.parametrize("wire", [b"CONNECT kobra:1 HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n", b"GET\r\n\r\n"])
def test_what_is_not_http_is_told_so(receiver: RunningReceiver, wire: bytes) -> None:
    assert receiver.say(wire).startswith(b"HTTP/1.1 400 ")


def test_two_lengths_are_no_request(receiver: RunningReceiver) -> None:
    smuggled = POST + KEY + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert receiver.say(smuggled).startswith(b"HTTP/1.1 400 ")
    assert bodies(receiver) == []


def test_one_connection_serves_many_deliveries(receiver: RunningReceiver) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port)
    for number in range(20):
        connection.request("POST", "/webhooks/visits", b'{"visitID":%d}' % number, {"api-key": RECEIVER_KEY})
        assert connection.getresponse().read()
    connection.close()
    assert bodies(receiver) == [b'{"visitID":%d}' % number for number in range(20)]


def test_pipelined_deliveries_are_answered_in_order(receiver: RunningReceiver) -> None:
    one = [b'{"visitID":%d}' % number for number in range(10, 60)]
    with receiver.connect() as conversation:
        conversation.sendall(b"".join(map(post, one)))
        heard = b""
        while heard.count(b'"stored"') < 50:
            heard += conversation.recv(65536)
    assert [(each.delivery_id, each.exact_body()) for each in receiver.landed()] == list(
        zip(ids_in(heard), one, strict=True)
    )


@pytest.mark.parametrize("piece", [1 << 20, 1000, 7])
def test_deliveries_and_other_requests_are_answered_in_the_order_of_asking(
    receiver: RunningReceiver, piece: int
) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: kobra\r\n\r\n"
    large = b'{"pad":"%b"}' % (b"x" * 100_000 if piece > 7 else b"")
    wire = post(VISIT) + get + get + post(b"[]") + post(large) + get + post(VISIT, b"Connection: close\r\n")
    with receiver.connect() as conversation:
        for start in range(0, len(wire), piece):
            conversation.sendall(wire[start : start + piece])
        heard = hear(conversation)
    said = [part.rpartition(b"\r\n\r\n")[2][:18] for part in heard.split(b"HTTP/1.1 ")[1:]]
    stored, alive = b'{"status":"stored"', b'{"status":"alive"}'
    assert said == [stored, alive, alive, b'{"error":"not_an_o', stored, alive, stored]
    assert bodies(receiver) == [VISIT, b"[]", large, VISIT]


def test_what_is_pipelined_behind_a_refusal_is_not_heard(receiver: RunningReceiver) -> None:
    heard = receiver.say(post(VISIT) + post(b'{"visitID":2}', key=b"") + post(b'{"visitID":3}'))
    assert [part[:3] for part in heard.split(b"HTTP/1.1 ")[1:]] == [b"200", b"401"]
    assert bodies(receiver) == [VISIT]


def test_nothing_is_landed_of_a_client_that_leaves_in_the_middle(receiver: RunningReceiver) -> None:
    with receiver.connect() as conversation:
        conversation.sendall(POST + KEY + b"Content-Length: 100\r\n\r\n{")
    time.sleep(0.2)
    assert receiver.post(VISIT).status == 200
    assert bodies(receiver) == [VISIT]


def waits_to_be_read(conversation: socket.socket) -> bool:
    """Whether the system still holds bytes for the other end, on this machine, that it did not take."""
    ours = f":{conversation.getsockname()[1]:04X}"
    connections = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(each[2].endswith(ours) and not each[4].endswith(":00000000") for each in connections)


def test_a_delivery_whose_sender_does_not_wait_for_the_answer_is_landed(receiver: RunningReceiver) -> None:
    for number in range(50):
        with receiver.connect() as conversation:
            if number % 2:  # with a reset
                conversation.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            conversation.sendall(post(b'{"visitID":%d}' % number))
            while waits_to_be_read(conversation):  # a reset throws it away
                time.sleep(0.001)
    assert receiver.stop() == 0
    assert sorted(bodies(receiver)) == sorted(b'{"visitID":%d}' % number for number in range(50))
    assert [line for line in receiver.log if line["level"] == "error"] == []


def test_the_room_of_what_came_to_nothing_is_given_back(receiver_start: Start) -> None:
    receiver = receiver_start(
        KOBRA_MAX_BODY_BYTES="1000", KOBRA_MAX_IN_FLIGHT_BYTES="1500", KOBRA_REQUEST_TIMEOUT_S="1"
    )
    start = POST + KEY + b"Content-Length: 1000\r\n\r\n" + b" " * 900
    for _ in range(5):
        with receiver.connect() as conversation:  # leaves
            conversation.sendall(start)
        chunks = b"Transfer-Encoding: chunked\r\n\r\n" + (b"64\r\n" + b"x" * 100 + b"\r\n") * 11
        assert receiver.say(POST + KEY + chunks).startswith(b"HTTP/1.1 413 ")
        assert receiver.post(b" " * 1000).status == 400
    assert receiver.say(start).startswith(b"HTTP/1.1 408 ")
    assert receiver.say(start + b"\r\n" * 100 + b"garbage").startswith(b"HTTP/1.1 400 ")
    assert receiver.post(b" " * 1000).status == 400
    figures = receiver.request("GET", "/metrics").body.decode()
    assert 'kobra_deliveries_total{outcome="disconnected"} 6.0' in figures  # who was too slow among them
    assert 'kobra_deliveries_total{outcome="too_large"} 5.0' in figures


# ---------------------------------------------------------------- slow and greedy clients


def hang_up(conversation: socket.socket) -> tuple[bytes, float]:
    began = time.monotonic()
    return hear(conversation), time.monotonic() - began


def test_a_body_that_drips_is_told_and_let_go(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_REQUEST_TIMEOUT_S="1")
    with receiver.connect() as conversation:
        conversation.sendall(POST + KEY + b"Content-Length: 100\r\n\r\n{")
        for _ in range(12):
            time.sleep(0.05)
            conversation.sendall(b" ")
        heard, seconds = hang_up(conversation)
    assert heard.startswith(b"HTTP/1.1 408 ")
    assert seconds < 2
    assert bodies(receiver) == []


@pytest.mark.parametrize("start", [b"", b"POST /webhooks/visits HT", POST], ids=["silent", "line", "headers"])
def test_a_client_that_does_not_finish_its_headers_is_let_go(receiver_start: Start, start: bytes) -> None:
    receiver = receiver_start(KOBRA_REQUEST_TIMEOUT_S="1")
    with receiver.connect() as conversation:
        conversation.sendall(start)
        heard, seconds = hang_up(conversation)
    assert seconds < 2.5
    assert heard.startswith(b"HTTP/1.1 408 ") if start else heard == b""


def test_an_idle_connection_is_closed(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_REQUEST_TIMEOUT_S="1")
    with receiver.connect() as conversation:
        conversation.sendall(POST + KEY + b"Content-Length: 2\r\n\r\n{}")
        heard, seconds = hang_up(conversation)
    assert heard.startswith(b"HTTP/1.1 200 ")
    assert seconds < 2.5


def test_a_kept_connection_gives_every_request_its_full_time(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_REQUEST_TIMEOUT_S="1")
    with receiver.connect() as conversation:
        for _ in range(3):
            time.sleep(0.7)
            conversation.sendall(POST + KEY + b"Content-Length: 2\r\n\r\n{")
            time.sleep(0.7)
            conversation.sendall(b"}")
            assert conversation.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_endless_headers_are_refused(receiver: RunningReceiver) -> None:
    with receiver.connect() as conversation:
        conversation.sendall(POST + b"x: " + b"y" * 20_000 + b"\r\n\r\n")
        assert hear(conversation).startswith(b"HTTP/1.1 431 ")
    with receiver.connect() as conversation:
        sent = 0
        with suppress(OSError):
            conversation.sendall(b"POST / HTTP/1.1\r\n")
            while sent < 50_000_000:
                sent += conversation.send(b"x: " + b"y" * 10_000 + b"\r\n")
    assert sent < 50_000_000


@pytest.mark.parametrize("wire", [post(VISIT), b"GET /healthz HTTP/1.1\r\n\r\n"], ids=["visits", "others"])
def test_answers_that_nobody_reads_do_not_pile_up(receiver_start: Start, wire: bytes) -> None:
    with TemporaryDirectory(dir="/dev/shm") as fast:  # it takes thousands of answers to fill the sockets
        receiver = receiver_start(KOBRA_REQUEST_TIMEOUT_S="1", KOBRA_HOME=fast)
        with receiver.connect() as conversation:
            conversation.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            conversation.settimeout(40)
            with pytest.raises(ConnectionError):  # it is let go
                conversation.sendall(wire * 1_000_000)
        assert receiver.post(VISIT).status == 200
        peak = Path(f"/proc/{receiver.process.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
        assert int(peak) < 150_000  # KiB
        receiver.stop()


def test_idle_connections_do_not_shut_out_deliveries(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_MAX_CONNECTIONS="50")
    idle = [receiver.connect() for _ in range(120)]
    assert all(receiver.post(VISIT).status == 200 for _ in range(20))
    for conversation in idle:
        conversation.close()


# ---------------------------------------------------------------- a disk that refuses


def test_below_the_floor_of_free_space_nothing_is_acknowledged(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_MIN_FREE_BYTES=str(1 << 60))
    assert receiver.request("GET", "/readyz").status == 503  # before anybody was refused
    answer = receiver.post(VISIT)
    assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (503, "not_stored", "5")
    ready = receiver.request("GET", "/readyz")
    assert (ready.status, ready.json["fault"]) == (503, "ENOSPC")
    assert receiver.request("GET", "/healthz").status == 200
    assert bodies(receiver) == []


def test_a_file_that_may_not_grow_gives_503_and_the_next_segment_takes_over(receiver_start: Start) -> None:
    receiver = receiver_start(prefix=("prlimit", "--fsize=20000"))
    answers = [receiver.post(b'{"n":%d,"pad":"%b"}' % (number, b"x" * 3000)) for number in range(20)]
    stored = [answer.json["delivery_id"] for answer in answers if answer.status == 200]
    assert {answer.status for answer in answers} == {200, 503}
    assert len(stored) > 14
    assert [delivery.delivery_id for delivery in receiver.landed()] == stored


def test_a_disk_that_takes_a_byte_but_no_record_is_not_ready(receiver_start: Start) -> None:
    receiver = receiver_start(prefix=("prlimit", "--fsize=1000"))
    for _ in range(3):  # it asks the disk at its start, and again every second
        time.sleep(0.5)
        assert receiver.request("GET", "/readyz").status == 503
    assert receiver.post(VISIT).status == 200  # and lets nobody wait who may have a small one


def test_storing_works_again_without_a_restart_when_the_disk_does(receiver: RunningReceiver) -> None:
    assert receiver.post(VISIT).status == 200
    receiver.raw.rename(receiver.home / "away")
    receiver.raw.write_text("in the way")
    segment_gone = [receiver.post(VISIT).status for _ in range(3)]
    receiver.raw.unlink()
    (receiver.home / "away").rename(receiver.raw)
    time.sleep(1.5)
    assert receiver.post(VISIT).status == 200
    assert receiver.request("GET", "/readyz").status == 200
    assert set(segment_gone) <= {200, 503}


# ---------------------------------------------------------------- stopping


def test_sigterm_answers_what_is_in_flight_and_closes_the_segment(receiver: RunningReceiver) -> None:
    assert receiver.post(VISIT).status == 200
    with receiver.connect() as conversation:
        conversation.sendall(POST + KEY + b"Content-Length: %d\r\n\r\n" % len(VISIT) + VISIT[:5])
        time.sleep(0.2)
        receiver.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        conversation.sendall(VISIT[5:])
        assert hear(conversation).startswith(b"HTTP/1.1 200 ")
    assert receiver.wait() == 0
    assert [path.suffix for path in receiver.raw.glob("*/*")] == [".jsonl"]
    assert bodies(receiver) == [VISIT, VISIT]


def test_what_was_landed_when_sigterm_came_is_answered_and_nothing_else_is_landed(
    receiver: RunningReceiver,
) -> None:
    with receiver.connect() as conversation:
        conversation.sendall(b"".join(post(b'{"visitID":%d}' % number) for number in range(1000)))
        heard = conversation.recv(100)
        receiver.process.send_signal(signal.SIGTERM)
        heard += hear(conversation)
    assert receiver.wait() == 0
    assert heard.count(b"HTTP/1.1 200 ") == heard.count(b'"stored"') > 0
    assert heard.count(b"connection: close") == 1
    assert [delivery.delivery_id for delivery in receiver.landed()] == ids_in(heard)
    assert [path.suffix for path in receiver.raw.glob("*/*")] == [".jsonl"]


def test_a_segment_left_open_by_kill_is_closed_by_the_next_start(receiver_start: Start) -> None:
    receiver = receiver_start()
    assert receiver.post(VISIT).status == 200
    receiver.kill()
    (left,) = receiver.raw.glob("*/*.open")
    left.write_bytes(left.read_bytes() + b'{"crc32":"0000')
    again = receiver_start()
    assert [path.suffix for path in again.raw.glob("*/*")].count(".jsonl") == 1
    assert [line["torn"] for line in again.log if line["event"] == "segment_recovered"] == [14]
    assert bodies(again) == [VISIT]


def test_a_segment_closes_by_age_without_any_traffic(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_SEGMENT_MAX_AGE_S="0.3")
    assert receiver.post(VISIT).status == 200
    time.sleep(1)
    assert [path.suffix for path in receiver.raw.glob("*/*")] == [".jsonl"]
