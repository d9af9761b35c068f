"""What a customer maps by editing CSV files: sound files are taken in whole, faults are named all at once."""

import csv
import io
import re
import stat
import time
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import BaseModel

from pipelines.build import mappings
from pipelines.build.mappings import CODES, FILES, ROLES, STARTING_SET, MappingError, Mappings
from pipelines.warehouse import database
from pipelines.warehouse.home import Home as Files
from pipelines.warehouse.lock import lock

ROLES_HEADER = "product_id,question_id,question_name,answer_name,role,value_type"
CODES_HEADER = "product_id,role,value,code"
SETTINGS_HEADER = "key,value,meaning"
CONTACT = "1,11,¿Contacto?,,contact_made,bool"


def put(folder: Path, name: str, *lines: str, encoding: str = "utf-8", end: str = "\n") -> Path:
    path = folder / f"{name}.csv"
    path.write_bytes(end.join([*lines, ""]).encode(encoding))
    return path


def faults(folder: Path) -> list[str]:
    """What is wrong with the files, a sentence each."""
    with pytest.raises(MappingError) as refusal:
        mappings.read(folder)
    return str(refusal.value).splitlines()


def fault(folder: Path) -> str:
    (only,) = faults(folder)
    return only


def spelt_out(name: str) -> dict[str, str]:
    """What the one dictionary in a file of sql/ says."""
    return dict(re.findall(r"'(\w+)': '(.+)'", (STARTING_SET.parent / name).read_text()))


def cells(rows: Iterable[BaseModel]) -> list[tuple[Any, ...]]:
    """What the rows hold, in the order of the tables."""
    return [(*row.model_dump(exclude={"line"}).values(), row.model_dump()["line"]) for row in rows]


def value_of(known: Mappings, key: str, source: str | None = None) -> str:
    (value,) = (row.value for row in known.settings if (row.key, row.source) == (key, source))
    return value


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    files = Files(tmp_path_factory.mktemp("home"))
    with lock(files), database.working(files) as connection:
        yield connection


# ---------------------------------------------------------------- the starting set


def test_without_files_of_the_customer_the_starting_set_holds(tmp_path: Path) -> None:
    known = mappings.read(tmp_path / "never made")
    assert known == mappings.read(tmp_path)
    assert {row.role for row in known.question_roles} == ROLES.keys()
    assert {row.role for row in known.answer_codes} == {role for role, kind in ROLES.items() if kind == "code"}
    for role, codes in CODES.items():
        assert {row.code for row in known.answer_codes if row.role == role} == codes
    assert value_of(known, "default_time_zone") == "America/Mexico_City"
    assert all(row.source is None for rows in (known.question_roles, known.settings) for row in rows)


def test_every_setting_has_a_starting_value(tmp_path: Path) -> None:
    stated = {row.key for row in mappings.read(tmp_path).settings}
    assert stated == mappings._SETTINGS.keys() - {"payments_until"}  # the last day paid holds


def test_init_shows_every_setting(tmp_path: Path) -> None:
    mappings.init(tmp_path)
    with (tmp_path / "settings.csv").open(encoding="utf-8-sig", newline="") as lines:
        assert {row["key"] for row in csv.DictReader(lines)} == mappings._SETTINGS.keys()


def test_the_models_read_the_roles_and_settings_that_a_customer_may_name() -> None:
    assert spelt_out("macros/roles.sql") == {role: "text" if kind == "code" else kind for role, kind in ROLES.items()}
    assert spelt_out("models/staging/stg_settings.sql").keys() == mappings._SETTINGS.keys() - {
        "default_region",  # read where phones are
    }


