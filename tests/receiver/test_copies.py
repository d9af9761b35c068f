"""Several files of one segment, and segments of one name: nothing hides or replaces anything."""

import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from receiver import rawstore
from receiver.rawstore import Delivery, Erased, Landed, Landing, Stamps

DAY = date(2026, 5, 4)


def records(count: int) -> list[Delivery]:
    stamps = Stamps()
    return [rawstore.delivery(*stamps.next(), "lender_a", b'{"visitID":%d}' % number) for number in range(count)]


def content(deliveries: Sequence[Delivery]) -> bytes:
    return b"".join(map(rawstore.encode, deliveries))


def put(raw: Path, name: str, deliveries: Sequence[Delivery], day: date = DAY) -> Path:
    folder = raw / f"{rawstore.PARTITION}{day}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content(deliveries))
    return path


def landed(raw: Path) -> list[str]:
    found = (each for path in rawstore.closed(raw).values() for each in rawstore.read_segment(path))
    return sorted(each.delivery.delivery_id for each in found if isinstance(each, Landed))


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return sorted(each.delivery_id for each in deliveries)


def settled(raw: Path) -> list[rawstore.Settled]:
    return list(rawstore.settle(raw))


# ---------------------------------------------------------------- names


def test_two_writers_that_begin_at_the_same_moment_never_share_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rawstore.segments, "clock_after", lambda _: "20260504T120000000000Z")
    monkeypatch.setattr(rawstore.write, "clock_after", lambda _: "20260504T120000000000Z")
    writers = [Landing(tmp_path) for _ in range(50)]
    for writer, record in zip(writers, records(50), strict=True):
        writer.append(DAY, [rawstore.encode(record)])
    names = [rawstore.identity(path) for path in rawstore.opened(tmp_path)]
    assert len(set(names)) == 50


def test_a_store_of_before_with_one_name_in_two_days_has_two_segments(tmp_path: Path) -> None:
    first, second = records(2)
    put(tmp_path, "20260504T120000000000Z.jsonl", [first])
    put(tmp_path, "20260504T120000000000Z.jsonl", [second], date(2026, 5, 3))
    assert landed(tmp_path) == ids([first, second])
    assert rawstore.closed(tmp_path).keys() == {"20260504T120000000000Z", "20260504T120000000000Z@2026-05-03"}
    (pair,) = rawstore.namesakes(rawstore.closed(tmp_path).values())
    assert len(pair) == 2


# ---------------------------------------------------------------- closing


def test_closing_never_replaces_a_closed_segment(tmp_path: Path) -> None:
    mine, theirs = records(2)
    writer = Landing(tmp_path)
    writer.append(DAY, [rawstore.encode(mine)])
    (path,) = rawstore.opened(tmp_path)
    put(tmp_path, path.name.removesuffix(".open"), [theirs])
    with pytest.raises(FileExistsError):
        writer.close()
    settled(tmp_path)
    assert landed(tmp_path) == ids([mine, theirs])


