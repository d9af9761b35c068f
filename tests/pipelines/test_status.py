"""The status is one screen that tells whether a person is needed: the receiver, silence, waiting, disk."""

import json
import os
import shutil
import signal
import socket
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import duckdb
import pytest
from conftest import RunningReceiver
from kobra_home import Home, Post, encoded, kobra, loaded, small

from pipelines.operate.silence import Silence, silences

NOW = datetime(2026, 3, 4, 15, 20, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)


# ---------------------------------------------------------------- silence


def heard(*deliveries: tuple[str, datetime], until: datetime = NOW) -> dict[str | None, Silence]:
    """The silences by source, when these came."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'; attach ':memory:' as w; create schema w.kobra")
        connection.execute("create table w.kobra.deliveries (source varchar, received_at timestamptz)")
        if deliveries:
            connection.executemany("insert into w.kobra.deliveries values (?, ?)", deliveries)
        return {each.source: each for each in silences(connection, until)}


def every(step: timedelta, first: datetime, last: datetime, source: str = "a") -> list[tuple[str, datetime]]:
    return [(source, first + number * step) for number in range((last - first) // step + 1)]


def test_a_silence_that_never_was_at_this_weekday_and_hour_is_unusual() -> None:
    found = heard(*every(timedelta(minutes=10), NOW - 10 * WEEK, NOW - 2 * HOUR))["a"]
    assert (found.seconds, found.weeks, found.share, found.is_unusual) == (7200, 8, 0, True)


def test_the_same_silence_is_usual_where_this_hour_was_always_quiet() -> None:
    weekly = [(source, at - 3 * HOUR) for source, at in every(WEEK, NOW - 10 * WEEK, NOW)]
    found = heard(*weekly)["a"]
    assert (found.seconds, found.weeks, found.share, found.is_unusual) == (3 * 3600, 8, 0.5, False)


def test_a_few_weeks_are_not_enough_history() -> None:
    found = heard(*every(timedelta(minutes=10), NOW - 3 * WEEK, NOW - 2 * HOUR))["a"]
    assert (found.share, found.is_unusual) == (None, False)
    assert "not enough history" in found.told()


@pytest.mark.parametrize(("silent", "is_unusual"), [
    (timedelta(minutes=14), False), (timedelta(minutes=16), True), (timedelta(days=6), True),
    (timedelta(days=8), False),
])  # fmt: skip
def test_nobody_is_called_for_minutes_nor_for_a_source_that_left(silent: timedelta, is_unusual: bool) -> None:
    last = NOW - silent
    assert heard(*every(timedelta(minutes=10), last - 12 * WEEK, last))["a"].is_unusual is is_unusual


def test_a_source_that_falls_silent_is_seen_while_others_are_heard() -> None:
    found = heard(
        *every(timedelta(minutes=10), NOW - 10 * WEEK, NOW - 2 * HOUR),
        *every(timedelta(minutes=10), NOW - 10 * WEEK, NOW, "b"),
    )
    assert {source: each.is_unusual for source, each in found.items()} == {None: False, "a": True, "b": False}


def test_what_came_after_the_moment_up_to_which_all_is_loaded_does_not_count() -> None:
    found = heard(*every(timedelta(minutes=10), NOW - 10 * WEEK, NOW), until=NOW - HOUR)["a"]
    assert (found.seconds, found.is_unusual) == (0, False)
    assert heard() == {}


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_those_of_a_count_second_by_second(seed: int) -> None:
    random = Random(seed)
    times = sorted(NOW - timedelta(seconds=random.randrange(1200, 6_500_000)) for _ in range(300))
    silence = NOW - times[-1]
    weeks = [moment for moment in (NOW - number * WEEK for number in range(1, 9))
             if moment <= times[-1] and moment - HOUR / 2 - silence >= times[0]]  # fmt: skip
    quiet = 0
    for moment in weeks:
        for second in range(-1800, 1800):
            at = moment + timedelta(seconds=second + 0.5)
            quiet += at - times[bisect_right(times, at) - 1] >= silence
    found = heard(*(("a", at) for at in times))["a"]
    assert found.weeks == len(weeks) >= 4
    assert found.share == pytest.approx(quiet / (3600 * len(weeks)), abs=1e-3)


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Ten weeks of one busy weekday hour, and two hours of silence; another source that is fine."""
    now = datetime.now(UTC)
    times = [now - number * WEEK + minutes * timedelta(minutes=10)
             for number in range(11) for minutes in range(-24, 25) if number or minutes <= -12]  # fmt: skip
    posts = [Post(encoded(small(number)), at) for number, at in enumerate(times)]
    posts += [Post(encoded(small(number)), now - number * WEEK, "lender_b") for number in range(11)]
    return loaded(tmp_path_factory.mktemp("settled"), *posts)


def figures(home: Path, **environ: str) -> dict[str, object]:
    return json.loads(kobra(home, "status", "--json", **environ).stdout)


def test_status_exits_1_when_a_source_falls_silent_and_says_which(settled: Home) -> None:
    done = kobra(settled.path, "status")
    assert (done.returncode, done.stderr) == (1, "")
    (fault,) = [line for line in done.stdout.splitlines() if line.startswith("!")]
    assert fault.startswith("! no delivery from lender_a for 2 h, in the past 8 weeks none of this weekday's hour")