def test_init_lays_out_the_starting_set_for_nobody_else_to_read(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "mappings"
    assert mappings.init(folder) == [folder / name for name in FILES]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_bytes() == b"\xef\xbb\xbf" + (mappings.STARTING_SET / path.name).read_bytes()
    assert mappings.read(folder) == mappings.read(tmp_path)


def test_init_never_overwrites_a_file_that_is_there(tmp_path: Path) -> None:
    own = put(tmp_path, "settings", SETTINGS_HEADER, "late_hours,48,")
    assert mappings.init(tmp_path) == [tmp_path / "question_roles.csv", tmp_path / "answer_codes.csv"]
    assert own.read_text() == f"{SETTINGS_HEADER}\nlate_hours,48,\n"
    assert mappings.init(tmp_path) == []


# ---------------------------------------------------------------- the customer's files


def test_a_file_of_the_customer_replaces_the_starting_file_of_that_name(tmp_path: Path) -> None:
    put(
        tmp_path,
        "question_roles",
        f"source,{ROLES_HEADER}",
        f"lender_a,{CONTACT}",
        ",,,Monto,Cantidad,promise_amount,money",
    )
    known = mappings.read(tmp_path)
    assert cells(known.question_roles) == [
        ("lender_a", 1, "11", "¿Contacto?", None, "contact_made", "bool", 2),
        (None, None, None, "Monto", "Cantidad", "promise_amount", "money", 3),
    ]
    assert known.answer_codes == mappings.read(tmp_path / "none").answer_codes


def test_answer_codes_of_the_customer_replace_the_starting_ones(tmp_path: Path) -> None:
    put(tmp_path, "answer_codes", f"source,{CODES_HEADER}", "lender_a,1,tag,Promesa,promise", ",,tag,Otra,other_2")
    assert cells(mappings.read(tmp_path).answer_codes) == [
        ("lender_a", 1, "tag", "Promesa", "promise", 2),
        (None, None, "tag", "Otra", "other_2", 3),
    ]


def test_a_file_with_a_header_only_maps_nothing(tmp_path: Path) -> None:
    put(tmp_path, "question_roles", ROLES_HEADER)
    assert mappings.read(tmp_path).question_roles == ()


def test_a_setting_that_the_customer_leaves_out_keeps_its_starting_value(tmp_path: Path) -> None:
    put(tmp_path, "settings", f"source,{SETTINGS_HEADER}", ",late_hours,48,ours", "lender_a,promise_grace_days,5,")
    known = mappings.read(tmp_path)
    assert (value_of(known, "late_hours"), value_of(known, "skew_minutes")) == ("48", "5")
    assert (value_of(known, "promise_grace_days"), value_of(known, "promise_grace_days", "lender_a")) == ("3", "5")
    meanings = {(row.source, row.key): row.meaning for row in known.settings}
    assert meanings[None, "late_hours"] == "ours"
    assert meanings["lender_a", "promise_grace_days"] == meanings[None, "promise_grace_days"]


def test_the_meaning_of_a_setting_may_be_left_out(tmp_path: Path) -> None:
    put(tmp_path, "settings", "key,value", "late_hours,48")
    assert value_of(mappings.read(tmp_path), "late_hours") == "48"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", ",;\t")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_reads_the_same_however_excel_saves_it(
    tmp_path: Path, encoding: str, delimiter: str, end: str
) -> None:
    rows = [ROLES_HEADER.split(","), ["1", "16", "¿Monto, en pesos; sin centavos?", "", "promise_amount", "money"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    put(tmp_path, "question_roles", text.getvalue(), encoding=encoding, end=end)
    assert cells(mappings.read(tmp_path).question_roles) == [
        (None, 1, "16", "¿Monto, en pesos; sin centavos?", None, "promise_amount", "money", 2)
    ]


def test_excels_own_first_line_numbers_and_blank_cells_at_the_end_read(tmp_path: Path) -> None:
    put(tmp_path, "settings", "sep=;", "key;value;meaning", "hours_open;6:30", "hours_close;21:00:00;;;")
    put(tmp_path, "question_roles", f"{ROLES_HEADER},,", "1.0,11.0,¿Contacto?,,contact_made,bool,,,")
    known = mappings.read(tmp_path)
    assert (value_of(known, "hours_open"), value_of(known, "hours_close")) == ("06:30", "21:00")
    assert cells(known.question_roles) == [(None, 1, "11", "¿Contacto?", None, "contact_made", "bool", 2)]


def test_a_day_until_which_payments_are_known_is_read_in_the_forms_of_excel(tmp_path: Path) -> None:
    put(
        tmp_path, "settings", f"source,{SETTINGS_HEADER}",
        ",payments_until,21/11/2026 00:00,", "a,payments_until,2026-12-01,", "b,payments_until,,not yet",
    )  # fmt: skip
    known = mappings.read(tmp_path)
    stated = {row.source: row.value for row in known.settings if row.key == "payments_until"}
    assert stated == {None: "2026-11-21", "a": "2026-12-01"}


def test_columns_come_in_any_order_and_case_and_space_round_a_cell_is_no_part_of_it(tmp_path: Path) -> None:
    put(
        tmp_path,
        "answer_codes",
        " Code ;VALUE; role;Product_ID ",
        ' cash ;\u00a0 " en ""efectivo""" ;payment_method\t; 1 ',
    )
    put(tmp_path, "settings", "value , key", " 48 ,late_hours  ")
    known = mappings.read(tmp_path)
    assert cells(known.answer_codes) == [(None, 1, "payment_method", '" en ""efectivo"""', "cash", 2)]
    assert value_of(known, "late_hours") == "48"


def test_blank_lines_are_no_rows_but_count(tmp_path: Path) -> None:
    put(tmp_path, "answer_codes", "", CODES_HEADER, "", ",,,", " , ,,", ",tag,Otra,other", "")
    assert [row.line for row in mappings.read(tmp_path).answer_codes] == [6]


def test_lines_are_those_of_a_text_editor_also_after_a_cell_with_lines_in_it(tmp_path: Path) -> None:
    put(tmp_path, "answer_codes", CODES_HEADER, ',tag,"two\n\nlines",a', ",tag,b,b", ",tga,c,c")
    assert fault(tmp_path).startswith('answer_codes.csv line 6: role "tga" is not known')


# ---------------------------------------------------------------- faults of a file


def test_a_workbook_is_no_csv(tmp_path: Path) -> None:
    (tmp_path / "settings.csv").write_bytes(b"PK\x03\x04\0\0text")
    assert fault(tmp_path).startswith("settings.csv line 1: this is not text: in Excel save it as")


def test_text_that_was_opened_in_a_wrong_encoding_and_saved_is_shown(tmp_path: Path) -> None:
    spoilt = "¿Se realizó contacto?".encode().decode("cp1252")
    put(tmp_path, "question_roles", ROLES_HEADER, f"1,,{spoilt},,contact_made,bool")
    assert "was once opened as something else than UTF-8" in fault(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b" , ,\n"])
def test_a_file_without_a_header_is_told_what_belongs_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "answer_codes.csv").write_bytes(content)
    assert fault(tmp_path) == (
        "answer_codes.csv line 1: this is no header: put a line before it with the columns "
        "source, product_id, role, value, code"
    )


