"""Measure everybody in turn, several rounds, so that a slow minute of the machine hits all alike."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from benchmarks.receiver import contestants, disk, processes, traffic
from benchmarks.receiver.contestants import EVERYBODY, Bench, Contestant
from benchmarks.receiver.processes import UnavailableError
from benchmarks.receiver.traffic import Answered

ROOT = Path(__file__).parents[2]
HEADERS = {"api-key": traffic.KEY, "Content-Type": "application/json"}
IDLE_S, SETTLE_S, WATCH_S = 5.0, 1.0, 0.25


class Turn(NamedTuple):
    """One contestant, once: how busy others kept the cores and what the disk did just before, what it answered
    at each number of connections, and what it had stored at the end.

    `acknowledged` counts every 200 of the turn, `stored` is None where it cannot be seen from outside.
    """

    others_share: float
    floor: disk.Floor
    answered: dict[int, Answered]
    acknowledged: int
    stored: int | None


Round = dict[str, Turn]


class Standing(NamedTuple):
    """Our receiver without traffic: its share of one core, and seconds from spawn to the first 200."""

    idle_share: float
    start_s: float


class Contest(NamedTuple):
    """All that was measured: everybody's turn by name for every round, who could not be measured is missing.

    `unavailable` says by name why somebody was not, `ours` is None when ours was not.
    """

    rounds: list[Round]
    ours: Standing | None
    unavailable: dict[str, str]
    filesystem: str


def hold(seconds: float, rounds: int, peers_python: Path) -> Contest:
    """Measure. Takes about 13 times `seconds` a round and a minute; raises UnavailableError without a C compiler."""
    with _folder() as folder:
        generator, limit = traffic.compiled("traffic.c", folder), traffic.compiled("limit.c", folder)
        bench = Bench(generator, limit, peers_python, seconds)
        unavailable: dict[str, str] = {}
        held = [_round(bench, folder, number, unavailable) for number in range(rounds)]
        ours = None
        if contestants.OURS.name not in unavailable:
            _tell("ours, without traffic")
            ours = Standing(_idle_share(folder), _start_s(folder))
        return Contest(held, ours, unavailable, disk.filesystem(folder))


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder on the disk of the repository; others may pass through it, for PostgreSQL runs as another user."""
    (ROOT / "build").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-receiver-", dir=ROOT / "build"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _round(bench: Bench, folder: Path, number: int, unavailable: dict[str, str]) -> Round:
    turns = {}
    for contestant in EVERYBODY if number % 2 == 0 else reversed(EVERYBODY):
        if contestant.name in unavailable:
            continue
        _tell(f"round {number + 1}: {contestant.name}")
        try:
            turns[contestant.name] = _turn(bench, folder, contestant)
        except UnavailableError as why:
            unavailable[contestant.name] = str(why)
    return turns


def _turn(bench: Bench, folder: Path, contestant: Contestant) -> Turn:
    store = folder / "store"
    store.mkdir()
    try:
        others_share = processes.others_share(WATCH_S)
        floor = disk.floor(folder, traffic.BODY.read_bytes())
        with contestant.start(bench, store) as server:
            processes.post(server.port, traffic.PATH, HEADERS, traffic.BODY.read_bytes())
            answered = {
                connections: traffic.send(bench.generator, server.port, connections, bench.seconds)
                for connections in contestant.connections
            }
        acknowledged = 1 + sum(each.acknowledged for each in answered.values())
        stored = contestant.stored(store) if contestant.stored else None
        return Turn(others_share, floor, answered, acknowledged, stored)
    finally:
        shutil.rmtree(store)
        store.with_suffix(".log").unlink(missing_ok=True)


def _idle_share(folder: Path) -> float:
    """CPU seconds a second of a receiver that has taken one webhook and now waits."""
    with contestants.our_receiver(folder / "idle") as server:
        processes.post(server.port, traffic.PATH, HEADERS, traffic.BODY.read_bytes())
        sleep(SETTLE_S)
        before = processes.cpu_seconds(server.pid)
        sleep(IDLE_S)
        return (processes.cpu_seconds(server.pid) - before) / IDLE_S


def _start_s(folder: Path) -> float:
    """The second of two starts, on the store that the first one left."""
    took = 0.0
    for _ in range(2):
        began = monotonic()
        with contestants.our_receiver(folder / "start"):
            took = monotonic() - began
    return took


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        print(what, file=sys.stderr)
