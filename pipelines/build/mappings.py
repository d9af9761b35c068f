"""What a customer maps by editing CSV files: all of it is sound, or every fault is named with its line."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import available_timezones

from pipelines.contract import DEFAULT_TIME_ZONE
from pipelines.errors import FaultError
from pipelines.load import rules
from pipelines.privacy.identity import REGIONS
from pipelines.warehouse import transaction
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STARTING_SET = Path(__file__).parents[2] / "sql" / "seeds"

ROLES = {
    "contact_made": "bool",
    "contact_with": "code",
    "contact_name": "text",
    "promise_made": "bool",
    "payment_method": "code",
    "promise_amount": "money",
    "promise_date": "date",
    "revisit": "bool",
    "revisit_date": "date",
    "slot1_start": "time",
    "slot1_end": "time",
    "slot2_start": "time",
    "slot2_end": "time",
    "validation_result": "code",
    "tag": "code",
    "address_found": "bool",
    "lives_here": "bool",
    "business_operating": "bool",
    "business_activity_match": "bool",
}
# The models count by these; the codes of the other roles are the customer's own.
CODES = {
    "contact_with": frozenset({"right_party", "guarantor", "third_party"}),
    "validation_result": frozenset({"validated", "refuted", "inconclusive"}),
}

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SAVE_AS_UTF8 = 'save it in Excel as "CSV UTF-8 (comma delimited)"'
_ECHOED = 40


class MappingError(FaultError):
    """The customer's files cannot be used: every fault, one a line, with its place and its remedy."""


class QuestionRole(NamedTuple):
    """A row of question_roles.csv; None is a blank cell and matches any."""

    source: str | None
    product_id: int | None
    question_id: str | None
    question_name: str | None
    answer_name: str | None
    role: str
    value_type: str
    line: int


class AnswerCode(NamedTuple):
    """A row of answer_codes.csv; None is a blank cell and matches any."""

    source: str | None
    product_id: int | None
    role: str
    value: str
    code: str
    line: int


class Setting(NamedTuple):
    """A row of settings.csv, or the starting set's row where the customer's file lacks the key."""

    source: str | None
    key: str
    value: str
    meaning: str | None
    line: int


@dataclass(frozen=True)
class Mappings:
    """The effective rows of the three files, in the order of their lines."""

    question_roles: tuple[QuestionRole, ...]
    answer_codes: tuple[AnswerCode, ...]
    settings: tuple[Setting, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every row: another one means that the models have to be built anew."""
        rows = json.dumps([self.question_roles, self.answer_codes, self.settings])
        return sha256(rows.encode()).hexdigest()


# ---------------------------------------------------------------- files


@dataclass(frozen=True)
class _Row:
    """A line of a file: its trimmed cells by column, blank ones and those of absent columns as ''."""

    line: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]


class _Sheet(NamedTuple):
    """One of the files: its columns, those that it may lack, those that may stand only once together."""

    name: str
    columns: tuple[str, ...]
    optional: frozenset[str]
    key: tuple[str, ...]


_NAMES = {"question_name", "answer_name", "value"}  # compared as the models compare them
_ROLES_SHEET = _Sheet(
    "question_roles.csv",
    ("source", "product_id", "question_id", "question_name", "answer_name", "role", "value_type"),
    frozenset({"source"}),
    ("source", "product_id", "question_id", "question_name", "answer_name"),
)
_CODES_SHEET = _Sheet(
    "answer_codes.csv",
    ("source", "product_id", "role", "value", "code"),
    frozenset({"source"}),
    ("source", "product_id", "role", "value"),
)
_SETTINGS_SHEET = _Sheet(
    "settings.csv", ("source", "key", "value", "meaning"), frozenset({"source", "meaning"}), ("source", "key")
)
FILES = tuple(sheet.name for sheet in (_ROLES_SHEET, _CODES_SHEET, _SETTINGS_SHEET))


class _Faults:
    """What is wrong with one file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, sentence: str) -> None:
        self._found.append((line, sentence))

    def __len__(self) -> int:
        return len(self._found)

    def sentences(self) -> Iterator[str]:
        for line, sentence in sorted(self._found, key=lambda found: found[0]):
            yield f"{self.name} line {line}: {sentence}"