@pytest.mark.parametrize("missing", ROLES_HEADER.split(","))
def test_question_roles_may_lack_no_column_but_source(tmp_path: Path, missing: str) -> None:
    put(tmp_path, "question_roles", ",".join(name for name in ROLES_HEADER.split(",") if name != missing))
    assert fault(tmp_path).startswith(f"question_roles.csv line 1: missing here: {missing}; the columns are")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (
            f"{CODES_HEADER},cod",
            'column "cod" is not known (did you mean code?); the columns are source, product_id,',
        ),
        (f"{CODES_HEADER},code", "the column code is there twice: leave one, and give the other another name"),
    ],
)
def test_a_column_too_many_is_named(tmp_path: Path, header: str, says: str) -> None:
    put(tmp_path, "answer_codes", header, ",tag,a,a")
    assert fault(tmp_path).startswith(f"answer_codes.csv line 1: {says}")


def test_a_row_with_more_cells_than_columns_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, "answer_codes", CODES_HEADER, ",tag,a,a", "1,tag,Sí, gracias,yes")
    assert fault(tmp_path) == (
        "answer_codes.csv line 3: there are more cells than columns: put text that holds the delimiter in quotation "
        "marks"
    )


@pytest.mark.parametrize("line", [',tag,"a,b', ',tag,"a"b,c'])
def test_a_quotation_mark_out_of_place_is_found(tmp_path: Path, line: str) -> None:
    put(tmp_path, "answer_codes", CODES_HEADER, ",tgg,a,a", line, ",tag,c,c")
    first, second = faults(tmp_path)
    assert first.startswith("answer_codes.csv line 2: role")
    assert second.startswith("answer_codes.csv line 3: a quotation mark is out of place")


