"""The raw store: what was landed is read back whatever happened to its neighbours."""

import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from receiver import rawstore
from receiver.rawstore import Damage, Landed, Landing, Stamps, disk, read, segments, write

DAY = date(2026, 5, 4)
BODIES = [b'{"visitID":1}', b'{"client":"Jos\xe9"}', b'{"note":"a\\nb\xe2\x80\xa8"}\r\n', b""]


def lines(bodies: Sequence[bytes]) -> list[bytes]:
    stamps = Stamps()
    return [rawstore.encode(rawstore.delivery(*stamps.next(), "lender_a", body)) for body in bodies]


def segment(folder: Path, content: bytes) -> Path:
    path = folder / f"{rawstore.PARTITION}{DAY}" / "20260504T120000000000Z.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def frames_of(path: Path) -> list[int]:
    """Where the frames of a compressed segment begin."""
    with path.open("rb") as file:
        return [frame.at for frame in read.frames(file) if list(frame.texts())]


def found_in(path: Path) -> tuple[list[bytes], list[Damage]]:
    found = list(rawstore.read_segment(path))
    bodies = [each.delivery.exact_body() for each in found if isinstance(each, Landed)]
    return bodies, [each for each in found if isinstance(each, Damage)]


def test_every_body_comes_back_exactly(tmp_path: Path) -> None:
    store = Landing(tmp_path)
    every_byte = [bytes([number]) for number in range(256)]
    store.append(DAY, lines([*BODIES, *every_byte]))
    store.close()
    (path,) = rawstore.closed(tmp_path).values()
    assert found_in(path) == ([*BODIES, *every_byte], [])


def test_a_segment_cut_anywhere_loses_only_what_was_cut(tmp_path: Path) -> None:
    written = lines(BODIES)
    content = b"".join(written)
    ends = [sum(map(len, written[: number + 1])) for number in range(len(written))]
    for cut in range(len(content)):
        bodies, damage = found_in(segment(tmp_path, content[:cut]))
        whole = sum(end <= cut for end in ends)
        begins = ends[whole - 1] if whole else 0
        assert bodies == BODIES[:whole]
        assert [(each.offset, each.records) for each in damage] == ([(begins, 1)] if cut > begins else [])


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_a_flipped_byte_anywhere_loses_one_record_and_is_reported_once(tmp_path: Path, flip: int) -> None:
    written = lines(BODIES)
    content = b"".join(written)
    begins = [sum(map(len, written[:number])) for number in range(len(written))]
    for at in range(len(content)):
        flipped = content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]
        bodies, damage = found_in(segment(tmp_path, flipped))
        hit = max(number for number, begin in enumerate(begins) if begin <= at)
        assert bodies == BODIES[:hit] + BODIES[hit + 1 :], at
        assert [(each.offset, each.records) for each in damage] == [(begins[hit], 1)], at


def test_compressing_changes_nothing_for_readers(tmp_path: Path) -> None:
    path = segment(tmp_path, b"".join(lines(BODIES * 3000)))
    before = list(rawstore.read_segment(path))
    compressed = rawstore.compress_segment(path)
    assert list(rawstore.read_segment(compressed)) == before
    assert rawstore.identity(compressed) == rawstore.identity(path)
    assert not path.exists()


def test_damage_in_a_compressed_segment_stays_in_its_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "_FRAME_BYTES", 1000)
    bodies = [b'{"visitID":%d}' % number for number in range(100)]
    compressed = rawstore.compress_segment(segment(tmp_path, b"".join(lines(bodies))))
    content = compressed.read_bytes()
    starts = frames_of(compressed)
    assert len(starts) > 5
    at = (starts[2] + starts[3]) // 2
    compressed.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
    sound, damage = found_in(compressed)
    assert [each.offset for each in damage] == [starts[2]]
    assert len(sound) > 70
    assert sound == [body for body in bodies if body in sound]


