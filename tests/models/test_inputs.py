"""Payments and accounts: what a row says is read; a row that cannot be used is listed with its line and reason."""

import os
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from pipelines.build import inputs
from pipelines.build.csv_file import CsvError
from pipelines.warehouse import database
from pipelines.warehouse.home import Home as Files
from pipelines.warehouse.lock import lock

PAYMENTS = "payment_id,external_id,paid_date,amount"
ACCOUNTS = "external_id,as_of_date"
FIX = "external_id,as_of_date,lat,lng"


REPEATED = "source, payment_id, external_id, paid_date, amount are those of an earlier row: delete one of the two"
NOT_TEXT = "the line is no text, or longer than 65,536 characters: write it anew"
QUOTE = (
    "a quotation mark is out of place: a cell in quotation marks ends with one, and one within it is written twice"
)
TOO_MANY = "there are more cells than columns: put text that holds the delimiter in quotation marks"


def blank(column: str) -> str:
    return f"{column} is blank: fill it in"


class Desk(NamedTuple):
    """Where a customer puts files, and the working file into which they go."""

    folder: Path
    connection: duckdb.DuckDBPyConnection

    def take(self, name: str, *lines: str, encoding: str = "utf-8", end: str = "\n") -> None:
        self.put(name, end.join([*lines, ""]).encode(encoding))

    def put(self, name: str, content: bytes) -> None:
        (self.folder / f"{name}.csv").write_bytes(content)
        inputs.write(self.connection, self.folder)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def values(self, column: str, table: str = "payments") -> list[Any]:
        return [value for (value,) in self.rows(f"select {column} from inputs.{table} order by line")]

    def rejects(self) -> list[tuple[int, str]]:
        return self.rows("select line, reason from inputs.rejects order by all")

    def told(self) -> list[tuple[int, str]]:
        """The line of each reject and what is wrong with it, without the remedy."""
        return [(line, reason.partition(":")[0]) for line, reason in self.rejects()]


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    files = Files(tmp_path_factory.mktemp("home"))
    with lock(files), database.working(files) as connection:
        yield connection


@pytest.fixture
def desk(tmp_path: Path, working: duckdb.DuckDBPyConnection) -> Desk:
    return Desk(tmp_path, working)


# ---------------------------------------------------------------- the tables


def test_without_files_every_table_is_there_and_empty(desk: Desk) -> None:
    inputs.write(desk.connection, desk.folder / "never made")
    assert desk.rows("from inputs.files order by name") == [("accounts", False, 0), ("payments", False, 0)]
    assert [desk.rows(f"from inputs.{name}") for name in ("payments", "accounts", "rejects")] == [[], [], []]


def test_the_tables_have_these_columns_whatever_the_files_have(desk: Desk) -> None:
    desk.take("payments", PAYMENTS)
    desk.take("accounts", ACCOUNTS)
    columns = "select column_name, data_type from duckdb_columns() where schema_name = 'inputs' and table_name = "
    assert desk.rows(f"{columns} 'payments'") == [
        ("line", "BIGINT"), ("payment_id", "VARCHAR"), ("external_id", "VARCHAR"), ("paid_date", "DATE"),
        ("amount", "DECIMAL(18,2)"), ("source", "VARCHAR"), ("currency", "VARCHAR"), ("channel", "VARCHAR"),
    ]  # fmt: skip
    assert desk.rows(f"{columns} 'accounts'") == [
        ("line", "BIGINT"), ("external_id", "VARCHAR"), ("as_of_date", "DATE"), ("source", "VARCHAR"),
        ("product_id", "INTEGER"), ("portfolio", "VARCHAR"), ("balance", "DECIMAL(18,2)"),
        ("past_due", "DECIMAL(18,2)"), ("days_past_due", "BIGINT"), ("lat", "DOUBLE"), ("lng", "DOUBLE"),
        ("agent_id", "VARCHAR"), ("assigned_on", "DATE"), ("currency", "VARCHAR"),
    ]  # fmt: skip
    assert desk.rows(f"{columns} 'files'") == [("name", "VARCHAR"), ("is_present", "BOOLEAN"), ("rows", "BIGINT")]
    assert desk.rows(f"{columns} 'rejects'") == [("file", "VARCHAR"), ("line", "BIGINT"), ("reason", "VARCHAR")]