# ---------------------------------------------------------------- faults of a row


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("1,1,a,,contact_maid,bool", 'role "contact_maid" is not known (did you mean contact_made?); the roles'),
        ("1,1,a,,,bool", 'role "" is not known; the roles are'),
        ("1,1,a,,Tag,code", 'role "Tag" is not known (did you mean tag?)'),
        ("1,1,a,,promise_amount,text", 'value_type "text" does not fit the role promise_amount: write money'),
        ("1,1,a,,tag,", 'value_type "" does not fit the role tag: write code'),
        ('"1,0",1,a,,tag,code', 'product_id "1,0" is not a whole number: write one, or nothing'),
        ("uno,1,a,,tag,code", 'product_id "uno" is not a whole number: write one, or nothing for every product'),
        ("-1,1,a,,tag,code", 'product_id "-1" is not a whole number'),
        ("1e3,1,a,,tag,code", 'product_id "1e3" is not a whole number'),
        ("9999999999,1,a,,tag,code", 'product_id "9999999999" is not a whole number'),
        ("١,1,a,,tag,code", 'product_id "١" is not a whole number'),
        ("1,1E+11,a,,tag,code", 'question_id "1E+11" is a number of which Excel hid or lost digits: write all'),
        ("1,,,a,tag,code", "there is neither a question_id nor a question_name: fill in one of them, or delete"),
        ("1,1,¿?,,tag,code", 'question_name "¿?" has no letter and no digit to compare'),
        ("1,1,a,--,tag,code", 'answer_name "--" has no letter and no digit to compare'),
    ],
)  # fmt: skip
def test_a_fault_in_question_roles_is_named_with_its_remedy(tmp_path: Path, row: str, says: str) -> None:
    put(tmp_path, "question_roles", ROLES_HEADER, row)
    assert fault(tmp_path).startswith(f"question_roles.csv line 2: {says}")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (",tags,a,b", 'role "tags" is not known (did you mean tag?); the roles with codes are contact_'),
        (",contact_made,Sí,yes", 'role "contact_made" is not known'),
        (",tag,,b", "the value is blank: write the text"),
        (",tag,a,", "the code is blank: write one"),
        (",tag,¿?,b", 'value "¿?" has no letter'),
        (",contact_with,Aval,garantor", 'code "garantor" is not known (did you mean guarantor?); the codes'),
        (",validation_result,a,Validated", 'code "Validated" is not known (did you mean validated?)'),
        (",tag,a,No Contact", 'code "No Contact" is not in snake_case: write letters a to z, digits and _'),
        (",payment_method,a,depósito", 'code "depósito" is not in snake_case'),
        ("1.5,tag,a,b", 'product_id "1.5" is not a whole number: write one'),
    ],
)  # fmt: skip
def test_a_fault_in_answer_codes_is_named_with_its_remedy(tmp_path: Path, row: str, says: str) -> None:
    put(tmp_path, "answer_codes", CODES_HEADER, row)
    assert fault(tmp_path).startswith(f"answer_codes.csv line 2: {says}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("promise_grace_days", "0"), ("promise_threshold", "1"), ("promise_threshold", "0.9"),
        ("promise_threshold", "1.00"), ("max_speed_kmh", "80.5"), ("same_spot_accounts", "1"),
        ("hours_open", "00:00"),
        ("hours_close", "23:59"), ("default_time_zone", "UTC"), ("default_time_zone", "America/Tijuana"),
        ("episode_days", "999999"),
    ],
)  # fmt: skip
def test_a_setting_within_its_bounds_is_taken_as_it_stands(tmp_path: Path, key: str, value: str) -> None:
    put(tmp_path, "settings", SETTINGS_HEADER, f"{key},{value},")
    assert value_of(mappings.read(tmp_path), key) == value


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("grace_days", "3", 'key "grace_days" is not known (did you mean promise_grace_days?); the keys'),
        ("", "3", 'key "" is not known'),
        ("late_hours", "", "late_hours has no value: write one, or delete the line"),
        ("promise_grace_days", "-1", 'promise_grace_days is "-1": write a whole number from 0 to 999999'),
        ("promise_grace_days", "3.5", 'promise_grace_days is "3.5": write a whole number'),
        ("payments_until", "junio", 'payments_until is "junio": write a date such as 2026-11-21, or nothing'),
        ("payments_until", "1/13/2026", 'payments_until is "1/13/2026": write a date'),
        ("promise_grace_days", "3 d", 'promise_grace_days is "3 d": write a whole number'),
        ("episode_days", "1000000", 'episode_days is "1000000": write a whole number'),
        ("same_spot_accounts", "0", 'same_spot_accounts is "0": write a whole number from 1'),
        ("promise_threshold", "0", 'promise_threshold is "0": write a share above 0 and up to 1'),
        ("promise_threshold", "1.01", 'promise_threshold is "1.01": write a share'),
        ("promise_threshold", "90", 'promise_threshold is "90": write a share'),
        ("promise_threshold", "90%", 'promise_threshold is "90%": write a share'),
        ("promise_threshold", '"0,9"', 'promise_threshold is "0,9": write a share above 0'),
        ("promise_threshold", "nan", 'promise_threshold is "nan": write a share'),
        ("max_speed_kmh", "0", 'max_speed_kmh is "0": write a number above 0'),
        ("max_speed_kmh", "inf", 'max_speed_kmh is "inf": write a number above 0'),
        ("hours_open", "7", 'hours_open is "7": write a time as HH:MM, such as 07:00'),
        ("hours_open", "07:00:30", 'hours_open is "07:00:30": write a time'),
        ("hours_close", "24:00", 'hours_close is "24:00": write a time'),
        ("hours_open", "22:00", "hours_open 22:00 is not before hours_close 22:00: set one of them right"),
        ("hours_close", "06:59", "hours_open 07:00 is not before hours_close 06:59"),
        ("default_time_zone", "CST", '"CST" is no time zone'),
        ("default_time_zone", "America/Mexico", '"America/Mexico" is no time zone (did you mean America/Mexico_City'),
        ("default_time_zone", "utc", '"utc" is no time zone (did you mean UTC?): write Region/City as in'),
        ("default_time_zone", "SystemV/PST8", '"SystemV/PST8" is no time zone'),
    ],
)  # fmt: skip
def test_a_fault_in_settings_is_named_with_its_remedy(tmp_path: Path, key: str, value: str, says: str) -> None:
    put(tmp_path, "settings", SETTINGS_HEADER, f"{key},{value},")
    assert fault(tmp_path).startswith(f"settings.csv line 2: {says}")


