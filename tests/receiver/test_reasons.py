"""What the receiver answers about a body is what the loader says of it later."""

import gzip
import json
import zlib

import pytest
from conftest import RunningReceiver
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.load.parse import Reject, read_body
from receiver import rawstore
from receiver.json_check import DEEPEST, MOST_KEYS, reason_of

VISIT = b'{"visitID":"1"}'
BODIES = [
    VISIT,
    b"",
    b"\xef\xbb\xbf",
    b"\xef\xbb\xbf" + VISIT,
    b"\n " + VISIT + b" \n",
    b"null",
    b"[]",
    b"[" + VISIT + b"]",
    VISIT + VISIT,
    VISIT[:-1],
    b'{"visitID":1,}',
    b'{"visitID":NaN}',
    b'{"visitID":1,"x":-Infinity}',
    b'{"visitID":' + b"9" * 5000 + b"}",
    rb'{"visitID":"\ud800"}',
    b'{"visitID":"\xe9"}',
    VISIT.decode().encode("utf-16"),
    b'{"visitID":1,"x":' + b"[" * DEEPEST + b"]" * DEEPEST + b"}",
    b'{"visitID":1,"x":' + b"[" * (DEEPEST - 1) + b"]" * (DEEPEST - 1) + b"}",
    b"[" * 1_000_000,
    b'{"a":' * 100_000,
    json.dumps({"visitID": 1} | {f"k{number}": 1 for number in range(MOST_KEYS)}).encode(),
    json.dumps({"visitID": 1} | {f"k{number}": 1 for number in range(MOST_KEYS - 1)}).encode(),
    b'{"visitID":1,"x":"' + b"[{:" * 1000 + b'"}',
    gzip.compress(VISIT),
    zlib.compress(VISIT),
    gzip.compress(b"[]"),
    gzip.compress(VISIT)[:-9],
    gzip.compress(gzip.compress(VISIT)),
]


def reason_of_the_loader(body: bytes) -> str | None:
    found = read_body(rawstore.delivery("0" * 36, "2026-05-04T12:00:00.000000Z", "lender_a", body))
    rejects = [each for each in found if isinstance(each, Reject)]
    reason = rejects[0].reason if len(rejects) == len(found) else None  # one visit is enough to be taken
    return None if reason == "no_visit_id" else reason


def test_the_receiver_and_the_loader_say_the_same_of_a_body(receiver: RunningReceiver) -> None:
    answers = [receiver.post(body).json.get("error") for body in BODIES]
    assert answers == [reason_of_the_loader(body) for body in BODIES]
    assert len(set(answers)) > 7


@settings(deadline=None, derandomize=True, max_examples=500)
@given(
    st.binary(max_size=30)
    | st.text(alphabet='{}[]:,"\\ \t19.eE-nultrfasINy\ufeff\ud7ff', max_size=30).map(str.encode)
    | st.text(alphabet='{}[]:,"a1 ', max_size=20).map(lambda text: f'{{"visitID":{text}}}'.encode())
)
def test_they_agree_on_whatever_bytes(body: bytes) -> None:
    assert reason_of(body) == reason_of_the_loader(body)


@pytest.mark.parametrize("mark", [b"[", b"{", b":", b'"', b"\\", b"9", b"\r\n\r\n", b"\x1f\x8b"])
def test_a_body_of_one_mark_over_and_over_is_judged_at_once(receiver: RunningReceiver, mark: bytes) -> None:
    body = b'{"visitID":' + mark * (1_000_000 // len(mark))
    assert receiver.post(body).json["error"] == reason_of_the_loader(body)