def test_a_payment_is_read_with_all_that_it_says(desk: Desk) -> None:
    desk.take("payments", f"{PAYMENTS},source,currency,channel", "P1,00110,2026-03-01,1500.50,lender_a,MXN,OXXO")
    assert desk.rows("from inputs.payments") == [
        (2, "P1", "00110", date(2026, 3, 1), Decimal("1500.50"), "lender_a", "MXN", "OXXO")
    ]
    assert desk.rows("from inputs.files where name = 'payments'") == [("payments", True, 1)]


def test_an_account_is_read_with_all_that_it_says(desk: Desk) -> None:
    desk.take(
        "accounts",
        "currency,assigned_on,agent_id,lng,lat,days_past_due,past_due,balance,portfolio,product_id,source,as_of_date,"
        "external_id",
        'MXN,01/02/2026,A7,-99.1332,19.4326,45,"1,200.00","$98,000.10",auto,1,lender_a,2026-03-01,00110',
    )
    assert desk.rows("from inputs.accounts") == [
        (
            2, "00110", date(2026, 3, 1), "lender_a", 1, "auto", Decimal("98000.10"), Decimal("1200.00"), 45,
            19.4326, -99.1332, "A7", date(2026, 2, 1), "MXN",
        )
    ]  # fmt: skip
    assert desk.rejects() == []


def test_blank_cells_are_null_and_space_round_a_cell_is_no_part_of_it(desk: Desk) -> None:
    desk.take(
        "payments", " Payment_ID , EXTERNAL_ID,paid_date,amount ,channel", "  P1 ,\u00a0 110\t, 2026-03-01 , 5 ,  "
    )
    assert desk.rows("select payment_id, external_id, amount, channel, source from inputs.payments") == [
        ("P1", "110", Decimal(5), None, None)
    ]


def test_unknown_columns_are_ignored(desk: Desk) -> None:
    desk.take("payments", f"teller,{PAYMENTS},,note", "Eva,P1,110,2026-03-01,5,,x")
    assert desk.values("external_id") == ["110"]


def test_the_next_writing_replaces_the_last(desk: Desk) -> None:
    desk.take("payments", PAYMENTS, "P1,110,2026-03-01,5", "P2,110,x,5")
    desk.take("payments", PAYMENTS, "P3,110,2026-03-01,5")
    assert (desk.values("payment_id"), desk.rejects()) == (["P3"], [])
    (desk.folder / "payments.csv").unlink()
    inputs.write(desk.connection, desk.folder)
    assert desk.values("payment_id") == []


def test_a_file_that_cannot_be_read_leaves_the_tables_as_they_were(desk: Desk) -> None:
    desk.take("payments", PAYMENTS, "P1,110,2026-03-01,5")
    with pytest.raises(CsvError):
        desk.take("accounts", "portfolio", "auto")
    assert desk.values("payment_id") == ["P1"]
    assert desk.rows("select is_present from inputs.files where name = 'accounts'") == [(False,)]


def test_nothing_of_a_file_stays_behind_in_other_tables(desk: Desk) -> None:
    desk.take("payments", PAYMENTS, "P1,110,2026-03-01,5")
    assert desk.rows("select table_name from duckdb_tables() where temporary") == []


# ---------------------------------------------------------------- cells


@pytest.mark.parametrize("text", ["00110", "110", "9A1190V5974", "1e5", "1E11", "ñ-7", "12345678901234567890123"])
def test_an_account_id_stays_the_text_that_it_is(desk: Desk, text: str) -> None:
    desk.take("payments", PAYMENTS, f"P1,{text},2026-03-01,5")
    assert desk.values("external_id") == [text]


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("110105499609.0", "110105499609"), ("110.00", "110"), ("\u200b110\ufeff", "110"),
        ("1.10105499609E+11", "110105499609"),
        ('"1,10105499609E+11"', "110105499609"), ("1.5E+1", "15"), ('"=""00110"""', "00110"), ('="00110"', "00110"),
    ],
)  # fmt: skip
def test_an_account_id_of_which_excel_made_a_number_is_read_where_all_digits_are_there(
    desk: Desk, text: str, account: str
) -> None:
    desk.take("payments", PAYMENTS, f"P1,{text},2026-03-01,5")
    assert (desk.values("external_id"), desk.rejects()) == ([account], [])


@pytest.mark.parametrize(
    "text", ["1E+11", "1.10106E+11", '"1,10106E+11"', "1.1e+8", "1234567890123456.0", "#####", "#N/A", "#¡REF!"]
)
def test_a_payment_to_an_account_of_which_excel_lost_digits_is_listed_and_the_others_are_used(
    desk: Desk, text: str
) -> None:
    desk.take("payments", PAYMENTS, f"P1,{text},2026-03-01,5", "P2,110,2026-03-01,5")
    assert desk.values("payment_id") == ["P2"]
    assert desk.rejects() == [
        (
            2,
            "external_id is 1.10105E+11, ##### or the like, in which Excel hid or lost digits: format the column as "
            "text in Excel, and fill in its ids anew",
        )
    ]