def test_a_compressed_segment_that_was_cut_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "_FRAME_BYTES", 1000)
    compressed = rawstore.compress_segment(segment(tmp_path, b"".join(lines(BODIES * 20))))
    content = compressed.read_bytes()
    starts = frames_of(compressed)
    for cut in range(1, len(content)):
        compressed.write_bytes(content[:cut])
        _, damage = found_in(compressed)
        assert damage or cut in starts, cut


def test_recovery_closes_an_orphan_and_keeps_what_it_cuts(tmp_path: Path) -> None:
    whole = b"".join(lines(BODIES))
    path = segment(tmp_path, whole + b'{"crc32":"12')
    orphan = path.rename(path.with_name(path.name + ".open"))
    assert rawstore.recover(tmp_path) == [rawstore.Recovered(rawstore.identity(orphan), 12)]
    assert found_in(path) == (BODIES, [])
    assert path.with_name(rawstore.identity(path) + ".torn").read_bytes() == b'{"crc32":"12'
    assert rawstore.recover(tmp_path) == []


def test_a_recovery_that_fails_holds_nobody_up_and_is_made_good_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphans = []
    for day in (DAY, DAY + timedelta(days=1)):
        path = segment(tmp_path / f"of-{day}", b"".join(lines(BODIES)) + (b'{"crc' if day == DAY else b""))
        folder = tmp_path / f"{rawstore.PARTITION}{day}"
        folder.mkdir()
        orphans.append(path.rename(folder / f"{path.name}.open"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(write, "write_new", full)
        with pytest.raises(OSError, match="full"):
            rawstore.recover(tmp_path)
    assert [rawstore.is_orphan(path) for path in orphans] == [True, False]  # the whole one was closed all the same
    assert rawstore.recover(tmp_path) == [rawstore.Recovered(rawstore.identity(orphans[0]), 5)]


@pytest.mark.parametrize("stray", ["received_date=2026-11-23.tar", "received_date=2026-01-01.bak/x", "notes.txt"])
def test_files_that_others_put_there_disturb_nobody(tmp_path: Path, stray: str) -> None:
    for folder in (tmp_path, tmp_path / f"{rawstore.PARTITION}{DAY}"):
        (folder / stray).parent.mkdir(parents=True, exist_ok=True)
        (folder / stray).touch()
    store = Landing(tmp_path)
    store.append(DAY, lines(BODIES))
    store.close()
    (path,) = rawstore.closed(tmp_path).values()
    assert rawstore.identity(path)[:9] == f"{datetime.now(UTC):%Y%m%dT}"
    assert rawstore.recover(tmp_path) == []
    rawstore.compress_before(tmp_path, DAY + timedelta(days=1))


def test_recovery_leaves_a_segment_alone_while_it_is_written(tmp_path: Path) -> None:
    store = Landing(tmp_path)
    store.append(DAY, lines(BODIES))
    assert rawstore.recover(tmp_path) == []
    store.append(DAY, lines(BODIES))
    store.close()
    assert found_in(next(iter(rawstore.closed(tmp_path).values()))) == (BODIES * 2, [])


def test_recoveries_that_race_close_every_orphan_once(tmp_path: Path) -> None:
    folder = segment(tmp_path, b"").parent
    for number in range(30):
        (folder / f"20260504T12000001{number:04d}Z.jsonl.open").write_bytes(lines(BODIES[:1])[0] + b"torn")
    with ThreadPoolExecutor(8) as pool:
        rounds = [pool.submit(rawstore.recover, tmp_path) for _ in range(8)]
    recovered = [each for one in rounds for each in one.result()]
    assert len(recovered) == len({each.segment for each in recovered}) == 30
    assert len(rawstore.closed(tmp_path)) == 31
    assert rawstore.open_in(folder) == []


def failing_once(error: int) -> Callable[[int, Sequence[bytes]], int]:
    """Writes as always, except that the second time half is written and then comes the error."""
    honest, calls = disk.write_synced, iter(range(100))

    def write(fd: int, buffers: Sequence[bytes]) -> int:
        if next(calls) != 1:
            return honest(fd, buffers)
        half = b"".join(buffers)[: sum(map(len, buffers)) // 2]
        if not error:
            return os.write(fd, half)
        os.write(fd, half)
        raise OSError(error, os.strerror(error))

    return write


@pytest.mark.parametrize("error", [0, errno.EIO, errno.ENOSPC], ids=["short", "EIO", "ENOSPC"])
def test_after_a_failed_write_the_segment_is_poisoned_and_the_next_begins_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    monkeypatch.setattr(write, "write_synced", failing_once(error))
    store = Landing(tmp_path)
    store.append(DAY, lines(BODIES[:1]))
    with pytest.raises(OSError):  # noqa: PT011 - whichever it was
        store.append(DAY, lines(BODIES[1:2]))
    store.append(DAY, lines(BODIES[2:3]))
    store.close()
    rawstore.recover(tmp_path)
    kept = [found_in(path) for path in rawstore.closed(tmp_path).values()]
    assert kept == [(BODIES[:1], []), (BODIES[2:3], [])]


def test_a_disk_that_refuses_for_long_does_not_fill_with_empty_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int, _buffers: Sequence[bytes]) -> int:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(write, "write_synced", refuse)
    store = Landing(tmp_path)
    for _ in range(5):
        with pytest.raises(OSError, match="no"):
            store.append(DAY, lines(BODIES[:1]))
    assert list(tmp_path.glob("*/*")) == []


def test_what_is_written_is_synced_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fdatasync", "fsync"):
        honest = getattr(os, name)
        monkeypatch.setattr(os, name, lambda fd, honest=honest: calls.append("sync") or honest(fd))
    write = os.pwritev

    def pwritev(fd: int, buffers: Sequence[bytes], offset: int, flags: int) -> int:
        assert flags == os.RWF_DSYNC
        calls.append("sync")
        return write(fd, buffers, offset, flags)

    monkeypatch.setattr(os, "pwritev", pwritev)
    store = Landing(tmp_path)
    store.append(DAY, lines(BODIES))
    calls.clear()
    for _ in range(3):
        store.append(DAY, lines(BODIES))
    assert calls == ["sync"] * 3
    store.close()


def test_more_deliveries_than_one_system_call_takes_are_landed_together(tmp_path: Path) -> None:
    bodies = [b'{"visitID":%d}' % number for number in range(3000)]
    store = Landing(tmp_path)
    store.append(DAY, lines(bodies))
    store.close()
    assert found_in(next(iter(rawstore.closed(tmp_path).values()))) == (bodies, [])


def test_segments_close_by_size_by_age_and_at_the_change_of_the_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(write, "monotonic", lambda: now[0])
    store = Landing(tmp_path, max_bytes=500, max_age_s=60)
    for day in (DAY, DAY, DAY, DAY + timedelta(days=1)):
        store.append(day, lines([b'{"pad":"%b"}' % (b"x" * 300)]))
    now[0] += 61
    store.close_if_due()
    sizes = [len(found_in(path)[0]) for path in rawstore.closed(tmp_path).values()]
    assert sizes in ([2, 1, 1], [1, 1, 1, 1])
    assert [path.name for path in rawstore.partitions(tmp_path)] == [
        "received_date=2026-05-04",
        "received_date=2026-05-05",
    ]
    assert store.open_age_s == 0


def test_segment_names_never_run_backwards_even_when_the_clock_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [datetime(2026, 5, 4, 12, tzinfo=UTC)]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return clock[0]

    monkeypatch.setattr(segments, "datetime", Clock)
    store = Landing(tmp_path)
    for number in range(6):
        clock[0] -= timedelta(hours=1)
        store.append(DAY, lines([b'{"visitID":%d}' % number]))
        store.close()
    order = [found_in(path)[0] for path in rawstore.closed(tmp_path).values()]
    assert order == [[b'{"visitID":%d}' % number] for number in range(6)]
