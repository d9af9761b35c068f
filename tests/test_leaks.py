"""What was sent stands in the raw store and in the warehouse, and is said or written nowhere else."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from conftest import RECEIVER_KEY, RunningReceiver
from kobra_home import kobra

from pipelines.contract import ANSWER, ANSWER_TYPES, CHECKLIST, EMAILS, FIELDS, PHONES, VISIT_ID

CANARY = "zqcanary"
# The labels and questions of a lender, which `kobra status` lists when nothing maps them.
VOCABULARY = "zqvocabulary"
COMMANDS = ("run", "status", "status --json", "rejects", "rejects --json", "verify", "doctor", "load --retry-rejects")


def visits() -> Iterator[bytes]:
    """Readable deliveries, the canary in every field: as its value, in a list, as a key, and beside what is sound."""
    names = {name: f"{CANARY}-{name}" for field in FIELDS for name in field.spellings}
    for number, around in enumerate((str, lambda text: [text], lambda text: {text: text})):
        visit = {name: around(text) for name, text in names.items()} | {"tagName": VOCABULARY, "productID": 1}
        answers = [
            {name: around(CANARY) for name in ANSWER} | {"answerTypeID": int(kind), "answerName": VOCABULARY}
            for kind in ANSWER_TYPES
        ]
        visit |= {
            VISIT_ID[0]: f"../../{CANARY}-{number}",
            CHECKLIST: [{"questionID": 1, "questionName": VOCABULARY, "answers": answers}, around(CANARY)],
            PHONES: [around(CANARY)],
            EMAILS: [around(CANARY)],
            CANARY: around(CANARY),
            "finished": True,
        }
        yield json.dumps(visit).encode()


def rejected() -> Iterator[bytes]:
    """Deliveries that cannot become visits, each another way."""
    sent = f'{{"client":"{CANARY}","visitID":'.encode()
    yield from (sent, sent + b'["x"]}', sent[:-11] + b"}", b"\xff" + sent, b'"' + CANARY.encode() + b'"', b"[" + sent)
    yield sent + b'"1","deep":' + b"[" * 3000 + b"]" * 3000 + b"}"
    yield sent + b"9" * 5000 + b"}"


def odd_requests(receiver: RunningReceiver) -> Iterator[bytes]:
    """What is answered to requests that carry the canary where it does not belong."""
    body = f'{{"visitID":"{CANARY}"}}'.encode()
    post = b"POST /webhooks/visits HTTP/1.1\r\nHost: k\r\n"
    key = f"api-key: {RECEIVER_KEY}\r\n".encode()
    canary = CANARY.encode()
    for path in (f"/{CANARY}", f"/webhooks/visits?{CANARY}={CANARY}", "/docs", "/redoc", "/openapi.json"):
        yield receiver.request("POST", path, body, api_key=RECEIVER_KEY).body
        yield receiver.request("GET", path).body
    yield receiver.post(body, api_key=f"{CANARY}-{CANARY}-{CANARY}").body
    yield receiver.post(body, content_encoding=CANARY).body
    yield receiver.post(body, **{CANARY: CANARY, "content-type": CANARY, "cookie": CANARY}).body
    yield receiver.request(CANARY.upper(), "/webhooks/visits", body).body
    yield receiver.post(canary * 200_000).body
    yield receiver.say(post + b"api-key: " + canary + b"\xff\r\n" + key + b"Content-Length: 2\r\n\r\n{}")
    yield receiver.say(post + key + b"Content-Length: " + canary + b"\r\n\r\n")
    yield receiver.say(post + key + b"Transfer-Encoding: chunked\r\n\r\n" + canary + b"\r\n")
    yield receiver.say(post + canary + b"\r\n\r\n")
    yield receiver.say(post + canary + b": " + canary * 4000 + b"\r\n\r\n")
    yield receiver.say(canary + b"\r\n\r\n")
    yield receiver.say(post + key + b"Content-Length: 100\r\n\r\n" + canary)  # until its time is over
    for path in ("/healthz", "/readyz", "/metrics"):
        yield receiver.request("GET", path).body


def damage(raw: Path) -> None:
    """Flip a byte in the last record of a closed segment: what is said of it is said without its words."""
    path = max(raw.glob("*/*.jsonl"))
    content = bytearray(path.read_bytes())
    content[content.rindex(CANARY.encode()) - 1] ^= 0x20
    path.write_bytes(content)


@pytest.fixture
def told(receiver_start: Callable[..., RunningReceiver], tmp_path: Path) -> tuple[RunningReceiver, dict[str, str]]:
    """All that was said to whoever sent or operates, by where, and all that was written beside the data."""
    said = tmp_path / "stdout"
    receiver = receiver_start(prefix=("sh", "-c", f'exec "$0" "$@" >{said}'), KOBRA_REQUEST_TIMEOUT_S="1")
    bodies = [*visits(), *rejected()]
    answers = [receiver.post(body) for body in bodies]
    assert {answer.status for answer in answers} == {200, 400}
    found = {"answers": b"".join([*(answer.body for answer in answers), *odd_requests(receiver)]).decode()}
    assert receiver.stop() == 0
    found |= {"receiver's stdout": said.read_text(), "receiver's log": json.dumps(receiver.log)}
    damage(receiver.raw)
    for command in COMMANDS:
        done = kobra(receiver.home, *command.split(), KOBRA_API_KEYS=f"lender_a:{RECEIVER_KEY}")
        assert done.returncode in (0, 1), done.stderr
        assert done.stdout or done.stderr
        found[command] = done.stdout + done.stderr
    databases = receiver.home.glob("warehouse/*.duckdb*")
    for path in {each for each in receiver.home.rglob("*") if each.is_file()} - set(databases):
        if not path.is_relative_to(receiver.raw):
            found[str(path.relative_to(receiver.home))] = path.read_bytes().decode(errors="replace")
    return receiver, found


def test_nothing_of_what_was_sent_is_said_or_written_beside_the_data(
    told: tuple[RunningReceiver, dict[str, str]],
) -> None:
    receiver, found = told
    assert {where for where, text in found.items() if CANARY in text.lower() or RECEIVER_KEY in text} == set()
    assert {where for where, text in found.items() if VOCABULARY in text.lower()} == {"status", "status --json"}
    names = [str(path.relative_to(receiver.home)) for path in receiver.home.rglob("*")]
    assert not any(CANARY in name.lower() for name in names), "a path comes of what was sent"

    # and it was sent, and is where it belongs
    landed = [delivery.exact_body() for delivery in receiver.landed()]
    assert sum(CANARY.encode() in body for body in landed) > 10
    with duckdb.connect(str(receiver.home / "warehouse" / "analytics.duckdb"), read_only=True) as published:
        query = "select count(*) from kobra.visits where client_name like ? and comment like ?"
        assert published.execute(query, [f"%{CANARY}%"] * 2).fetchone() == (3,)
        assert published.execute("select count(*) > 5 from kobra.rejects").fetchone() == (True,)
    assert len(found) > 20