def test_a_payment_whose_own_id_excel_spoilt_is_used_and_listed(desk: Desk) -> None:
    desk.take("payments", PAYMENTS, "7.00013E+11,110,2026-03-01,5", "7.00013E+11,110,2026-03-01,5")
    assert desk.rows("select payment_id, amount from inputs.payments") == [(None, 5), (None, 5)]
    assert [line for line, reason in desk.rejects() if reason.startswith("payment_id is 1.10105E+11")] == [2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-05", "05/03/2026", "5/3/2026", "05-03-2026", "2026-03-05 23:59:59", "2026-03-05T00:00",
        "2026-03-05 10:00:00.000", "05/03/2026 00:00", "5/3/2026 0:00:00", "05/03/2026 12:00 a. m.",
    ],
)  # fmt: skip
def test_a_date_reads_day_before_month_or_year_first(desk: Desk, text: str) -> None:
    desk.take("payments", PAYMENTS, f"P1,110,{text},5")
    assert desk.values("paid_date") == [date(2026, 3, 5)]


@pytest.mark.parametrize(
    "text",
    [
        "03/13/2026", "2026-02-30", "5-mar-2026", "46086", "2026-03-05T10:00:00Z", "0000-00-00", "ayer", "5/3-2026",
        "05/03/26", "1899-12-31", "2200-01-01", "05/03/2026 25:00",
    ],
)  # fmt: skip
def test_a_date_that_could_be_another_is_listed(desk: Desk, text: str) -> None:
    desk.take("payments", PAYMENTS, f"P1,110,{text},5", "P2,110,2026-03-05,5")
    assert desk.values("payment_id") == ["P2"]
    assert desk.rejects() == [(2, "paid_date is no date from 1900 to 2199: write it as 2026-11-21 or 21/11/2026")]


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1500", "1500"), ("1500.5", "1500.5"), ('"1,500.50"', "1500.5"), ('"$1,500.00"', "1500"),
        ('"MXN 1,500"', "1500"), ('"1,500.50 MXN"', "1500.5"), ('"MX$1,500"', "1500"), ("-200", "-200"),
        ('"-1,500.00"', "-1500"), ("-$20.10", "-20.1"), ('"$-1,500.00"', "-1500"), ('"(1,500.00)"', "-1500"),
        ('"($1,500.00)"', "-1500"), ('"$(1,500.00)"', "-1500"), ("(5)", "-5"), ("0", "0"), ("0.005", "0.01"),
    ],
)  # fmt: skip
def test_money_reads_with_separators_currency_and_a_minus_or_brackets_for_a_reversal(
    desk: Desk, text: str, amount: str
) -> None:
    desk.take("payments", PAYMENTS, f"P1,110,2026-03-01,{text}")
    assert desk.values("amount") == [Decimal(amount)]


@pytest.mark.parametrize(
    "text",
    [
        '"1.500,50"', '"12,5"', "1.500", "1e3", "mil", "--5", "+5", "(5", "5)", "-(5)", "5-", "-", "USD 5", "NaN",
        "9" * 17, "#####",
    ],
)  # fmt: skip
def test_money_that_could_mean_two_things_is_listed(desk: Desk, text: str) -> None:
    desk.take("payments", PAYMENTS, f"P1,110,2026-03-01,{text}")
    assert desk.values("amount") == []
    assert desk.rejects() == [(2, "amount is no amount, or could mean two: write it as 1500.50 or 1,500.50")]


def test_a_payment_needs_account_date_and_amount_and_every_one_that_lacks_is_listed(desk: Desk) -> None:
    desk.take(
        "payments", PAYMENTS, "P1,,2026-03-01,5", "P2,110,,5", "P3,110,2026-03-01,", "P4,,,x", ",110,2026-03-01,5"
    )
    assert desk.told() == [
        (2, "external_id is blank"), (3, "paid_date is blank"), (4, "amount is blank"),
        (5, "amount is no amount, or could mean two"), (5, "external_id is blank"), (5, "paid_date is blank"),
    ]  # fmt: skip
    assert desk.values("line") == [6]


