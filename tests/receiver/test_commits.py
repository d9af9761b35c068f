"""Group commit: one write and one sync for all that came together, and no answer before it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path
from threading import Event

import pytest

from receiver import rawstore
from receiver.commits import Commits
from receiver.metrics import Metrics
from receiver.rawstore import Landing


class Watched(Landing):
    """A landing that notes its batches, waits for permission, and fails on request."""

    def __init__(self, raw: Path) -> None:
        super().__init__(raw)
        self.batches: list[tuple[date, int]] = []
        self.permitted = Event()
        self.permitted.set()
        self.error: Exception | None = None

    def append(self, day: date, lines: Sequence[bytes]) -> None:
        self.batches.append((day, len(lines)))
        self.permitted.wait()
        if self.error:
            raise self.error
        super().append(day, lines)


def delivery(received_at: str = "2026-05-04T12:00:00.000000Z") -> rawstore.Delivery:
    return rawstore.delivery("0" * 36, received_at, "lender_a", b"{}")


def run(raw: Path, scene: Callable[[Commits, Watched], Awaitable[None]]) -> Watched:
    """Play a scene with commits of their own; what the landing saw."""
    raw.mkdir(exist_ok=True)
    watched = Watched(raw)

    async def play() -> None:
        commits = Commits(watched, Metrics(raw), free_floor=0, max_age_s=60)
        await scene(commits, watched)
        await commits.close()

    asyncio.run(play())
    return watched


def land(commits: Commits, record: rawstore.Delivery) -> asyncio.Future[bool]:
    """What the commits say about a delivery, when they do."""
    said: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    commits.land(record, "stored", said.set_result)
    return said


def test_what_comes_in_one_turn_shares_one_batch_and_what_comes_meanwhile_the_next(tmp_path: Path) -> None:
    async def scene(commits: Commits, watched: Watched) -> None:
        watched.permitted.clear()
        first = [land(commits, delivery()) for _ in range(5)]
        await asyncio.sleep(0.05)
        second = [land(commits, delivery()) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(said.done() for said in first + second)
        watched.permitted.set()
        assert all(await asyncio.gather(*first, *second))

    assert [size for _, size in run(tmp_path, scene).batches] == [5, 3]


def test_a_batch_across_midnight_lands_in_both_days(tmp_path: Path) -> None:
    async def scene(commits: Commits, _watched: Watched) -> None:
        times = ["2026-05-04T23:59:59.999999Z", "2026-05-05T00:00:00.000001Z"]
        await asyncio.gather(*(land(commits, delivery(time)) for time in times))

    assert run(tmp_path, scene).batches == [(date(2026, 5, 4), 1), (date(2026, 5, 5), 1)]
    assert len(rawstore.closed(tmp_path)) == 2


@pytest.mark.parametrize("error", [OSError(5, "EIO"), ValueError("a fault of ours")])
def test_a_failed_batch_is_refused_as_a_whole_and_the_next_one_is_tried(tmp_path: Path, error: Exception) -> None:
    async def scene(commits: Commits, watched: Watched) -> None:
        watched.error = error
        assert await asyncio.gather(*(land(commits, delivery()) for _ in range(3))) == [False] * 3
        assert commits.trouble is None
        assert not await land(commits, delivery())
        assert commits.trouble
        watched.error = None
        assert await land(commits, delivery())
        assert commits.trouble is None

    run(tmp_path, scene)


def test_readiness_comes_back_without_any_delivery(tmp_path: Path) -> None:
    async def scene(commits: Commits, watched: Watched) -> None:
        watched.error = OSError(28, "full")
        assert not await land(commits, delivery())
        assert commits.trouble == "ENOSPC"
        await asyncio.sleep(1.3)
        assert commits.trouble is None

    run(tmp_path, scene)
    assert list(tmp_path.glob(".probe*")) == []


def test_an_answer_that_fails_does_not_spoil_its_batch(tmp_path: Path) -> None:
    def fail(_stored: bool) -> None:
        raise ValueError("a fault of ours")

    async def scene(commits: Commits, _watched: Watched) -> None:
        first = land(commits, delivery())
        commits.land(delivery(), "stored", fail)
        assert await asyncio.gather(first, land(commits, delivery())) == [True, True]

    assert [size for _, size in run(tmp_path, scene).batches] == [3]