def read(folder: Path) -> Mappings:
    """The mappings that hold: the customer's files in `folder` (KOBRA_HOME/mappings), else the starting set.

    A setting that the customer's settings.csv lacks keeps its starting value. Raises MappingError with all faults
    of all files at once.
    """
    with _Language() as language:
        roles, role_faults = _sound(_ROLES_SHEET, folder, _role_faults, language)
        codes, code_faults = _sound(_CODES_SHEET, folder, _code_faults, language)
        settings, setting_faults = _sound(_SETTINGS_SHEET, folder, _setting_faults, language)
        own, settings = settings, _with_starting_values(settings)
    _check_hours(own, settings, setting_faults)
    if sentences := [s for faults in (role_faults, code_faults, setting_faults) for s in faults.sentences()]:
        raise MappingError("\n".join(sentences))
    return Mappings(
        tuple(
            QuestionRole(
                row["source"] or None,
                _product(row),
                row["question_id"] or None,
                row["question_name"] or None,
                row["answer_name"] or None,
                row["role"],
                row["value_type"],
                row.line,
            )
            for row in roles
        ),
        tuple(
            AnswerCode(row["source"] or None, _product(row), row["role"], row["value"], row["code"], row.line)
            for row in codes
        ),
        tuple(
            Setting(row["source"] or None, row["key"], row["value"], row["meaning"] or None, row.line)
            for row in settings
        ),
    )


def region_of(folder: Path) -> Callable[[str], str]:
    """Tells of a source in which country its phone numbers stand without a country code.

    Of a file with faults what reads is taken: `read` tells the faults.
    """
    own = folder / "settings.csv"
    rows = [*_rows(_SETTINGS_SHEET, STARTING_SET / "settings.csv", _Faults("")),
            *(_rows(_SETTINGS_SHEET, own, _Faults("")) if own.exists() else ())]  # fmt: skip
    found = {row["source"] or None: row["value"] for row in rows if row["key"] == "default_region"}
    regions = {source: region for source, region in found.items() if region in REGIONS}
    return lambda source: regions.get(source) or regions[None]


def init(folder: Path) -> list[Path]:
    """Put copies of the starting set into `folder` for editing, over nothing that is there; answers with those made.

    They begin with a byte order mark, without which Excel takes UTF-8 for something else and spoils every accent.
    """
    rawstore.make_folder(folder)
    made = []
    for name in FILES:
        aside = folder / f".{name}.new"
        aside.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
                copy.write(_BYTE_ORDER_MARK + (STARTING_SET / name).read_bytes())
            with suppress(FileExistsError):
                os.link(aside, folder / name)  # whole or not at all, and never over another
                made.append(folder / name)
        finally:
            aside.unlink(missing_ok=True)
    return made


def _sound(
    sheet: _Sheet, folder: Path, check: Callable[["_Row", "_Language"], Iterator[str]], language: "_Language"
) -> tuple[list[_Row], _Faults]:
    """The rows of a file that have no fault of their own, and the faults of the others."""
    faults = _Faults(sheet.name)
    own = folder / sheet.name
    rows = list(_rows(sheet, own if own.exists() else STARTING_SET / sheet.name, faults))
    language.learn(row[column] for row in rows for column in _NAMES & set(sheet.columns))
    sound = []
    seen: dict[tuple[str, ...], int] = {}
    for row in rows:
        found = list(check(row, language))
        key = tuple(language.normalised[row[column]] if column in _NAMES else row[column] for column in sheet.key)
        first = seen.setdefault(key, row.line)
        if first != row.line:
            found.append(f"{_listed(sheet.key)} are those of line {first}: delete one of the two lines")
        for sentence in found:
            faults.add(row.line, sentence)
        if not found:
            sound.append(row)
    return sound, faults