def test_a_payment_that_is_there_twice_counts_once(desk: Desk) -> None:
    desk.take(
        "payments", f"{PAYMENTS},source",
        "P1,110,2026-03-01,x,a", "P1,110,2026-03-01,1000,a", "P1,110,2026-03-01,1000,b",
        'P1,110,01/03/2026,"$1,000.00",a', "P1,110,2026-03-01,1000,", "P1,110,2026-03-01,1000.00,",
        ",110,2026-03-01,6,a", ",110,2026-03-01,6,a",
    )  # fmt: skip
    assert desk.values("amount") == [1000, 1000, 1000, 6, 6]
    assert desk.rejects()[1:] == [(5, REPEATED), (7, REPEATED)]


def test_one_id_may_stand_for_a_reversal_another_day_and_another_account(desk: Desk) -> None:
    desk.take(
        "payments", PAYMENTS,
        "P1,110,2026-03-01,1000", "P1,110,2026-03-01,-1000", "P1,110,2026-03-02,1000", "P1,111,2026-03-01,1000",
        "p1,110,2026-03-01,1000",
    )  # fmt: skip
    assert desk.values("amount") == [1000, -1000, 1000, 1000, 1000]
    assert desk.rejects() == []


def test_a_cell_of_an_account_that_does_not_read_is_listed_and_the_row_is_used(desk: Desk) -> None:
    desk.take(
        "accounts", f"{FIX},balance,past_due,days_past_due,product_id,assigned_on",
        "110,2026-03-01,91,-99,mil,1e3,diez,uno,pronto", "111,2026-03-01,19.4,-99.1,-5,7,-3,2.0,2026-01-01",
    )  # fmt: skip
    columns = "balance, past_due, days_past_due, product_id, assigned_on, lat, lng"
    assert desk.rows(f"select external_id, {columns} from inputs.accounts order by line") == [
        ("110", None, None, None, None, None, None, None),
        ("111", Decimal(-5), Decimal(7), -3, 2, date(2026, 1, 1), 19.4, -99.1),
    ]
    assert desk.told() == [
        (2, "assigned_on is no date from 1900 to 2199"), (2, "balance is no amount, or could mean two"),
        (2, "days_past_due is no whole number"), (2, "lat is no coordinate"),
        (2, "past_due is no amount, or could mean two"), (2, "product_id is no whole number"),
    ]  # fmt: skip


def test_an_account_needs_its_id_and_the_date_that_it_stood_so(desk: Desk) -> None:
    desk.take("accounts", ACCOUNTS, ",2026-03-01", "110,", "110,hoy", "110,2026-03-01")
    assert desk.values("line", "accounts") == [5]
    assert desk.told() == [
        (2, "external_id is blank"), (3, "as_of_date is blank"), (4, "as_of_date is no date from 1900 to 2199")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "reasons"),
    [
        (",", []), ("0,0", []), ("0.0,-0.0", []), ("19.4,", ["lng is blank"]), (",-99.1", ["lat is blank"]),
        ("norte,-99.1", ["lat is no coordinate"]), ("19.4,-180.5", ["lng is no coordinate"]),
        ("inf,nan", ["lat is no coordinate", "lng is no coordinate"]),
    ],
)  # fmt: skip
def test_a_position_is_whole_or_none(desk: Desk, cells: str, reasons: list[str]) -> None:
    desk.take("accounts", FIX, f"110,2026-03-01,{cells}")
    assert desk.rows("select lat, lng from inputs.accounts") == [(None, None)]
    assert [reason for _, reason in desk.told()] == reasons


def test_a_position_on_the_equator_is_one(desk: Desk) -> None:
    desk.take("accounts", FIX, "110,2026-03-01,0,-78.5")
    assert desk.rows("select lat, lng from inputs.accounts") == [(0.0, -78.5)]


# ---------------------------------------------------------------- lines


