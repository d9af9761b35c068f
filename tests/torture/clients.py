"""Clients that post and keep a ledger of what was acknowledged; the ledger is then held against the store."""

import random
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from threading import Event, Thread

from receiver import rawstore
from tests.torture.running import KEY
from tests.torture.table import Trial

Ledger = dict[str, int]
"""CRC-32 of the body by the id under which it was acknowledged."""


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """The receiver answered 503 and said when to come again."""


class FalseAnswerError(Exception):
    """An answer that is neither an acknowledgement nor 503 with Retry-After."""


class Client:
    """One connection, kept open, and a ledger."""

    def __init__(self, port: int, name: str = "c") -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=10)
        self._name = name
        self._numbers = count()
        self.ledger: Ledger = {}

    def post(self) -> None:
        """Post one visit. Raises Refused, FalseAnswerError, and OSError or HTTPException when nobody answers."""
        number = next(self._numbers)
        body = b'{"visitID":"%b-%d","pad":"%b"}' % (self._name.encode(), number, b"x" * (number * 37 % 3000))
        self._connection.request("POST", "/webhooks/visits", body, {"api-key": KEY})
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status == 200:
            self.ledger[said[-38:-2].decode()] = zlib.crc32(body)
        elif answer.status == 503 and answer.headers["retry-after"]:
            raise Refused
        else:
            raise FalseAnswerError(f"answered {answer.status} with {answer.headers.items()}")

    def ready(self) -> bool:
        """What the receiver itself says of its readiness."""
        self._connection.request("GET", "/readyz")
        answer = self._connection.getresponse()
        answer.read()
        return answer.status == 200

    def close(self) -> None:
        self._connection.close()


class Crowd:
    """Clients that post until the receiver is gone or they are told to stop."""

    def __init__(self, port: int, size: int, pause_s: float) -> None:
        self.over = Event()
        self.faults: list[str] = []
        self._pause_s = pause_s
        self._clients = [Client(port, f"c{number}") for number in range(size)]
        self._threads = [Thread(target=self._post, args=[client], daemon=True) for client in self._clients]
        for thread in self._threads:
            thread.start()

    def _post(self, client: Client) -> None:
        with suppress(OSError, HTTPException), closing(client):
            while not self.over.is_set():
                try:
                    client.post()
                except Refused:
                    time.sleep(0.01)
                except FalseAnswerError as why:
                    self.faults.append(str(why))
                    return
                time.sleep(self._pause_s)

    def end(self) -> Ledger:
        """Stop everybody; what was acknowledged to anybody."""
        self.over.set()
        for thread in self._threads:
            thread.join()
        return self.so_far()

    def so_far(self) -> Ledger:
        """What was acknowledged to anybody until now."""
        copies = [client.ledger.copy() for client in self._clients]
        return {delivery_id: crc for copy in copies for delivery_id, crc in copy.items()}


def audit(ledger: Ledger, raw: Path) -> Trial:
    """Let a fresh reader recover a store whose receiver is gone, and hold the ledger against it."""
    trial = Trial(acknowledged=len(ledger))
    trial.expect(until(lambda: _all_closed(raw)), "a segment whose writer is gone stays open")
    stored: Ledger = {}
    for path in rawstore.closed(raw).values():
        for found in rawstore.read_segment(path):
            if isinstance(found, rawstore.Damage):
                trial.faults.append(f"{found.records} damaged in a closed segment")
            elif isinstance(found, rawstore.Landed):
                trial.expect(found.delivery.delivery_id not in stored, "a delivery is stored twice")
                stored[found.delivery.delivery_id] = zlib.crc32(found.delivery.exact_body())
    trial.lost = sum(stored.get(delivery_id) != crc for delivery_id, crc in ledger.items())
    return trial


def _all_closed(raw: Path) -> bool:
    rawstore.recover(raw)  # a process that was killed may take a moment to let go
    return not rawstore.opened(raw)


@contextmanager
def crowd(port: int, size: int = 8, pause_s: float = 0.002) -> Iterator[Crowd]:
    """Clients at work; they stop in any case."""
    everybody = Crowd(port, size, pause_s)
    try:
        yield everybody
    finally:
        everybody.over.set()


def for_a_while(everybody: Crowd, low: float = 0.2, high: float = 0.6) -> None:
    """Wait until there is something to lose, then a moment that nobody can foresee."""
    if not until(lambda: len(everybody.so_far()) >= 8, seconds=30):
        everybody.faults.append("nothing was acknowledged: there was nothing to lose")
    time.sleep(random.uniform(low, high))


def until(happened: Callable[[], bool], seconds: float = 10) -> bool:
    """Wait for something to happen; whether it did."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if happened():
            return True
        time.sleep(0.02)
    return False


def answers(client: Client, times: int) -> Iterator[str]:
    """Post so often, one after the other: "stored", "refused", or what else was said."""
    for _ in range(times):
        try:
            client.post()
            yield "stored"
        except Refused:
            yield "refused"
        except FalseAnswerError as why:
            yield str(why)