def test_a_source_opens_before_it_closes_by_its_own_hours_and_the_general_ones(tmp_path: Path) -> None:
    put(
        tmp_path, "settings", f"source,{SETTINGS_HEADER}",
        ",hours_open,09:00,", ",hours_close,20:00,", "a,hours_close,08:00,", "b,hours_open,08:00,",
        "b,hours_close,09:00,",
    )  # fmt: skip
    assert fault(tmp_path) == (
        "settings.csv line 4: hours_open 09:00 is not before hours_close 08:00: set one of them right"
    )


@pytest.mark.parametrize(
    ("name", "header", "one", "other"),
    [
        ("question_roles", ROLES_HEADER, CONTACT, "1,11,contacto,,tag,code"),
        ("question_roles", ROLES_HEADER, "1,,¿Se  realizó\u00a0contacto?,,tag,code",
         "1,,SE REALIZO-CONTACTO,,tag,code"),
        ("question_roles", ROLES_HEADER, "1,20,a,Hora inicio,slot1_start,time", "1,20,A,hora_inicio,slot1_end,time"),
        ("question_roles", ROLES_HEADER, "1,20,,,tag,code", "1,20,,,tag,code"),
        ("question_roles", ROLES_HEADER, f"1,,{unicodedata.normalize('NFC', 'óñ')},,tag,code",
         f"1,,{unicodedata.normalize('NFD', 'óñ')},,tag,code"),
        ("answer_codes", CODES_HEADER, "1,tag,Ya no vive ahí,moved", "1,tag,ya no vive ahi.,address_vacant"),
        ("settings", SETTINGS_HEADER, "late_hours,24,", "late_hours,48,"),
    ],
)  # fmt: skip
def test_what_the_models_could_not_tell_apart_is_said_once(
    tmp_path: Path, name: str, header: str, one: str, other: str
) -> None:
    put(tmp_path, name, header, one, "", other)
    assert fault(tmp_path).startswith(f"{name}.csv line 4: source, ")
    assert fault(tmp_path).endswith("are those of line 2: delete one of the two lines")
    put(tmp_path, name, f"source,{header}", f",{one}", f"lender_a,{other}", f"lender_b,{other}")
    mappings.read(tmp_path)  # a source's own row beside a general one


def test_rows_that_differ_in_product_role_id_or_answer_name_stand_side_by_side(tmp_path: Path) -> None:
    put(
        tmp_path, "question_roles", ROLES_HEADER,
        "1,20,a,b,tag,code", "2,20,a,b,tag,code", ",20,a,b,tag,code", "1,21,a,b,tag,code", "1,,a,b,tag,code",
        "1,20,a,,tag,code",
    )  # fmt: skip
    put(tmp_path, "answer_codes", CODES_HEADER, "1,tag,a,b", "2,tag,a,b", ",tag,a,b", "1,payment_method,a,b")
    known = mappings.read(tmp_path)
    assert (len(known.question_roles), len(known.answer_codes)) == (6, 4)