def test_rows_with_cells_too_many_are_listed_and_the_others_used(desk: Desk) -> None:
    desk.take("payments", PAYMENTS, "P2,110,2026-03-01,5", "P3,110,2026-03-01,1,500", "x")
    assert desk.values("payment_id") == ["P2"]
    assert desk.rejects() == [
        (3, TOO_MANY), (4, blank("amount")), (4, blank("external_id")), (4, blank("paid_date")),
    ]  # fmt: skip
    assert desk.rows("select rows from inputs.files where name = 'payments'") == [(3,)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_cells_at_the_end_of_a_row_may_be_left_out_or_added_as_excel_does(desk: Desk, end: str) -> None:
    desk.take(
        "payments", f"{PAYMENTS},channel", "P1,550,2026-11-21,1500,oxxo", "P2,550,2026-11-22,1500",
        "P3,550,2026-11-23,1500,oxxo,,", "P4,550,2026-11-24", end=end,
    )  # fmt: skip
    assert desk.rows("select payment_id, channel from inputs.payments order by line") == [
        ("P1", "oxxo"), ("P2", None), ("P3", "oxxo")
    ]  # fmt: skip
    assert desk.rejects() == [(5, blank("amount"))]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_excels_own_first_line_names_the_delimiter(desk: Desk, first: str) -> None:
    desk.take("payments", first, PAYMENTS.replace(",", ";"), "P1;550;21/11/2026 00:00;1,500.00", "P2;550;x;1")
    assert desk.rows("select line, paid_date, amount from inputs.payments") == [(3, date(2026, 11, 21), 1500)]
    assert [line for line, _ in desk.rejects()] == [4]


def test_columns_are_found_however_their_names_are_spaced(desk: Desk) -> None:
    desk.take("payments", "Payment ID,External-Id,paidDate,AMOUNT", "P1,110,2026-03-01,5")
    assert desk.values("payment_id") == ["P1"]


def test_blank_rows_are_no_rows_but_count_as_lines(desk: Desk) -> None:
    desk.take("payments", "", PAYMENTS, "", "P1,110,2026-03-01,5", " , ,,", ",,", "P2,110,2026-03-01,x")
    assert (desk.values("line"), [line for line, _ in desk.rejects()]) == ([4], [7])
    assert desk.rows("select rows from inputs.files where name = 'payments'") == [(2,)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_cell_in_quotation_marks_may_hold_delimiters_marks_and_lines(desk: Desk, end: str) -> None:
    desk.take(
        "payments", f"{PAYMENTS},channel",
        '"P1", "110" ,2026-03-01,"1,500.00","a ""b"", c"',
        f'P2,110,2026-03-01,5,"two{end}{end}lines"',
        "P3,110,2026-03-01,x,",
        end=end,
    )  # fmt: skip
    assert desk.values("channel") == ['a "b", c', "two\n\nlines"]
    assert desk.values("line") == [2, 3]
    assert [line for line, _ in desk.rejects()] == [6]


def test_a_quotation_mark_within_a_cell_is_a_letter_like_others(desk: Desk) -> None:
    desk.take("payments", f"{PAYMENTS},channel", 'P1,110,2026-03-01,5,12" screen', "P2,110,2026-03-01,5,")
    assert desk.values("channel") == ['12" screen', None]


def test_a_quotation_mark_that_nothing_closes_costs_its_own_line_only(desk: Desk) -> None:
    good = [f"P{at},110,2026-03-01,5" for at in range(100, 110)]
    desk.take("payments", PAYMENTS, *good[:3], 'P1,"110,2026-03-01,5', *good[3:6], 'P2,"110,2026-03-01,5', *good[6:])
    assert desk.values("payment_id") == [line[:4] for line in good]
    assert desk.rejects() == [(5, QUOTE), (9, QUOTE)]


def test_a_quotation_mark_that_nothing_closes_costs_its_own_line_only_in_a_large_file(desk: Desk) -> None:
    good = [f"P{at},110,2026-03-01,5" for at in range(120_000)]
    desk.take("payments", PAYMENTS, 'x,"110,2026-03-01,5', *good, '"y,110,2026-03-01,5')
    assert desk.rows("select count(distinct payment_id) from inputs.payments") == [(120_000,)]
    assert desk.rejects() == [(2, QUOTE), (120_003, QUOTE)]


def test_rows_over_several_lines_keep_the_line_on_which_they_begin(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_BATCH", 2)
    lines = [f'P{at},"1\n1\n\n0",2026-03-01,{at}' for at in range(5)]
    desk.take("payments", PAYMENTS, *lines, "P6,é,2026-03-01,x")
    assert desk.values("external_id") == ["1\n1\n\n0"] * 5
    assert desk.values("line") == [2, 6, 10, 14, 18]
    assert [line for line, _ in desk.rejects()] == [22]
    assert desk.rows("select rows from inputs.files where name = 'payments'") == [(6,)]


def test_a_line_longer_than_any_row_is_listed_and_the_others_are_used(desk: Desk) -> None:
    desk.take("payments", PAYMENTS, f"P1,{'1' * 300_000},2026-03-01,5", "P2,110,2026-03-01,5")
    assert (desk.values("line"), desk.rejects()) == ([3], [(2, NOT_TEXT)])


def test_a_file_whose_last_line_has_no_end_is_read_to_its_end(desk: Desk) -> None:
    desk.put("payments", f"{PAYMENTS}\nP1,110,2026-03-01,5".encode())
    assert desk.values("payment_id") == ["P1"]


@pytest.mark.parametrize("delimiter", ",;\t")
def test_the_header_shows_the_delimiter(desk: Desk, delimiter: str) -> None:
    rows = (PAYMENTS.split(","), ("P1", "110", "2026-03-01", '"1,500.00"'))
    desk.take("payments", *(delimiter.join(row) for row in rows))
    assert desk.values("amount") == [Decimal(1500)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_accents_read_in_every_encoding_in_which_excel_saves(desk: Desk, encoding: str) -> None:
    desk.take("payments", f"{PAYMENTS},channel", "P1,Ñ-1,2026-03-01,5,depósito €", encoding=encoding)
    assert desk.rows("select external_id, channel from inputs.payments") == [("Ñ-1", "depósito €")]


def test_files_of_two_encodings_put_together_read_line_by_line(desk: Desk) -> None:
    line = "{},Ñ,2026-03-01,5\n"
    desk.put("payments", f"{PAYMENTS}\n{line.format('P1')}".encode() + line.format("P2").encode("cp1252"))
    assert desk.values("external_id") == ["Ñ", "Ñ"]


@pytest.mark.parametrize("bad", [b"\x81", b"\0"])
def test_a_line_with_bytes_that_are_no_text_is_listed_and_the_others_are_used(desk: Desk, bad: bytes) -> None:
    good = [f"P{at},110,2026-03-01,5\n".encode() for at in range(400)]  # so that the file begins as text
    desk.put("payments", PAYMENTS.encode() + b"\n" + b"".join(good) + b"X,1" + bad + b",2026-03-01,5\n")
    assert len(desk.values("line")) == 400
    assert desk.rejects() == [(402, NOT_TEXT)]


# ---------------------------------------------------------------- files that cannot be read


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "payments.csv line 1: this is no header"),
        (b"\n \n", "payments.csv line 1: this is no header"),
        (b"P1,Eva Luna,2026-03-01,5\n", "payments.csv line 1: this is no header"),
        (b"\npayment_id,external_id,amount\n", "payments.csv line 2: missing here: paid_date; the columns are"),
        (b"external_id,amount\n", "payments.csv line 1: missing here: payment_id, paid_date;"),
        (f"{PAYMENTS},Amount\n".encode(), "payments.csv line 1: the column amount is there twice"),
        (b"PK\x03\x04workbook", 'payments.csv line 1: this is not text: in Excel save it as "CSV UTF-8'),
        (b"sep=;", "payments.csv line 1: this is no header"),
        (b"x" * 300_000, "payments.csv line 1: this is not text"),
    ],
)
def test_a_file_that_is_no_such_file_is_refused_with_place_and_remedy(desk: Desk, content: bytes, says: str) -> None:
    with pytest.raises(CsvError) as refusal:
        desk.put("payments", content)
    assert str(refusal.value).startswith(says)
    assert "Eva" not in str(refusal.value)
    assert "xxx" not in str(refusal.value)


def test_a_folder_in_place_of_a_file_is_refused(desk: Desk) -> None:
    (desk.folder / "accounts.csv").mkdir()
    with pytest.raises(CsvError, match=r"^accounts\.csv cannot be opened"):
        inputs.write(desk.connection, desk.folder)


# ---------------------------------------------------------------- fingerprint


def replace_with_as_long_a_file(path: Path) -> None:
    times = path.stat().st_mtime_ns
    other = path.with_suffix(".new")
    other.write_text("y")
    os.utime(other, ns=(times, times))
    other.replace(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("longer"),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.unlink(),
        lambda path: path.rename(path.with_name("accounts.csv")),
        replace_with_as_long_a_file,
    ],
)
def test_the_fingerprint_tells_when_a_file_changed_came_or_went(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    path = tmp_path / "payments.csv"
    path.write_text("x")
    before = inputs.fingerprint(tmp_path)
    assert inputs.fingerprint(tmp_path) == before
    change(path)
    assert inputs.fingerprint(tmp_path) != before


def test_a_folder_that_is_not_there_has_the_fingerprint_of_an_empty_one(tmp_path: Path) -> None:
    assert inputs.fingerprint(tmp_path / "none") == inputs.fingerprint(tmp_path)
