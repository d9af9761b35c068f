"""The application is plain ASGI on FastAPI: whoever speaks that can drive all of it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from conftest import RECEIVER_KEY
from fastapi import FastAPI

from receiver import rawstore
from receiver.app import Receiver, create_app
from receiver.settings import Settings

KEY = (b"api-key", RECEIVER_KEY.encode())
VISIT = b'{"visitID":9001}'


@pytest.fixture
def app(tmp_path: Path) -> Receiver:
    return create_app(Settings(home=tmp_path, api_keys=f"lender_a:{RECEIVER_KEY}", max_body_bytes=1000))


async def ask(
    app: FastAPI, method: str, path: str, *chunks: bytes | None, headers: tuple[tuple[bytes, bytes], ...] = (KEY,)
) -> tuple[int, dict[bytes, bytes], Any]:
    """One request as a server hands it over, None for a client that leaves; status 0 when nothing is answered."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http", "headers": list(headers),
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    arriving = [
        {"type": "http.disconnect"} if chunk is None else
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, 1)
    ] or [{"type": "http.request"}]  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return arriving.pop(0)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    if not sent:
        return 0, {}, None
    body = b"".join(message.get("body", b"") for message in sent[1:])
    kind = dict(sent[0]["headers"])[b"content-type"]
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(body) if b"json" in kind else body.decode()


def landed(app: Receiver, raw: Path) -> list[bytes]:
    asyncio.run(app.commits.close())
    return [
        found.delivery.exact_body()
        for path in rawstore.closed(raw).values()
        for found in rawstore.read_segment(path)
        if isinstance(found, rawstore.Landed)
    ]


def test_it_answers_everything_without_a_server(app: Receiver, tmp_path: Path) -> None:
    async def scene() -> None:
        async with app.router.lifespan_context(app):
            status, headers, said = await ask(app, "POST", "/webhooks/visits", VISIT[:5], b"", VISIT[5:])
            assert (status, said["status"], headers[b"content-type"]) == (200, "stored", b"application/json")
            assert headers[b"content-length"] == b"%d" % len(json.dumps(said, separators=(",", ":")))
            told = await ask(app, "POST", "/webhooks/visits/", b"[]")
            assert (told[0], told[2]["error"]) == (400, "not_an_object")
            assert (await ask(app, "POST", "/webhooks/visits", b" " * 600, b" " * 600))[0] == 413
            assert (await ask(app, "POST", "/webhooks/visits", VISIT, headers=()))[0] == 401
            assert (await ask(app, "POST", "/webhooks/visits", VISIT[:5], None))[0] == 0  # the client left
            assert (await ask(app, "GET", "/webhooks/visits"))[0] == 405
            assert (await ask(app, "GET", "/readyz"))[::2] == (200, {"status": "ready"})
            assert (await ask(app, "GET", "/healthz"))[::2] == (200, {"status": "alive"})
            assert 'outcome="disconnected"} 1.0' in (await ask(app, "GET", "/metrics"))[2]
            assert (await ask(app, "GET", "/nothing"))[0] == 404

    assert isinstance(app, FastAPI)
    asyncio.run(scene())
    assert landed(app, tmp_path / "raw") == [VISIT, b"[]"]


def test_it_stores_where_nobody_runs_its_lifespan_and_in_one_event_loop_after_the_other(
    app: Receiver, tmp_path: Path
) -> None:
    for _ in range(3):
        assert asyncio.run(ask(app, "POST", "/webhooks/visits", VISIT))[0] == 200
    assert asyncio.run(ask(app, "GET", "/readyz"))[0] == 200
    assert landed(app, tmp_path / "raw") == [VISIT] * 3


def test_a_failure_of_ours_is_answered_in_json_and_gives_the_room_back(
    app: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("canary")

    monkeypatch.setattr(app.commits, "store", fail)
    monkeypatch.setattr(app.webhook, "_max_in_flight", len(VISIT))
    for _ in range(3):
        status, _, said = asyncio.run(ask(app, "POST", "/webhooks/visits", VISIT))
        assert (status, said["error"]) == (500, "unexpected")
    monkeypatch.setattr(app.commits, "why_not_ready", fail)
    with pytest.raises(ValueError, match="canary"):  # FastAPI lets the server log it, too
        asyncio.run(ask(app, "GET", "/readyz"))


def test_the_test_client_of_starlette_drives_it(tmp_path: Path) -> None:
    testclient = pytest.importorskip("starlette.testclient", exc_type=RuntimeError, reason="needs httpx2")
    app = create_app(Settings(home=tmp_path, api_keys=f"lender_a:{RECEIVER_KEY}"))
    with testclient.TestClient(app) as client:
        answers = [
            client.post("/webhooks/visits", content=VISIT, headers={"api-key": RECEIVER_KEY}) for _ in range(3)
        ]
        assert [answer.json()["status"] for answer in answers] == ["stored"] * 3
        assert client.get("/readyz").status_code == 200
    assert landed(app, tmp_path / "raw") == [VISIT] * 3


@contextmanager
def stock_uvicorn(home: Path) -> Iterator[int]:
    """uvicorn as it comes, with nothing of ours but the application."""
    program = (
        "import sys, uvicorn, socket; from pathlib import Path; from receiver.app import create_app;"
        "from receiver.settings import Settings; s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True);"
        "a = create_app(Settings(home=Path(sys.argv[1]), api_keys='lender_a:' + sys.argv[2]));"
        "uvicorn.Server(uvicorn.Config(a, log_level='warning')).run([s])"
    )
    command = [sys.executable, "-c", program, str(home), RECEIVER_KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()
            process.wait(20)


def test_uvicorn_as_it_comes_runs_it(tmp_path: Path) -> None:
    with stock_uvicorn(tmp_path) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(2):
            connection.request("POST", "/webhooks/visits", VISIT, {"api-key": RECEIVER_KEY})
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["status"]) == (200, "stored")
        connection.close()
    (segment,) = rawstore.closed(tmp_path / "raw").values()
    assert sum(1 for _ in rawstore.read_segment(segment)) == 2