def test_compressing_never_replaces_a_compressed_segment(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", whole := records(100))
    compressed = rawstore.compress_segment(path)
    torn = put(tmp_path, "a.jsonl", whole[:25])
    with pytest.raises(FileExistsError):
        rawstore.compress_segment(torn)
    assert len(list(rawstore.read_segment(compressed))) == 100


# ---------------------------------------------------------------- copies


def test_a_torn_copy_beside_the_compressed_segment_is_set_aside_and_told(tmp_path: Path) -> None:
    whole = records(100)
    rawstore.compress_segment(put(tmp_path, "a.jsonl", whole))
    copy = put(tmp_path, "a.jsonl", whole[:25])
    ((told, aside, saved),) = settled(tmp_path)
    assert (told, aside.read_bytes(), saved) == (copy, content(whole[:25]), 0)
    assert landed(tmp_path) == ids(whole)
    assert settled(tmp_path) == []


def test_records_that_only_the_copy_holds_are_saved_once(tmp_path: Path) -> None:
    whole = records(100)
    rawstore.compress_segment(put(tmp_path, "a.jsonl", whole[:25]))
    put(tmp_path, "a.jsonl", whole)
    (told,) = settled(tmp_path)
    assert told.saved == 75
    put(tmp_path, "a.jsonl", whole)  # brought back once more
    (again,) = settled(tmp_path)
    assert (again.saved, again.aside.name) == (0, "a.jsonl.2.aside")
    assert landed(tmp_path) == ids(whole)


def test_what_a_copy_saves_of_a_damaged_segment_counts(tmp_path: Path) -> None:
    whole = records(2000)
    compressed = rawstore.compress_segment(put(tmp_path, "a.jsonl", whole))
    damaged = bytearray(compressed.read_bytes())
    damaged[len(damaged) // 2] ^= 0x55
    compressed.write_bytes(damaged)
    put(tmp_path, "a.jsonl", whole)
    assert settled(tmp_path)[0].saved > 0
    assert landed(tmp_path) == ids(whole)


def test_what_was_erased_stays_erased_whatever_comes_back(tmp_path: Path) -> None:
    whole = records(3)
    compressed = rawstore.compress_segment(put(tmp_path, "a.jsonl", whole))
    rawstore.erase_records(compressed, lambda record: record == whole[1])
    put(tmp_path, "a.jsonl", whole)
    (told,) = settled(tmp_path)
    assert landed(tmp_path) == ids([whole[0], whole[2]])
    assert whole[1].body.encode() not in told.aside.read_bytes()


def test_a_compression_that_was_cut_short_leaves_nothing_to_tell(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", whole := records(10))
    kept = path.read_bytes()
    rawstore.compress_segment(path)
    path.write_bytes(kept)
    assert settled(tmp_path) == []
    assert [path.name for path in rawstore.closed(tmp_path).values()] == ["a.jsonl.zst"]
    assert landed(tmp_path) == ids(whole)


def test_a_half_open_copy_is_settled_and_one_that_is_written_is_left_alone(tmp_path: Path) -> None:
    whole = records(4)
    put(tmp_path, "a.jsonl", whole[:2])
    put(tmp_path, "a.jsonl.open", whole)
    assert rawstore.recover(tmp_path) == []
    assert settled(tmp_path)[0].saved == 2
    writer = Landing(tmp_path)
    writer.append(DAY, [rawstore.encode(record) for record in whole])
    (open_one,) = rawstore.opened(tmp_path)
    put(tmp_path, open_one.name.removesuffix(".open"), whole[:1])
    assert settled(tmp_path) == []
    assert rawstore.opened(tmp_path) == [open_one]


def test_two_torn_ends_of_one_segment_are_both_kept(tmp_path: Path) -> None:
    record = records(1)
    for torn in (b'{"crc32":"1', b'{"crc32":"2'):
        path = put(tmp_path, "a.jsonl.open", record)
        path.write_bytes(path.read_bytes() + torn)
        rawstore.recover(tmp_path)
        (tmp_path / f"{rawstore.PARTITION}{DAY}" / "a.jsonl").unlink()
    kept = sorted(path.read_bytes() for path in tmp_path.glob("*/*.torn"))
    assert kept == [b'{"crc32":"1', b'{"crc32":"2']


def test_erasing_rewrites_the_file_behind_a_symbolic_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    path = put(tmp_path / "raw", "a.jsonl", whole := records(2))
    elsewhere.mkdir()
    shutil.move(path, elsewhere / "a.jsonl")
    path.symlink_to(elsewhere / "a.jsonl")
    assert rawstore.erase_records(path, lambda record: record == whole[0]) == 1
    assert path.is_symlink()
    assert whole[0].body.encode() not in (elsewhere / "a.jsonl").read_bytes()
    assert isinstance(next(iter(rawstore.read_segment(path))), Erased)
    assert [each.name for each in elsewhere.iterdir()] == ["a.jsonl"]