def test_status_is_one_screen(settled: Home) -> None:
    lines = kobra(settled.path, "status").stdout.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) < 160
    assert [line.split("  ")[0] for line in lines if not line.startswith((" ", "!"))] == [
        "receiver", "deliveries", "waiting", "published", "raw store", "disk",
    ]  # fmt: skip


def test_a_receiver_is_asked_where_one_is_configured(
    receiver: RunningReceiver, receiver_start: Callable[..., RunningReceiver]
) -> None:
    def state(**more: str) -> tuple[object, int]:
        url = f"http://127.0.0.1:{receiver.port}/"
        environ = {"KOBRA_RECEIVER_URL": url} | more
        return figures(receiver.home, **environ)["receiver"], kobra(receiver.home, "status", **environ).returncode

    assert state() == ("ready", 0)
    assert state(KOBRA_RECEIVER_URL="") == ("not_asked", 0)
    receiver.stop()
    assert state() == ("no_answer", 1)
    full = receiver_start(KOBRA_MIN_FREE_BYTES=str(1 << 60))
    assert state(KOBRA_RECEIVER_URL=f"http://127.0.0.1:{full.port}") == ("not_ready", 1)


def test_a_receiver_that_hangs_does_not_hang_the_status(receiver: RunningReceiver) -> None:
    os.killpg(receiver.process.pid, signal.SIGSTOP)
    try:
        done = kobra(receiver.home, "status", KOBRA_RECEIVER_URL=f"http://127.0.0.1:{receiver.port}")
    finally:
        os.killpg(receiver.process.pid, signal.SIGCONT)
    assert done.returncode == 1
    assert "! the receiver does not answer at" in done.stdout


@contextmanager
def stranger(answer: bytes) -> Iterator[str]:
    """Somebody else's server, for two requests."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            for _ in range(2):
                visitor, _ = door.accept()
                with visitor:
                    visitor.recv(4096)
                    visitor.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"220 mail ready\r\n",
])  # fmt: skip
def test_somebody_else_at_the_address_is_no_receiver(tmp_path: Path, answer: bytes) -> None:
    with stranger(answer) as url:
        assert figures(tmp_path, KOBRA_RECEIVER_URL=url)["receiver"] in {"no_receiver", "no_answer"}


@pytest.mark.parametrize("variable", [
    "KOBRA_RECEIVER_URL=127.0.0.1:8000", "KOBRA_RECEIVER_URL=ftp://here", "KOBRA_RECEIVER_URL=http://",
    "KOBRA_RECEIVER_URL=http://me:pw@here", "KOBRA_RECEIVER_URL=http://[", "KOBRA_RECEIVER_URL=http://h:99999",
    "KOBRA_MIN_FREE_BYTES=1G",
])  # fmt: skip
def test_a_setting_that_cannot_work_exits_2_in_one_sentence(tmp_path: Path, variable: str) -> None:
    name, _, value = variable.partition("=")
    done = kobra(tmp_path, "status", **{name: value})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert name in done.stderr


def test_the_floor_is_the_receivers_own(tmp_path: Path) -> None:
    assert figures(tmp_path, KOBRA_MIN_FREE_BYTES="4096")["free_floor_bytes"] == 4096
    done = kobra(tmp_path, "status", KOBRA_MIN_FREE_BYTES=str(1 << 60))
    assert done.returncode == 1
    assert "! the disk is nearly full" in done.stdout


def test_a_disk_without_room_to_publish(tmp_path: Path) -> None:
    working = tmp_path / "warehouse" / "working.duckdb"
    working.parent.mkdir()
    working.touch()
    assert "disk" not in "".join(figures(tmp_path)["faults"])
    os.truncate(working, shutil.disk_usage(tmp_path).total)  # takes no room itself
    assert "the disk has no room for publishing" in "".join(figures(tmp_path)["faults"])


def test_what_a_gone_receiver_left_half_open_waits(tmp_path: Path) -> None:
    home = loaded(tmp_path, small("1"))
    home.land(small("2"))
    (segment,) = [path for path in home.segments() if path.suffix == ".jsonl"]
    orphan = segment.rename(segment.with_name(segment.name + ".open"))
    os.utime(orphan, (1_600_000_000, 1_600_000_000))
    found = figures(tmp_path)
    assert (found["segments_waiting"], found["segments_open"]) == (1, 1)
    assert "over an hour" in str(found["faults"])


def test_the_published_file_is_complete_up_to_where_the_oldest_waiting_segment_began(tmp_path: Path) -> None:
    home = loaded(tmp_path, small("1"))
    assert figures(tmp_path)["behind_s"] == 0
    home.land(small("2"))
    (segment,) = [path for path in home.segments() if path.suffix == ".jsonl"]
    began = datetime.now(UTC) - 2 * HOUR
    segment.rename(segment.with_name(began.strftime("%Y%m%dT%H%M%S%fZ.jsonl")))
    found = figures(tmp_path)
    assert found["behind_s"] == pytest.approx(7200, abs=60)
    assert str(found["complete_until"])[:19] == f"{began:%Y-%m-%d %H:%M:%S}"
