"""kill -9 under load: whatever was acknowledged is there afterwards, and a writer that cheats is caught."""

import http.client
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest
from conftest import RECEIVER_KEY, RunningReceiver

from receiver import landing

Start = Callable[..., RunningReceiver]

CYCLES = int(os.environ.get("KOBRA_TORTURE_CYCLES", "20"))
CLIENTS = 8


class Client(Thread):
    """Posts one visit after the other until told to stop, and keeps a ledger of what was acknowledged."""

    def __init__(self, port: int, name: str, stop: Event) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._prefix = name
        self._stop_asked = stop
        self.ledger: dict[str, bytes] = {}

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        with suppress(OSError, http.client.HTTPException), closing(connection):
            for number in count():
                if self._stop_asked.is_set():
                    return
                body = b'{"visitID":"%b-%d","pad":"%b"}' % (self._prefix.encode(), number, b"x" * (number % 3000))
                connection.request("POST", "/webhooks/visits", body, {"api-key": RECEIVER_KEY})
                answer = connection.getresponse()
                said = answer.read()
                if answer.status == 200:
                    self.ledger[said[-38:-2].decode()] = body


def torture(start: Start, cycles: int, **options: str) -> tuple[dict[str, bytes], Path]:
    """Load, kill, start again, `cycles` times; everything that was acknowledged, and the store."""
    ledger: dict[str, bytes] = {}
    for cycle in range(cycles):
        receiver = start(KOBRA_SEGMENT_MAX_AGE_S="0.2", **options)
        stop = Event()
        clients = [Client(receiver.port, f"{cycle}-{number}", stop) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(random.uniform(0.3, 0.8))
        receiver.kill()
        stop.set()
        for client in clients:
            client.join()
            ledger |= client.ledger
    return ledger, receiver.raw


def missing(ledger: dict[str, bytes], raw: Path) -> set[str]:
    """What was acknowledged and is not in the store, after a recovery."""
    landing.recover(raw)
    found = [each for path in landing.closed(raw).values() for each in landing.read(path)]
    assert not [each for each in found if isinstance(each, landing.Damage)]
    stored = {each.delivery.delivery_id: each.delivery.exact_body() for each in found}
    assert max(Counter(each.delivery.delivery_id for each in found).values()) == 1
    return {delivery_id for delivery_id, body in ledger.items() if stored.get(delivery_id) != body}


def test_nothing_acknowledged_is_lost_however_often_the_receiver_is_killed(receiver_start: Start) -> None:
    ledger, raw = torture(receiver_start, CYCLES)
    assert len(ledger) > 50 * CYCLES
    assert missing(ledger, raw) == set()


@pytest.mark.parametrize("program", ["late_receiver.py"])
def test_a_receiver_that_acknowledges_before_it_writes_is_caught(receiver_start: Start, program: str) -> None:
    ledger, raw = torture(receiver_start, 2, program=str(Path(__file__).with_name(program)))
    assert len(ledger) > 50
    assert missing(ledger, raw)