def _rows(sheet: _Sheet, path: Path, faults: _Faults) -> Iterator[_Row]:
    text = _text(path, faults)
    if text is None:
        return
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = ";" if header.count(";") > header.count(",") else ","
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    columns: list[str] = []
    end = 0
    while True:
        line = end + 1
        try:
            cells = [cell.strip() for cell in next(lines)]
        except StopIteration:
            break
        except csv.Error:
            faults.add(
                line,
                "a quotation mark is out of place, and nothing from here on was read: a cell in quotation marks ends "
                "with one, and one within it is written twice",
            )
            break
        end = lines.line_num
        if not any(cells):
            continue
        if not columns:
            columns = [cell.lower() for cell in cells]
            if not _is_sound_header(sheet, columns, line, faults):
                return
        elif len(cells) != len(columns):
            faults.add(
                line,
                f'there are {len(cells)} cells under {len(columns)} columns: put text that holds a "{delimiter}" '
                "in quotation marks, and leave no cell out",
            )
        else:
            yield _Row(line, dict.fromkeys(sheet.columns, "") | dict(zip(columns, cells, strict=True)))
    if not columns and not faults:
        faults.add(1, f"there is no header: the first line names the columns {_listed(sheet.columns)}")


def _text(path: Path, faults: _Faults) -> str | None:
    content = path.read_bytes().removeprefix(_BYTE_ORDER_MARK)
    try:
        text = content.decode()
    except UnicodeDecodeError as why:
        faults.add(content.count(b"\n", 0, why.start) + 1, f"this is not UTF-8: {_SAVE_AS_UTF8}")
        return None
    if "\0" in text:
        faults.add(1, f"this is not text: {_SAVE_AS_UTF8}")
        return None
    return text


def _is_sound_header(sheet: _Sheet, columns: list[str], line: int, faults: _Faults) -> bool:
    needed = [column for column in sheet.columns if column not in sheet.optional]
    before = len(faults)
    for column in needed:
        if column not in columns:
            faults.add(line, f"the column {column} is missing: add it to the header and to every line")
    for at, column in enumerate(columns, 1):
        if not column:
            faults.add(line, f"column {at} has no name: delete it, the columns are {_listed(sheet.columns)}")
        elif column not in sheet.columns:
            faults.add(line, _unknown("column", column, sheet.columns))
        elif column in columns[: at - 1]:
            faults.add(line, f"the column {column} is there twice: delete one of the two")
    return len(faults) == before


# ---------------------------------------------------------------- rows


class _Language:
    """How the models compare text: by the macro of the warehouse itself, in a database that holds nothing else."""

    def __init__(self) -> None:
        import duckdb  # noqa: PLC0415 - what only names this module need not wait for it

        self._database = duckdb.connect()
        self._database.execute(rules.macros("main"))
        self.normalised = {"": ""}

    def __enter__(self) -> "_Language":
        return self

    def __exit__(self, *failure: object) -> None:
        self._database.close()

    def learn(self, texts: Iterable[str]) -> None:
        """Take in texts whose `normalised` form is going to be asked for."""
        new = list({text for text in texts if text not in self.normalised})
        rows = self._database.execute("select text, normalised_text(text) from (select unnest(?) as text)", [new])
        self.normalised.update(rows.fetchall())

    def zones(self) -> list[str]:
        """The names that a default time zone may have: those with one meaning that SQL and Python both know."""
        rows = self._database.execute("select name from pg_timezone_names()").fetchall()
        return sorted({name for (name,) in rows if "/" in name or name == "UTC"} & available_timezones())


def _role_faults(row: _Row, language: _Language) -> Iterator[str]:
    yield from _product_faults(row)
    yield from _text_faults(row, language, "question_name", "answer_name")
    if re.fullmatch(r"\d+\.0+", row["question_id"]):
        whole = row["question_id"].partition(".")[0]
        yield f"question_id {_shown(row['question_id'])} is a number with a fraction: write {whole}"
    if not row["question_id"] and not row["question_name"]:
        yield "there is neither a question_id nor a question_name: fill in one of them, or delete the line"
    role, value_type = row["role"], row["value_type"]
    if role not in ROLES:
        yield _unknown("role", role, ROLES)
        if value_type not in ROLES.values():
            yield _unknown("value_type", value_type, sorted(set(ROLES.values())))
    elif value_type != ROLES[role]:
        yield f"value_type {_shown(value_type)} does not fit the role {role}: write {ROLES[role]}"


