"""Exports are whole, private, readable by others, and no text in them is ever a formula."""

import csv
import fcntl
import os
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from openpyxl import load_workbook
from openpyxl.utils.escape import unescape

from pipelines.publish import export as exporting
from pipelines.publish.export import Exported, ExportError, Form
from pipelines.publish.published import NothingPublishedError, attached
from pipelines.warehouse.home import Home

RISKY = [
    "=1+1", "+52 55 5555 0101", "-200", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1+1", "\u00a0=1", "\ufeff=1", "\0=1",
    "＝1+1", "=cmd|' /C calc'!A1", '=HYPERLINK("http://example.com","x")',
]  # fmt: skip
HARMLESS = [
    "", " ", "'", "Peña", '"quoted", and; more', "línea\notra",
    "http://example.com", "007", "1e5", "TRUE", "2026-02-16",
    "mail@example.com", "<r><t>x</t></r>x", "🙂", "_x0041_", "a\x0bb", "</t></is></c>",
]  # fmt: skip
RAW_XML = "<r></is></c><c><f>1+1</f></c></r>"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    home = Home(tmp_path / "what's at home")
    home.make_warehouse()
    path = home.published
    with duckdb.connect(str(path)) as connection:
        connection.execute("set timezone = 'UTC'; create schema marts; create schema kobra; create schema wide")
        connection.execute("create table kobra.visits as select 'v' as visit_id")
        connection.execute("""
            create table marts.visits as select * from (values
                ('a', '1', 1, 1.5::decimal(18,2), -2.5::double, true, date '2026-02-16', time '08:30:00',
                 timestamp '2026-02-16 08:30:00', timestamptz '2026-02-16 14:30:00.25+00', '{"a":1}'::json),
                ('b', '=2', -2, -3::decimal(18,2), null, false, date '0026-02-16', null, null, null, '-1'::json),
                (null, null, null, null, null, null, null, null, null, null, null)
            ) as t(source, visit_id, versions, amount, lat, is_promise, local_date, slot, start_local, received_at, x)
        """)
        connection.execute("create table marts.legs (a integer)")
        connection.execute('create table wide.product_1 ("=cmd" varchar, "select" varchar, "a ""b""" varchar)')
        connection.execute("insert into wide.product_1 values ('x', 'y', 'z')")
    return path


def export(published: Path, *how: Any) -> list[Exported]:
    return exporting.export(partial(attached, Home(published.parent.parent)), *how)


def texts(path: Path, values: Sequence[str]) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table marts.texts (n integer, t varchar)")
        connection.executemany("insert into marts.texts values (?, ?)", list(enumerate(values)))


def read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.reader(lines))


def read_xlsx(path: Path) -> list[tuple[Any, ...]]:
    """The cells; openpyxl leaves to us what stands for a control character."""
    rows = load_workbook(path).worksheets[0].iter_rows(values_only=True)
    return [tuple(unescape(cell) if isinstance(cell, str) else cell for cell in row) for row in rows]


def test_all_marts_are_exported_when_none_is_named(published: Path, tmp_path: Path) -> None:
    to = tmp_path / "new" / "out"
    assert export(published, [], to, "parquet") == [
        Exported(to / "legs.parquet", "marts.legs", 0),
        Exported(to / "visits.parquet", "marts.visits", 3),
    ]
    assert sorted(path.name for path in to.iterdir()) == ["legs.parquet", "visits.parquet"]


@pytest.mark.parametrize("form", exporting.FORMS)
def test_files_are_for_their_owner_alone(published: Path, tmp_path: Path, form: Form) -> None:
    to = tmp_path / "out"
    before = os.umask(0o022)
    try:
        export(published, ["visits"], to, form)
        if form != "xlsx":
            export(published, ["visits"], to, form, ["source"])
    finally:
        os.umask(before)
    modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in [to, *to.rglob("*")]}
    assert modes == {(True, 0o700), (False, 0o600)}


