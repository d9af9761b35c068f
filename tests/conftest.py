"""A real receiver in a process of its own, for tests that talk to it over HTTP, and a real S3 server."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from receiver import rawstore

if TYPE_CHECKING:
    from postgres import Postgres
    from s3 import Bucket, Way

_buckets = count(1)
RECEIVER_KEY = "k3y-of-lender-a-000001"


def first_of(values: Iterable[object]) -> list[object]:
    """Parameters of a test that takes long: the first one always, the others in the slow tests."""
    first, *others = values
    return [first, *(pytest.param(other, marks=pytest.mark.slow) for other in others)]


class ReceiverAnswer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, str]:
        return json.loads(self.body)


class RunningReceiver:
    """A receiver process, its address, and its store."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self.process = process
        self.home = home
        self.raw = home / "raw"
        self.log: list[dict[str, object]] = []
        while not self.log or self.log[-1]["event"] != "listening":
            line = process.stderr.readline()
            if not line:
                raise AssertionError(f"the receiver did not start: {self.log}")
            self.log.append(json.loads(line))
        self.port = int(str(self.log[-1]["port"]))

    def request(self, method: str, path: str, body: object = None, **headers: str) -> ReceiverAnswer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return ReceiverAnswer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def post(self, body: object, **headers: str) -> ReceiverAnswer:
        return self.request("POST", "/webhooks/visits", body, **({"api_key": RECEIVER_KEY} | headers))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def say(self, wire: bytes) -> bytes:
        """Send bytes as they are; everything that comes back until the receiver hangs up."""
        with self.connect() as conversation:
            conversation.sendall(wire)
            return hear(conversation)

    def signal_all(self, number: int) -> None:
        """To the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self) -> int:
        """SIGTERM, and the exit code; whatever it logged is in `log` afterwards."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        self.signal_all(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        _, rest = self.process.communicate(timeout=30)
        self.log += [json.loads(line) for line in (rest or "").splitlines()]
        return self.process.returncode

    def landed(self) -> list[rawstore.Delivery]:
        """All deliveries in the store, whether their segment is closed or not, in order."""
        paths = sorted(self.raw.glob("received_date=*/*.jsonl*"), key=rawstore.identity)
        return [
            found.delivery
            for path in paths
            for found in rawstore.read_segment(path)
            if isinstance(found, rawstore.Landed)
        ]


def hear(conversation: socket.socket) -> bytes:
    """Everything until the other side hangs up."""
    heard = b""
    with suppress(ConnectionResetError):
        while chunk := conversation.recv(65536):
            heard += chunk
    return heard


@pytest.fixture
def receiver_start(tmp_path: Path) -> Iterator[Callable[..., RunningReceiver]]:
    """Start receivers on one home with `KOBRA_…` variables and flags; all are gone after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*flags: str, prefix: tuple[str, ...] = (), program: str = "", **env: str) -> RunningReceiver:
        command = [*prefix, sys.executable, *([program] if program else ["-m", "receiver"]), "--port", "0", *flags]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
        settings = {"KOBRA_HOME": str(tmp_path / "home"), "KOBRA_API_KEYS": f"lender_a:{RECEIVER_KEY}"} | env
        process = subprocess.Popen(
            command, env=clean | settings, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return RunningReceiver(process, Path(settings["KOBRA_HOME"]))

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def receiver(receiver_start: Callable[..., RunningReceiver]) -> RunningReceiver:
    """A receiver with default settings."""
    return receiver_start()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an S3 server."""
    from s3 import serving  # noqa: PLC0415 - few tests need it

    with serving(tmp_path_factory.mktemp("s3")) as port:
        yield port


@pytest.fixture
def bucket(s3: int) -> "Bucket":
    """A bucket of the test's own."""
    from s3 import Bucket  # noqa: PLC0415

    return Bucket(s3, f"test-{next(_buckets)}")


@pytest.fixture
def way(s3: int) -> "Way":
    """A way to the server that can be cut."""
    from s3 import Way  # noqa: PLC0415

    return Way(s3)


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Postgres]":
    """A PostgreSQL server."""
    from postgres import programs, serving  # noqa: PLC0415 - few tests need it

    if (found := programs()) is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with serving(found) as server:
        yield server