def _code_faults(row: _Row, language: _Language) -> Iterator[str]:
    yield from _product_faults(row)
    yield from _text_faults(row, language, "value")
    if not row["value"]:
        yield "the value is blank: write the text of the answer or of the tag, or delete the line"
    role, code = row["role"], row["code"]
    with_codes = [name for name, value_type in ROLES.items() if value_type == "code"]
    if role not in with_codes:
        yield _unknown("role", role, with_codes, "with codes")
    if not code:
        yield "the code is blank: write one, or delete the line"
    elif role in CODES and code not in CODES[role]:
        yield _unknown("code", code, sorted(CODES[role]), f"of {role}")
    elif not re.fullmatch(r"[a-z][a-z0-9_]*", code):
        yield f"code {_shown(code)} is not in snake_case: write letters a to z, digits and _, such as no_contact"


def _setting_faults(row: _Row, language: _Language) -> Iterator[str]:
    key, value = row["key"], row["value"]
    if key not in _SETTINGS:
        yield _unknown("key", key, _SETTINGS)
    elif not value:
        yield f"{key} has no value: write one, or delete the line and the starting value holds"
    elif key == "default_time_zone":
        zones = language.zones()
        if value not in zones:
            near = _nearest(value, zones)
            hint = f" (did you mean {near}?)" if near else ""
            yield f"{_shown(value)} is no time zone{hint}: write Region/City as in {DEFAULT_TIME_ZONE}, or UTC"
    elif not _SETTINGS[key].fits(value):
        yield f"{key} is {_shown(value)}: write {_SETTINGS[key].wanted}"


def _product_faults(row: _Row) -> Iterator[str]:
    text = row["product_id"]
    if not re.fullmatch(r"[0-9]{0,9}", text):
        whole = re.fullmatch(r"([0-9]{1,9})[.,]0+", text)
        remedy = f"write {whole[1]}" if whole else "write a whole number, or nothing for every product"
        yield f"product_id {_shown(text)} is not a whole number: {remedy}"


def _text_faults(row: _Row, language: _Language, *columns: str) -> Iterator[str]:
    for column in columns:
        text = row[column]
        if text and not language.normalised[text]:
            yield f"{column} {_shown(text)} has no letter and no digit to compare: write the text, or leave it blank"
        elif _is_garbled(text):
            yield f"{column} {_shown(text)} was once opened as something else than UTF-8: write it anew"


def _is_garbled(text: str) -> bool:
    """Whether UTF-8 was read as cp1252 and saved: "¿Volver" has become "Â¿Volver"."""
    try:
        return text.encode("cp1252").decode() != text
    except UnicodeError:
        return False


def _product(row: _Row) -> int | None:
    return int(row["product_id"]) if row["product_id"] else None


# ---------------------------------------------------------------- settings


class _Kind(NamedTuple):
    """The values that a setting may have, as a test and in words."""

    fits: Callable[[str], bool]
    wanted: str


def _whole(least: int) -> _Kind:
    return _Kind(
        lambda text: bool(re.fullmatch(r"[0-9]{1,6}", text)) and int(text) >= least,
        f"a whole number from {least} to 999999, without a unit",
    )


def _decimal(text: str) -> float:
    """A plain number such as 120 or 0.9; what is none reads as 0, which no setting may be."""
    return float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) else 0.0