def test_a_table_of_another_schema_is_named_with_it(published: Path, tmp_path: Path) -> None:
    done = export(published, ["kobra.visits", "marts.visits", "visits"], tmp_path, "csv")
    assert [each.path.name for each in done] == ["kobra.visits.csv", "visits.csv"]


def test_parquet_holds_what_the_table_holds(published: Path, tmp_path: Path) -> None:
    (done,) = export(published, ["visits"], tmp_path, "parquet")
    with duckdb.connect(str(published), read_only=True) as connection:
        there = connection.execute("describe marts.visits").fetchall()
        assert connection.execute(f"describe from '{done.path}'").fetchall() == there
        differ = (
            f"(from marts.visits except from '{done.path}') union all (from '{done.path}' except from marts.visits)"
        )
        assert connection.execute(differ).fetchall() == []


def test_csv_reads_back_in_excel_and_elsewhere(published: Path, tmp_path: Path) -> None:
    (done,) = export(published, ["visits"], tmp_path, "csv")
    assert done.path.read_bytes().startswith(b"\xef\xbb\xbfsource,visit_id,")
    header, *rows = read_csv(done.path)
    assert header[-2:] == ["received_at", "x"]
    assert rows == [
        ["a", "1", "1", "1.50", "-2.5", "true", "2026-02-16", "08:30:00", "2026-02-16 08:30:00",
         "2026-02-16 14:30:00.25Z", '{"a":1}'],
        ["b", "'=2", "-2", "-3.00", "", "false", "0026-02-16", "", "", "", "'-1"],
        [""] * 11,
    ]  # fmt: skip
    with duckdb.connect() as connection:
        types = connection.execute(f"select typeof(received_at), typeof(start_local) from '{done.path}'").fetchone()
    assert types == ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP")


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_no_text_begins_like_a_formula(published: Path, tmp_path: Path, form: Form) -> None:
    texts(published, [*RISKY, *HARMLESS])
    (done,) = export(published, ["texts"], tmp_path, form)
    rows = read_csv(done.path) if form == "csv" else read_xlsx(done.path)
    cells = {int(row[0]): row[1] for row in rows[1:]}
    assert [cells[number] for number in range(len(RISKY))] == [f"'{text}" for text in RISKY]
    found = [cells[number] or "" for number in range(len(RISKY), len(RISKY) + len(HARMLESS))]
    assert found == HARMLESS


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_nor_does_a_header(published: Path, tmp_path: Path, form: Form) -> None:
    (done,) = export(published, ["wide.product_1"], tmp_path, form)
    rows = read_csv(done.path) if form == "csv" else read_xlsx(done.path)
    assert [list(row) for row in rows] == [["'=cmd", "select", 'a "b"'], ["x", "y", "z"]]


def test_no_text_gets_into_the_xml_of_a_sheet(published: Path, tmp_path: Path) -> None:
    texts(published, [RAW_XML])
    (done,) = export(published, ["texts"], tmp_path, "xlsx")
    assert read_xlsx(done.path) == [("n", "t"), (0, f"'{RAW_XML}")]


def test_xlsx_holds_real_numbers_dates_and_truth_values(published: Path, tmp_path: Path) -> None:
    (done,) = export(published, ["visits"], tmp_path, "xlsx")
    header, first, second = read_xlsx(done.path)  # the third row has no cell at all
    assert header[-2:] == ("received_at (UTC)", "x")
    assert first == ("a", "1", 1, 1.5, -2.5, True, datetime(2026, 2, 16), time(8, 30), datetime(2026, 2, 16, 8, 30),
                     datetime(2026, 2, 16, 14, 30, 0, 250000), '{"a":1}')  # fmt: skip
    assert second[:7] == ("b", "'=2", -2, -3, None, False, "0026-02-16")
    assert done.rows == 3
    assert load_workbook(done.path).sheetnames == ["visits"]


