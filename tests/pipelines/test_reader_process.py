"""The processes that read segments may die at any moment: nothing of them may count as taken then."""

import io
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest
from kobra_home import KOBRA, Home, Post, encoded, later, small

from pipelines import pages, readers
from pipelines.warehouse import UnfinishedError
from receiver import rawstore


@pytest.fixture
def several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Two segments that are read by processes of their own, a page each."""
    monkeypatch.setattr(readers, "_ONE_PROCESS_BYTES", 0)
    monkeypatch.setattr(pages, "PAGE_DELIVERIES", 1)
    home = Home(tmp_path)
    for segment in ("a", "b"):
        home.land(*(small(f"{segment}{number}") for number in range(20)))
    return home


def sent(home: Home) -> bytes:
    stream = io.BytesIO()
    readers._serve([f'"{path}"\n'.encode() for path in home.segments()], stream)
    return stream.getvalue()


def received(stream: bytes, segments: int) -> list[pa.Table | pages.Segment]:
    pipe = io.BytesIO(stream)
    return [part for _ in range(segments) for part in readers._received(pipe)]


def test_what_was_sent_is_received(several: Home) -> None:
    parts = received(sent(several), 2)
    assert sum(part.num_rows for part in parts if isinstance(part, pa.Table)) == 40
    taken = [(part.taken.segment, part.taken.lines) for part in parts if isinstance(part, pages.Segment)]
    assert taken == [(rawstore.identity(path), 20) for path in several.segments()]


def test_a_stream_cut_anywhere_is_never_taken_for_a_whole_one(several: Home) -> None:
    whole = sent(several)
    for cut in (0, 1, *range(9, len(whole) - 1, len(whole) // 40)):
        with pytest.raises((readers.ReadingError, OSError, ValueError)):
            received(whole[:cut], 2)


# dd keeps nothing back, and nobody else may keep the output open, or its end is not seen.
BREAKING_OFF = 'exec 3<&0; {python} "$@" <&3 | dd bs=1 count=CUT status=none & exec 3<&- >&-; wait'
BROKEN_OFF = (readers.ReadingError, OSError, ValueError)  # pyarrow's ArrowInvalid is a ValueError
DYING = {
    "before it began": ("exit 1", readers.ReadingError),
    "before it read": ("head -c 9 > /dev/null", readers.ReadingError),
    "within the first page": (BREAKING_OFF.replace("CUT", "{within_first}"), BROKEN_OFF),
    "within the second page": (BREAKING_OFF.replace("CUT", "{within_second}"), BROKEN_OFF),
    "after all": ('{python} "$@"; exit 1', readers.ReadingError),
}


@pytest.mark.parametrize(("script", "raised"), DYING.values(), ids=DYING.keys())
def test_a_load_whose_reader_died_is_made_good_and_not_published_before(
    several: Home,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: str,
    raised: type[BaseException] | tuple[type[BaseException], ...],
) -> None:
    dying = tmp_path / "python"
    whole = len(sent(several))  # two segments of the same size, a page each
    cuts = {"within_first": whole // 20, "within_second": whole * 3 // 4}
    dying.write_text("#!/bin/sh\n" + script.format(python=sys.executable, **cuts))
    dying.chmod(0o700)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(dying))
        patched.setattr(readers, "_MOST", 1)
        with several.warehouse.lock(), pytest.raises(raised):
            several.warehouse.load()
    with several.warehouse.lock(), pytest.raises(UnfinishedError):
        several.warehouse.publish()
    several.run()
    assert several.values("select count(*) from visits") == [40]
    assert several.values("select count(*) from deliveries") == [40]


def test_a_page_that_fails_says_so_while_the_next_one_is_being_read(
    several: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenError(Exception):
        pass

    def broken(*_: object, **__: object) -> None:
        raise BrokenError

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.flatten.stage", broken)
        with several.warehouse.lock(), pytest.raises(BrokenError):
            several.warehouse.load()
    several.run()
    assert several.values("select count(*) from visits") == [40]


def test_segments_of_any_size_copies_among_them_make_the_same_tables_wherever_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages come to their end in any order, and what stands in several segments is read by several processes."""
    tables = []
    for name, limit in (("here", 1 << 30), ("elsewhere", 0)):
        monkeypatch.setattr(readers, "_ONE_PROCESS_BYTES", limit)
        monkeypatch.setattr(pages, "PAGE_DELIVERIES", 30)
        home = Home(tmp_path / name)
        for number, size in enumerate((150, 1, 2, 40, 3, 90, 1, 25)):
            bodies = (small(f"{each}", comment=f"{each % 7}") for each in range(number, number + size))
            home.land(*(Post(encoded(body), later(seconds=1000 * number)) for body in bodies))
        largest = max(home.segments(), key=lambda path: path.stat().st_size)
        shutil.copy(largest, largest.with_name(f"20991231{largest.name[8:]}"))
        home.run()
        tables.append(
            [
                home.values("select (visit_id, comment, versions, content_hash) from visits order by all"),
                home.values("select (outcome, count(*)) from deliveries group by outcome order by all"),
                home.values("select count(*) from deliveries"),
                home.values("select (visit_id, deliveries) from visit_versions order by all"),
            ]
        )
    assert tables[0] == tables[1]
    assert tables[0][2] == [312]


def test_a_sandbox_that_forbids_other_priorities_forbids_no_load(several: Home) -> None:
    """As systemd does with `SystemCallFilter=~@resources`."""
    forbid = """
        import ctypes, os, struct, sys
        number = {"x86_64": 141, "aarch64": 140}[os.uname().machine]
        steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
        filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
        program = ctypes.create_string_buffer(struct.pack("HL", len(steps), ctypes.addressof(filters)))
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        assert prctl(38, 1, 0, 0, 0) == 0  # no new privileges
        assert prctl(22, 2, program, 0, 0) == 0  # a filter of system calls
        try:
            os.nice(1)
        except PermissionError:
            os.execv(sys.argv[1], [sys.argv[1], "load"])
    """
    several.land(small("big", comment="x" * (9 << 20)))  # that processes of their own read
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(forbid), str(KOBRA)],
        env=os.environ | {"KOBRA_HOME": str(several.path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    several.run()
    assert several.values("select count(*) from visits") == [41]
