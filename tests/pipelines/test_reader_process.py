"""The process that reads segments may die at any moment: nothing of them may count as taken then."""

import io
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from kobra_home import Home, small

from pipelines import pages
from pipelines.warehouse import UnfinishedError, Warehouse


@pytest.fixture
def several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Two segments that are read by a process of its own, a page each."""
    monkeypatch.setattr(pages, "_ONE_PROCESS_BYTES", 0)
    home = Home(tmp_path)
    for segment in ("a", "b"):
        home.land(*(small(f"{segment}{number}") for number in range(20)))
    return home


def _sent(home: Home) -> bytes:
    stream = io.BytesIO()
    for part in pages.pages(home.segments()):
        pages._send(part, stream)
    return stream.getvalue()


def _reader(stream: bytes, code: int = 0) -> "subprocess.Popen[bytes]":
    script = f"import sys; sys.stdout.buffer.write({stream!r}); sys.exit({code})"
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)


def _received(stream: bytes, code: int = 0) -> list[pages.pa.Table | pages.Page]:
    with _reader(stream, code) as reader:
        assert reader.stdout
        return list(pages._received(reader, reader.stdout))


def test_what_was_sent_is_received(several: Home) -> None:
    received = _received(_sent(several))
    found = [part for part in received if isinstance(part, pages.Page)]
    assert sum(part.num_rows for part in received if not isinstance(part, pages.Page)) == 40
    assert [page.deliveries for page in found] == [20, 20]
    assert [taken.segment for page in found for taken in page.segments] == [
        path.name.partition(".")[0] for path in several.segments()
    ]


def test_a_stream_cut_anywhere_is_never_taken_for_a_whole_one(several: Home) -> None:
    whole = _sent(several)
    page = whole[: whole.index(b"\n") + 1]
    for cut in (len(page), len(page) + 9, *range(len(page), len(whole) - 1, len(whole) // 40)):
        with pytest.raises((pages.ReadingError, OSError, ValueError)):
            _received(whole[:cut], code=1)


def test_a_reader_that_fails_after_its_last_page_fails_the_load(several: Home) -> None:
    with pytest.raises(pages.ReadingError):
        _received(_sent(several), code=1)


def test_a_load_whose_reader_died_is_made_good_and_not_published_before(
    several: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(several.path)
    received = pages._received

    def broken(reader: "subprocess.Popen[bytes]", stream: io.BufferedReader) -> object:
        yield from islice(received(reader, stream), 3)  # one page, and deliveries of the next
        raise pages.ReadingError("the process that reads the segments broke off")

    with monkeypatch.context() as patched:
        patched.setattr(pages, "_received", broken)
        with warehouse.lock(), pytest.raises(pages.ReadingError):
            warehouse.load()
    with warehouse.lock(), pytest.raises(UnfinishedError):
        warehouse.publish()
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
