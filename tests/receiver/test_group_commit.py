"""Group commit: one write and one sync for all that came together, and no answer before it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Event

import pytest

from receiver import rawstore
from receiver.group_commit import GroupCommit
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


def run(raw: Path, scene: Callable[[GroupCommit, Watched], Awaitable[None]]) -> Watched:
    """Play a scene with a group commit of its own; what the landing saw."""
    watched = Watched(raw)

    async def play() -> None:
        commits = GroupCommit(watched, Metrics(raw), min_free_bytes=0, max_age_s=60)
        await scene(commits, watched)
        await commits.close()

    asyncio.run(play())
    return watched


def store(commits: GroupCommit) -> Awaitable[bool]:
    return commits.store(delivery(), "stored")


def today(raw: Path) -> Path:
    return raw / f"{rawstore.PARTITION}{datetime.now(UTC).date()}"


def test_what_comes_in_one_turn_shares_one_batch_and_what_comes_meanwhile_the_next(tmp_path: Path) -> None:
    async def scene(commits: GroupCommit, watched: Watched) -> None:
        watched.permitted.clear()
        first = [commits.store(delivery(), "stored") for _ in range(5)]
        await asyncio.sleep(0.05)
        second = [commits.store(delivery(), "stored") for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(answer.done() for answer in first + second)
        watched.permitted.set()
        assert all(await asyncio.gather(*first, *second))

    assert [size for _, size in run(tmp_path, scene).batches] == [5, 3]


def test_a_batch_across_midnight_lands_in_both_days(tmp_path: Path) -> None:
    async def scene(commits: GroupCommit, _watched: Watched) -> None:
        times = ["2026-05-04T23:59:59.999999Z", "2026-05-05T00:00:00.000001Z"]
        await asyncio.gather(*(commits.store(delivery(time), "stored") for time in times))

    assert run(tmp_path, scene).batches == [(date(2026, 5, 4), 1), (date(2026, 5, 5), 1)]
    assert len(rawstore.closed(tmp_path)) == 2


@pytest.mark.parametrize("error", [OSError(5, "EIO"), ValueError("a fault of ours")])
def test_a_failed_batch_is_refused_as_a_whole_and_the_next_one_is_tried(tmp_path: Path, error: Exception) -> None:
    async def scene(commits: GroupCommit, watched: Watched) -> None:
        watched.error = error
        assert await asyncio.gather(*(store(commits) for _ in range(3))) == [False] * 3
        watched.error = None
        assert await store(commits)

    assert [size for _, size in run(tmp_path, scene).batches] == [3, 1]


def test_from_the_first_failure_on_it_is_not_ready_until_something_is_stored(tmp_path: Path) -> None:
    async def scene(commits: GroupCommit, watched: Watched) -> None:
        assert await commits.why_not_ready() is None
        watched.error = OSError(5, "EIO")
        assert not await store(commits)
        assert await commits.why_not_ready() == "EIO"
        watched.error = None
        assert await store(commits)
        assert await commits.why_not_ready() is None

    run(tmp_path, scene)


def test_readiness_comes_back_without_any_delivery(tmp_path: Path) -> None:
    async def scene(commits: GroupCommit, watched: Watched) -> None:
        watched.error = OSError(28, "full")
        assert not await store(commits)
        assert await commits.why_not_ready() == "ENOSPC"
        await asyncio.sleep(1.3)
        assert await commits.why_not_ready() is None

    run(tmp_path, scene)
    assert list(tmp_path.glob("*/*")) == []  # nothing stays of a try


def test_readiness_is_found_out_where_deliveries_go(tmp_path: Path) -> None:
    async def scene(commits: GroupCommit, _watched: Watched) -> None:
        today(tmp_path).write_text("in the way")  # for root, permissions are none
        assert await commits.why_not_ready() == "ENOTDIR"
        assert not await commits.store(delivery(datetime.now(UTC).isoformat()), "stored")
        await asyncio.sleep(1.3)
        assert await commits.why_not_ready() == "ENOTDIR"
        today(tmp_path).unlink()
        await asyncio.sleep(1.3)
        assert await commits.why_not_ready() is None

    run(tmp_path, scene)


def test_a_disk_that_does_not_answer_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.group_commit._PATIENCE_S", 0.1)

    async def scene(commits: GroupCommit, watched: Watched) -> None:
        watched.permitted.clear()
        answer = commits.store(delivery(), "stored")
        while not watched.batches:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.1)
        assert await commits.why_not_ready() == "ETIMEDOUT"
        watched.permitted.set()
        assert await answer
        assert await commits.why_not_ready() is None

    run(tmp_path, scene)


def test_a_client_that_was_given_up_does_not_spoil_its_batch(tmp_path: Path) -> None:
    async def scene(commits: GroupCommit, _watched: Watched) -> None:
        first, given_up, last = (commits.store(delivery(), "stored") for _ in range(3))
        given_up.cancel()
        assert await asyncio.gather(first, last) == [True, True]

    assert [size for _, size in run(tmp_path, scene).batches] == [3]


def test_it_works_for_one_event_loop_after_the_other(tmp_path: Path) -> None:
    commits = GroupCommit(Landing(tmp_path), Metrics(tmp_path), min_free_bytes=0, max_age_s=60)

    async def scene() -> bool:
        return await store(commits) and await commits.why_not_ready() is None

    assert [asyncio.run(scene()) for _ in range(3)] == [True] * 3
    asyncio.run(commits.close())
    assert len(rawstore.closed(tmp_path)) == 1
