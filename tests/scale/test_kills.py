"""Two receivers on disks of their own, killed again and again while the object store comes and goes: every delivery
that was acknowledged is loaded, once."""

import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from threading import Event, Thread

import pytest
from conftest import RunningReceiver
from kobra_home import Home
from s3 import Bucket, Way
from test_shipping import until

pytestmark = pytest.mark.slow
KILLS = 20
BROKEN = str(Path(__file__).with_name("broken_shipping.py"))
Start = Callable[..., RunningReceiver]


class Client:
    """Sends visits to one receiver as long as it answers, else to the other. `acknowledged`: ids of deliveries."""

    def __init__(self, receivers: list[RunningReceiver]) -> None:
        self.receivers = receivers
        self.acknowledged = set[str]()
        self._stopped = Event()
        self._thread = Thread(target=self._send, daemon=True)

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _send(self) -> None:
        for number in count():
            if self._stopped.is_set():
                return
            body = json.dumps({"visitID": f"V{number}", "finished": True}).encode()
            for receiver in self.receivers:
                try:
                    answer = receiver.post(body)
                except OSError:
                    continue
                if answer.status == 200:
                    self.acknowledged.add(answer.json["delivery_id"])
                    break
            time.sleep(0.005)


def killed_again_and_again(start: Start, bucket: Bucket, way: Way, tmp_path: Path, program: str = "") -> set[str]:
    """The deliveries that were acknowledged, after everything that could be shipped was."""
    random = Random(7)

    def begin(number: int) -> RunningReceiver:
        home = str(tmp_path / f"site-{number}")
        return start(program=program, KOBRA_HOME=home, KOBRA_SEGMENT_MAX_AGE_S="0.2", **bucket.through(way.port))

    receivers = [begin(0), begin(1)]
    with Client(receivers) as client:
        for _ in range(KILLS):
            way.state = random.choice(["open", "open", "cut", "busy", "stalled"])
            time.sleep(random.uniform(0.2, 1.5))
            victim = random.randrange(2)
            receivers[victim].kill()
            receivers[victim] = begin(victim)
        way.state = "open"
    for receiver in receivers:
        until(lambda receiver=receiver: settled(receiver), "all is shipped")
        assert receiver.stop() == 0
    return client.acknowledged


def settled(receiver: RunningReceiver) -> bool:
    shipping = receiver.request("GET", "/readyz").json["shipping"]
    return not shipping["waiting_segments"] and not list(receiver.raw.glob("*/*.open"))


def lost(acknowledged: set[str], bucket: Bucket, tmp_path: Path) -> set[str]:
    """What was acknowledged and is not loaded; every delivery that is, is once."""
    home = Home(tmp_path / "loader", bucket.url)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environ.items():
            patch.setenv(name, value)
        home.run()
    loaded = home.values("select delivery_id from deliveries")
    assert len(loaded) == len(set(loaded))
    return acknowledged - set(loaded)


def test_every_acknowledged_delivery_is_loaded_once(
    receiver_start: Start, bucket: Bucket, way: Way, tmp_path: Path
) -> None:
    acknowledged = killed_again_and_again(receiver_start, bucket, way, tmp_path)
    assert len(acknowledged) > 500
    assert not lost(acknowledged, bucket, tmp_path)


def test_a_receiver_that_notes_before_it_ships_is_caught(
    receiver_start: Start, bucket: Bucket, way: Way, tmp_path: Path
) -> None:
    acknowledged = killed_again_and_again(receiver_start, bucket, way, tmp_path, BROKEN)
    assert lost(acknowledged, bucket, tmp_path)