_CLOCK = _Kind(
    lambda text: bool(re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text)), "a time as HH:MM, such as 07:00"
)
_ZONE = _Kind(lambda _: True, "a time zone")  # tested against the database's list
_SETTINGS = {
    "default_time_zone": _ZONE,
    "promise_grace_days": _whole(0),
    "promise_threshold": _Kind(
        lambda text: 0 < _decimal(text) <= 1, "a share above 0 and up to 1 with a decimal point, such as 0.90"
    ),
    "revisit_tolerance_days": _whole(0),
    "episode_days": _whole(0),
    "short_visit_seconds": _whole(0),
    "long_visit_minutes": _whole(0),
    "place_radius_m": _whole(0),
    "max_speed_kmh": _Kind(
        lambda text: _decimal(text) > 0, "a number above 0, with a decimal point if any, such as 120"
    ),
    "speed_noise_m": _whole(0),
    "same_spot_accounts": _whole(1),
    "skew_minutes": _whole(0),
    "late_hours": _whole(0),
    "min_visits_heatmap": _whole(0),
    "default_region": _Kind(REGIONS.__contains__, "a country by its two letters (ISO 3166), such as MX"),
    "hours_open": _CLOCK,
    "hours_close": _CLOCK,
}


def _with_starting_values(own: list[_Row]) -> list[_Row]:
    """The customer's settings, and the starting ones under the keys that they lack."""
    starting = {row["key"]: row for row in _rows(_SETTINGS_SHEET, STARTING_SET / "settings.csv", _Faults(""))}
    there = {row["key"] for row in own if not row["source"]}
    explained = [
        _Row(row.line, row.cells | {"meaning": row["meaning"] or starting[row["key"]]["meaning"]}) for row in own
    ]
    return explained + [row for key, row in starting.items() if key not in there]


def _check_hours(own: list[_Row], settings: list[_Row], faults: _Faults) -> None:
    """Every source opens before it closes; where it names only one of the two, the general other holds."""
    lines = {row["source"]: row.line for row in own if row["key"] in ("hours_open", "hours_close")}
    values = {(row["source"], row["key"]): row["value"] for row in settings}
    for source, line in lines.items():
        opens, closes = (values.get((source, key)) or values["", key] for key in ("hours_open", "hours_close"))
        if opens >= closes:
            faults.add(line, f"hours_open {opens} is not before hours_close {closes}: set one of them right")


# ---------------------------------------------------------------- sentences


def _unknown(what: str, text: str, known: Iterable[str], which: str = "") -> str:
    names = list(known)
    near = _nearest(text, names)
    hint = f" (did you mean {near}?)" if near else ""
    return f"{what} {_shown(text)} is not known{hint}; the {what}s {which + ' ' if which else ''}are {_listed(names)}"


def _nearest(text: str, known: Iterable[str]) -> str | None:
    names = {name.lower(): name for name in known}
    return next((names[name] for name in get_close_matches(text.lower(), names, 1)), None)


def _shown(text: str) -> str:
    """A cell in quotation marks, on one line and not too long."""
    plain = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text)
    return f'"{plain}"' if len(plain) <= _ECHOED else f'"{plain[: _ECHOED - 1]}…"'


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


# ---------------------------------------------------------------- tables


def write(connection: "DuckDBPyConnection", mappings: Mappings) -> None:
    """Make schema `mappings` anew from these, all of it or nothing."""
    import pyarrow as pa  # noqa: PLC0415

    types = {"product_id": pa.int32(), "line": pa.int64()}
    tables: tuple[tuple[str, type[NamedTuple], tuple[NamedTuple, ...]], ...] = (
        ("question_roles", QuestionRole, mappings.question_roles),
        ("answer_codes", AnswerCode, mappings.answer_codes),
        ("settings", Setting, mappings.settings),
    )
    with transaction.whole(connection):
        connection.execute("create schema if not exists mappings")
        for name, kind, rows in tables:
            schema = pa.schema([(column, types.get(column, pa.string())) for column in kind._fields])
            # A name that no table has: tables go before variables.
            mapping_rows = pa.Table.from_pylist([row._asdict() for row in rows], schema)
            connection.execute(f"create or replace table mappings.{name} as from mapping_rows")
            del mapping_rows