def test_xlsx_keeps_what_excel_cannot_hold(published: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(published)) as connection:
        connection.execute("""create table marts.odd as select 12345678901234567 as i, 'nan'::double as d,
            123456789012345.6789::decimal(19,4) as m, date '1899-12-31' as old, date '20000-01-01' as far,
            timestamp '20000-01-01 01:00:00' as later, '-infinity'::double as low, [1, 2] as list,
            100000000000000000 as round
        """)
    (done,) = export(published, ["odd"], tmp_path, "xlsx")
    assert read_xlsx(done.path)[1] == (
        "12345678901234567", "nan", "123456789012345.6789", "1899-12-31", "20000-01-01", "20000-01-01 01:00:00",
        "-inf", "[1, 2]", 10**17,
    )  # fmt: skip


def test_a_cell_too_long_for_excel_is_cut_and_says_so(published: Path, tmp_path: Path) -> None:
    texts(published, ["x" * 32_767, "y" * 32_768, "🙂" * 16_384])
    (done,) = export(published, ["texts"], tmp_path, "xlsx")
    assert done.cut == 2
    whole, *cut = [row[1] for row in read_xlsx(done.path)[1:]]
    assert whole == "x" * 32_767
    assert [text[-26:] for text in cut] == [f"{x} [cut: 32,768 characters]"[-26:] for x in "y🙂"]
    assert all(len(text.encode("utf-16-le")) // 2 in (32_766, 32_767) for text in cut)


def test_a_table_too_long_for_a_sheet_is_refused_with_what_helps(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_XLSX_ROWS", 2)
    with pytest.raises(ExportError, match="export CSV or Parquet"):
        export(published, [], tmp_path / "out", "xlsx")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["visits", "a" * 40, "History", "a[b]:*?/\\c", "'quoted'", "''"])
def test_every_sheet_has_a_name_that_excel_takes(name: str) -> None:
    sheet = exporting._sheet_name(name)
    assert 0 < len(sheet) <= 31
    assert not set(sheet) & set("[]:*?/\\")
    assert not sheet.startswith("'")
    assert not sheet.endswith("'")
    assert sheet.lower() != "history"


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_partitions_are_folders_and_stale_ones_go(published: Path, tmp_path: Path, form: Form) -> None:
    with duckdb.connect(str(published)) as connection:
        connection.execute("""update marts.visits set source = '../=ñ/ x' where source = 'b'""")
    (done,) = export(published, ["visits"], tmp_path / "out", form, ["source", "local_date"])
    assert (done.path, done.rows) == (tmp_path / "out" / "visits", 3)
    parts = {path.name for path in done.path.iterdir()}
    assert parts == {"source=a", "source=..%2F%3D%C3%B1%2F%20x", "source=__HIVE_DEFAULT_PARTITION__"}
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"select source, versions from read_{form}('{done.path}/**/*.{form}', hive_partitioning = true)"
            " order by all"
        ).fetchall()
    assert rows == [("../=ñ/ x", -2), ("a", 1), (None, None)]
    if form == "csv":
        assert all(path.read_bytes().startswith(b"\xef\xbb\xbfvisit_id") for path in done.path.rglob("*.csv"))
    with duckdb.connect(str(published)) as connection:
        connection.execute("delete from marts.visits where source is distinct from 'a'")
    export(published, ["visits"], tmp_path / "out", form, ["source"])
    assert {path.name for path in done.path.iterdir()} == {"source=a"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["visits"]


def test_a_table_without_rows_has_a_folder_without_partitions(published: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(published)) as connection:
        connection.execute("delete from marts.visits")
    (done,) = export(published, ["visits"], tmp_path / "out", "csv", ["source"])
    assert (done.rows, list(done.path.iterdir())) == (0, [])


def test_an_export_takes_the_place_of_its_predecessor_and_of_nothing_else(published: Path, tmp_path: Path) -> None:
    for name in ("visits.xlsx", "visits.csv", "notes.txt"):
        (tmp_path / name).write_text("mine")
    export(published, ["visits"], tmp_path, "csv")
    assert [(tmp_path / name).read_text() for name in ("visits.xlsx", "notes.txt")] == ["mine", "mine"]
    assert len(read_csv(tmp_path / "visits.csv")) == 4


@pytest.mark.parametrize("others", ["notes.txt", "source=a/notes.txt", "source=a/data_0.parquet"])
def test_a_folder_with_other_things_in_it_is_not_replaced(published: Path, tmp_path: Path, others: str) -> None:
    mine = tmp_path / "visits" / others
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ExportError, match="holds other things"):
        export(published, ["visits"], tmp_path, "csv", ["source"])
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("form", exporting.FORMS)
def test_an_export_that_is_cut_short_leaves_the_last_one_as_it_was(
    published: Path, tmp_path: Path, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "out"
    export(published, [], to, form)
    before = {path.name: path.read_bytes() for path in to.iterdir()}
    with duckdb.connect(str(published)) as connection:
        connection.execute("delete from marts.visits")
    (to / ".exporting").mkdir()  # of one that was killed
    (to / ".exporting" / f"visits.{form}").write_text("half")
    with monkeypatch.context() as broken:
        broken.setattr(exporting, "_settle", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export(published, [], to, form)
    assert {path.name: path.read_bytes() for path in to.iterdir()} == before
    export(published, [], to, form)
    assert {path.name for path in to.iterdir()} == before.keys()


def test_two_exports_into_one_folder_do_not_meet(published: Path, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(ExportError, match="another export is writing"):
            export(published, ["visits"], tmp_path, "csv")
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("tables", "form", "partition_by", "says"),
    [
        (["visitas"], "csv", [], "no table marts.visitas; there are: marts.legs, marts.visits, kobra.visits"),
        (["visits; drop table x"], "csv", [], "there is no table"),
        (["visits"], "xlsx", ["source"], "XLSX has one file per table"),
        (["visits"], "csv", ["agent"], "marts.visits has no column agent; its columns: source"),
        (["legs"], "csv", ["a"], "partition by some of the columns"),
        (["visits"], "csv", ["source", "source"], "partition by some of the columns"),
    ],
)
def test_what_cannot_be_exported_is_said(
    published: Path, tables: list[str], form: Form, partition_by: list[str], says: str
) -> None:
    to = published.with_name("out")
    with pytest.raises(ExportError, match=says):
        export(published, tables, to, form, partition_by)
    assert list(to.glob("*")) == []


def test_partitions_without_end_are_refused(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_PARTITIONS_MAX", 2)
    with pytest.raises(ExportError, match="3 partitions"):
        export(published, ["visits"], tmp_path, "csv", ["source"])
    texts(published, ["ñ" * 100])
    with pytest.raises(ExportError, match="too long for the name of a folder"):
        export(published, ["texts"], tmp_path, "csv", ["t"])


def test_without_a_published_file_there_is_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(NothingPublishedError):
        export(tmp_path / "no home" / "warehouse" / "analytics.duckdb", [], tmp_path / "out", "csv")
    assert not (tmp_path / "out").exists()


def test_the_published_file_is_only_read(published: Path, tmp_path: Path) -> None:
    before = published.read_bytes()
    with duckdb.connect(str(published), read_only=True):
        export(published, [], tmp_path / "out", "parquet")
    assert published.read_bytes() == before


def test_a_decimal_is_the_number_that_it_was(published: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(published)) as connection:
        connection.execute(
            "create table marts.money as select 12345678901.1234::decimal(18,4) as m, current_date as d"
        )
    (done,) = export(published, ["money"], tmp_path, "xlsx")
    number, day = read_xlsx(done.path)[1]
    assert Decimal(str(number)) == Decimal("12345678901.1234")
    assert isinstance(day, date)
