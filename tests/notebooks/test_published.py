"""The published file as notebooks open it: read-only, closed to everything else, one moment at a time."""

import shutil
from pathlib import Path

import duckdb
import pytest

from notebooks import published, sheets
from notebooks.published import NothingPublishedError, Published
from notebooks.ratios import low95
from pipelines.publish import export


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "analytics.duckdb"
    write(path, "old")
    return path


def write(path: Path, name: str) -> None:
    """Publish a file of this one visit as `kobra run` does: aside, then by rename."""
    aside = path.with_name("aside.duckdb")
    with duckdb.connect(str(aside)) as connection:
        connection.execute("create schema marts; create schema kobra")
        connection.execute(f"create table marts.visits as select '{name}' as visit_id")
        connection.execute("comment on column marts.visits.visit_id is 'Which.'")
    aside.rename(path)


def test_a_file_is_neither_written_nor_left(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a\n1\n")
    for query in (
        "delete from visits",
        f"from read_csv('{tmp_path}/other.csv')",
        f"copy visits to '{tmp_path}/out.csv'",
        f"attach '{tmp_path}/new.duckdb'",
        "set enable_external_access = true",
        "install httpfs",
    ):
        with published.connect(file) as connection, pytest.raises(duckdb.Error):
            connection.execute(query)


def test_a_file_that_is_open_can_be_written_by_others(file: Path) -> None:
    snapshot = Published(file).now()
    write(file, "new")
    assert snapshot.rows("select visit_id from visits") == [{"visit_id": "old"}]


def test_a_new_file_is_opened_and_an_older_look_stays_as_it_is(file: Path) -> None:
    place = Published(file)
    before = place.now()
    assert place.now() is before
    write(file, "new")
    assert place.now().rows("select visit_id from visits") == [{"visit_id": "new"}]
    assert before.rows("select visit_id from visits") == [{"visit_id": "old"}]


def test_many_new_files_leave_nothing_open(file: Path) -> None:
    place = Published(file)
    for number in range(20):
        write(file, f"v{number}")
        assert place.now().row("select visit_id from visits") == {"visit_id": f"v{number}"}
    opened = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert [target for target in opened if str(file) in target] == []


def test_nothing_published_is_said(tmp_path: Path) -> None:
    place = Published(tmp_path / "analytics.duckdb")
    assert place.stamp() is None
    with pytest.raises(NothingPublishedError, match="kobra run"):
        place.now()


def test_definitions_are_the_comments_of_the_file(file: Path) -> None:
    assert Published(file).now().definitions == {("visits", "visit_id"): "Which."}


def test_the_rule_for_formulas_is_that_of_the_export() -> None:
    assert sheets._RISKY.pattern == export._RISKY_PYTHON.pattern


def test_what_is_written_for_spreadsheets_reads_back(tmp_path: Path) -> None:
    rows = [{"a": "=1+1", "b": -5, "c": None}, {"a": "Peña, «x»", "b": 1.5, "c": "l\n2"}]
    text = sheets.csv_bytes({"a": "Á", "b": "+B", "c": "c"}, rows)
    assert text.startswith(b"\xef\xbb\xbf")
    assert text.decode("utf-8-sig") == 'Á,\'+B,c\r\n\'=1+1,-5,\r\n"Peña, «x»",1.5,"l\n2"\r\n'


@pytest.mark.parametrize(
    ("hits", "tried", "low"), [(0, 10, 0.0), (5, 10, 0.236593), (30, 30, 0.886487), (0, 0, None)]
)
def test_the_lower_bound_is_wilsons(hits: int, tried: int, low: float | None) -> None:
    found = duckdb.execute(f"select {low95('k - 0', 'n')} from (select {hits} as k, {tried} as n)").fetchone()
    assert found is not None
    assert found[0] == (None if low is None else pytest.approx(low, abs=1e-6))


def test_a_home_may_have_a_quote_in_its_name(file: Path, tmp_path: Path) -> None:
    (odd := tmp_path / "o'brien").mkdir()
    shutil.copy(file, odd / "analytics.duckdb")
    assert Published(odd / "analytics.duckdb").now().row("select visit_id from visits") == {"visit_id": "old"}
