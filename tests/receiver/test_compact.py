"""Many small segments of a day that is over become few: every record stays as it is, and every segment is known."""

from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from receiver import rawstore
from receiver.rawstore import Delivery, Erased, Found, Landed, Stamps, compress

DAY = date(2026, 5, 4)
NEXT = DAY + timedelta(days=1)


def record(number: int) -> Delivery:
    return rawstore.delivery(*Stamps().next(), "lender_a", b'{"visitID":%d}' % number)


def store(raw: Path, segments: int = 40, each: int = 3) -> list[Path]:
    folder = raw / f"{rawstore.PARTITION}{DAY}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(segments):
        paths.append(folder / f"{number:02}.jsonl")
        paths[-1].write_bytes(b"".join(rawstore.encode(record(each * number + at)) for at in range(each)))
    return paths


def found(raw: Path) -> list[Found]:
    return [each for path in rawstore.closed(raw).values() for each in rawstore.read_segment(path)]


def bodies(raw: Path) -> list[Delivery]:
    return [each.delivery for each in found(raw) if isinstance(each, Landed)]


def test_small_segments_become_one_that_lists_them(tmp_path: Path) -> None:
    names = [rawstore.identity(path) for path in store(tmp_path)]
    before = bodies(tmp_path)
    rawstore.compress_before(tmp_path, NEXT)
    ((name, path),) = rawstore.closed(tmp_path).items()
    assert name.endswith("-c")
    assert rawstore.is_compacted(path)
    assert [(part.name, part.lines) for part in rawstore.parts_of(path)] == [(name, 3) for name in names]
    assert bodies(tmp_path) == before
    pattern = f"{tmp_path}/received_date=*/*.json*[lt]"
    assert duckdb.execute(f"select count(*) from read_json('{pattern}')").fetchone() == (120,)


def test_a_segment_is_known_by_those_that_it_was_put_together_of(tmp_path: Path) -> None:
    keys = {rawstore.key(path) for path in store(tmp_path)}
    rawstore.compress_before(tmp_path, NEXT)
    (path,) = rawstore.closed(tmp_path).values()
    assert rawstore.is_among(path, keys)
    assert not rawstore.is_among(path, keys - {next(iter(keys))})
    assert rawstore.is_among(path, {rawstore.key(path)})


def test_what_is_not_taken_yet_and_what_is_of_today_keeps_its_name(tmp_path: Path) -> None:
    paths = store(tmp_path)
    rawstore.compress_before(tmp_path, DAY)
    assert list(rawstore.closed(tmp_path).values()) == paths
    rawstore.compress_before(tmp_path, NEXT, lambda path: path != paths[7])
    assert len(rawstore.closed(tmp_path)) == 2
    assert paths[7].exists()


def test_few_segments_of_a_day_keep_their_names(tmp_path: Path) -> None:
    names = [rawstore.identity(path) for path in store(tmp_path, segments=5)]
    rawstore.compress_before(tmp_path, NEXT)
    assert list(rawstore.closed(tmp_path)) == names
    assert all(path.name.endswith(".zst") for path in rawstore.closed(tmp_path).values())


def test_small_compressed_segments_of_before_are_put_together_and_a_damaged_one_is_left_alone(tmp_path: Path) -> None:
    paths = [rawstore.compress_segment(path) for path in store(tmp_path)]
    damaged = bytearray(paths[3].read_bytes())
    damaged[-5] ^= 0x55
    paths[3].write_bytes(damaged)
    before = sorted(bodies(tmp_path), key=lambda record: record.delivery_id)
    rawstore.compress_before(tmp_path, NEXT)
    assert paths[3].exists()
    assert len(rawstore.closed(tmp_path)) == 2
    assert sorted(bodies(tmp_path), key=lambda record: record.delivery_id) == before


def test_parts_that_came_back_are_dropped_and_what_differs_is_set_aside(tmp_path: Path) -> None:
    paths = store(tmp_path)
    same, other = paths[0].read_bytes(), paths[1].read_bytes() + rawstore.encode(record(999))
    rawstore.compress_before(tmp_path, NEXT)
    paths[0].write_bytes(same)
    paths[1].write_bytes(other)
    rawstore.compress_before(tmp_path, NEXT)
    assert not paths[0].exists()
    assert [path.name for path in rawstore.set_aside_in(tmp_path)] == ["01.jsonl.aside"]
    assert len(bodies(tmp_path)) == 121


def test_erasing_in_a_compacted_segment_keeps_its_list(tmp_path: Path) -> None:
    store(tmp_path)
    rawstore.compress_before(tmp_path, NEXT)
    (path,) = rawstore.closed(tmp_path).values()
    parts = rawstore.parts_of(path)
    gone = bodies(tmp_path)[50]
    assert rawstore.erase_records(path, lambda record: record == gone) == 1
    assert rawstore.parts_of(path) == parts
    assert sum(isinstance(each, Erased) for each in found(tmp_path)) == 1
    assert gone.body.encode() not in path.read_bytes()


def test_compacting_that_dies_before_it_drops_the_parts_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path)
    before = bodies(tmp_path)

    def die(_folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compress, "sync_folder", die)
        with pytest.raises(KeyboardInterrupt):
            rawstore.compress_before(tmp_path, NEXT)
    assert len(rawstore.closed(tmp_path)) == 41
    rawstore.compress_before(tmp_path, NEXT)
    assert len(rawstore.closed(tmp_path)) == 1
    assert bodies(tmp_path) == before
    assert rawstore.set_aside_in(tmp_path) == []