def test_all_faults_of_all_files_are_told_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    put(tmp_path, "question_roles", ROLES_HEADER, "1.5,,,,tagg,text", CONTACT, CONTACT)
    put(tmp_path, "answer_codes", "product_id,role")
    put(tmp_path, "settings", SETTINGS_HEADER, "late_hours,x,", "a,b")
    told = [line.split(":")[0] for line in faults(tmp_path)]
    assert told == [
        *["question_roles.csv line 2"] * 3, "question_roles.csv line 4", "answer_codes.csv line 1",
        "settings.csv line 2", "settings.csv line 3",
    ]  # fmt: skip


def test_a_cell_is_echoed_on_one_line_and_shortened(tmp_path: Path) -> None:
    put(tmp_path, "answer_codes", CODES_HEADER, f'"{"x" * 30}\n\x1b[1m{"y" * 400}",tag,a,a')
    (sentence,) = faults(tmp_path)
    assert sentence.startswith(f'answer_codes.csv line 2: product_id "{"x" * 30} [1myyyyy…" is not a whole number')


# ---------------------------------------------------------------- fingerprint and tables


def test_the_fingerprint_is_that_of_the_rows_not_of_the_files(tmp_path: Path) -> None:
    starting = mappings.read(tmp_path).fingerprint
    mappings.init(tmp_path)
    assert mappings.read(tmp_path).fingerprint == starting
    settings = tmp_path / "settings.csv"
    settings.write_text(settings.read_text().replace("late_hours,24", "late_hours,25"))
    assert mappings.read(tmp_path).fingerprint != starting


def test_the_tables_hold_the_rows_and_null_for_blank_cells(
    tmp_path: Path, working: duckdb.DuckDBPyConnection
) -> None:
    put(tmp_path, "question_roles", ROLES_HEADER, ",,¿Contacto?,,contact_made,bool")
    put(tmp_path, "answer_codes", f"source,{CODES_HEADER}", "lender_a,2,tag,Sí,yes")
    known = mappings.read(tmp_path)
    mappings.write(working, mappings.read(tmp_path / "none"))
    mappings.write(working, known)
    rows = {
        name: working.execute(f"from mappings.{name} order by line").fetchall() for name in Mappings.__annotations__
    }
    assert rows["question_roles"] == [(None, None, None, "¿Contacto?", None, "contact_made", "bool", 2)]
    assert rows["answer_codes"] == [("lender_a", 2, "tag", "Sí", "yes", 2)]
    assert rows["settings"] == cells(sorted(known.settings, key=lambda row: row.line))


def test_the_tables_have_these_columns(tmp_path: Path, working: duckdb.DuckDBPyConnection) -> None:
    put(tmp_path, "question_roles", ROLES_HEADER)
    mappings.write(working, mappings.read(tmp_path))
    columns = working.execute(
        "select table_name, string_agg(column_name || ' ' || data_type, ', ' order by column_index)"
        " from duckdb_columns() where schema_name = 'mappings' group by all"
    ).fetchall()
    text = "VARCHAR"
    assert dict(columns) == {
        "question_roles": f"source {text}, product_id INTEGER, question_id {text}, question_name {text}, "
        f"answer_name {text}, role {text}, value_type {text}, line BIGINT",
        "answer_codes": f"source {text}, product_id INTEGER, role {text}, value {text}, code {text}, line BIGINT",
        "settings": f"source {text}, key {text}, value {text}, meaning {text}, line BIGINT",
    }


def test_a_writing_that_fails_leaves_the_tables_as_they_were(
    tmp_path: Path, working: duckdb.DuckDBPyConnection
) -> None:
    known = mappings.read(tmp_path)
    mappings.write(working, known)
    unfit = Mappings((), (), (known.settings[0].model_copy(update={"line": 1 << 70}),))
    with pytest.raises(OverflowError):
        mappings.write(working, unfit)
    assert working.execute("select count(*) from mappings.question_roles").fetchone() == (len(known.question_roles),)


def test_thousands_of_rows_are_read_and_written_at_once(tmp_path: Path, working: duckdb.DuckDBPyConnection) -> None:
    put(tmp_path, "answer_codes", CODES_HEADER, *(f"{at % 3},tag,Etiqueta {at},code_{at}" for at in range(20_000)))
    began = time.monotonic()
    mappings.write(working, mappings.read(tmp_path))
    assert time.monotonic() - began < 10
    assert working.execute("select count(distinct code) from mappings.answer_codes").fetchone() == (20_000,)
