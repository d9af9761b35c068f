"""What a customer maps by editing CSV files: all of it is sound, or every fault is named with its line."""

import codecs
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple, TypeVar
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from pipelines import rules
from pipelines.build import csv_file
from pipelines.build.cells import read_date, read_time, read_whole
from pipelines.build.csv_file import CsvError, Row
from pipelines.contract import DEFAULT_TIME_ZONE
from pipelines.errors import FaultError
from pipelines.identity import REGIONS
from pipelines.ids import read_id
from pipelines.project import PROJECT
from pipelines.warehouse import transaction
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pydantic_core import ErrorDetails

STARTING_SET = PROJECT / "seeds"
_ECHOED = 40  # characters of a cell
_COMPARED = {"question_name", "answer_name", "value"}  # columns whose text the models compare normalised

_ROLES_BY_TYPE = {
    "bool": "contact_made promise_made revisit address_found lives_here business_operating business_activity_match",
    "code": "contact_with payment_method validation_result tag",
    "text": "contact_name",
    "money": "promise_amount",
    "date": "promise_date revisit_date",
    "time": "slot1_start slot1_end slot2_start slot2_end",
}
ROLES = {role: value_type for value_type, roles in _ROLES_BY_TYPE.items() for role in roles.split()}
# The models count by these; the codes of the other roles are the customer's own.
CODES = {
    "contact_with": frozenset({"right_party", "guarantor", "third_party"}),
    "validation_result": frozenset({"validated", "refuted", "inconclusive"}),
}


class MappingError(FaultError):
    """The customer's files cannot be used: every fault, one a line, with its place and its remedy."""


# ---------------------------------------------------------------- settings


class _Kind(NamedTuple):
    """The values that a setting may have: what reads its text, None for what it may not be; and in words."""

    read: Callable[[str], object]
    wanted: str


def _whole(text: str, least: int) -> int | None:
    value = read_whole(text)
    return value if value is not None and least <= value <= 999_999 else None


def _decimal(text: str, most: int) -> str | None:
    return text if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) and 0 < float(text) <= most else None


def _clock(text: str) -> str | None:
    time = read_time(text)
    return time.isoformat("minutes") if time and not time.second else None


@cache
def _zones() -> frozenset[str]:
    """The names that a default time zone may have: those with one meaning that SQL and Python both know."""
    import duckdb  # noqa: PLC0415 - what only names this module need not wait for it

    with duckdb.connect() as database:
        names = {name for (name,) in database.execute("select name from pg_timezone_names()").fetchall()}
    return frozenset(name for name in names & available_timezones() if "/" in name or name == "UTC")


_TIME = _Kind(_clock, "a time as HH:MM, such as 07:00")
_SETTINGS = {
    "default_time_zone": _Kind(
        lambda text: text if text in _zones() else None, f"Region/City as in {DEFAULT_TIME_ZONE}, or UTC"
    ),
    "default_region": _Kind(
        lambda text: text if text in REGIONS else None, "a country by its two letters (ISO 3166), such as MX"
    ),
    "hours_open": _TIME,
    "hours_close": _TIME,
    "payments_until": _Kind(read_date, "a date such as 2026-11-21, or nothing"),
    "promise_threshold": _Kind(
        partial(_decimal, most=1), "a share above 0 and up to 1 with a decimal point, such as 0.90"
    ),
    "max_speed_kmh": _Kind(
        partial(_decimal, most=999_999), "a number above 0, with a decimal point if any, such as 120"
    ),
    "same_spot_accounts": _Kind(partial(_whole, least=1), "a whole number from 1 to 999999, without a unit"),
} | dict.fromkeys(
    "promise_grace_days recovery_days revisit_tolerance_days episode_days short_visit_seconds long_visit_minutes"
    " place_radius_m speed_noise_m skew_minutes late_hours min_visits_heatmap".split(),
    _Kind(partial(_whole, least=0), "a whole number from 0 to 999999, without a unit"),
)


# ---------------------------------------------------------------- cells
# In what is wrong with one, {cell} stands for its column and text.


def _product(text: str) -> int | None:
    product = read_whole(text)
    if text and (product is None or product < 0):
        raise ValueError("{cell} is not a whole number: write one, or nothing for every product")
    return product


def _question_id(text: str) -> str | None:
    found = read_id(text)
    if found is None:
        raise ValueError("{cell} is a number of which Excel hid or lost digits: write all of them")
    return found or None


def _text(text: str) -> str | None:
    if text and not any(map(str.isalnum, text)):
        raise ValueError("{cell} has no letter and no digit to compare: write the text, or leave it blank")
    with suppress(UnicodeError):
        if text.encode("cp1252").decode() != text:  # "¿Volver" has become "Â¿Volver"
            raise ValueError("{cell} was once opened as something else than UTF-8: write it anew")
    return text or None


def _name_or_id(name: str | None, info: ValidationInfo) -> str | None:
    if not name and not info.data.get("question_id", "unread"):
        raise ValueError(
            "there is neither a question_id nor a question_name: fill in one of them, or delete the line"
        )
    return name


def _one_of(known: Collection[str], which: str = "") -> AfterValidator:
    def check(text: str, info: ValidationInfo) -> str:
        if text not in known:
            raise ValueError(f"{{cell}} {_unknown(text, known, f'{info.field_name}s{which}')}")
        return text

    return AfterValidator(check)


def _type_of_role(value_type: str, info: ValidationInfo) -> str:
    wanted = ROLES.get(info.data.get("role", ""), value_type)
    if value_type != wanted:
        raise ValueError(f"{{cell}} does not fit the role {info.data['role']}: write {wanted}")
    return value_type


def _answer(text: str | None) -> str:
    if text is None:
        raise ValueError("the value is blank: write the text of the answer or of the tag, or delete the line")
    return text


def _code(code: str, info: ValidationInfo) -> str:
    role = info.data.get("role", "")
    if not code:
        raise ValueError("the code is blank: write one, or delete the line")
    if code not in CODES.get(role, {code}):
        raise ValueError(f"{{cell}} {_unknown(code, sorted(CODES[role]), f'codes of {role}')}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", code):
        raise ValueError("{cell} is not in snake_case: write letters a to z, digits and _, such as no_contact")
    return code


def _setting(text: str, info: ValidationInfo) -> str:
    key = info.data.get("key")
    if key is None or (key == "payments_until" and not text):
        return text
    if not text:
        raise ValueError(f"{key} has no value: write one, or delete the line and the starting value holds")
    value = _SETTINGS[key].read(text)
    if value is not None:
        return str(value)
    if key == "default_time_zone":
        raise ValueError(f"{_shown(text)} is no time zone{_hint(text, _zones())}: write {_SETTINGS[key].wanted}")
    raise ValueError(f"{key} is {_shown(text)}: write {_SETTINGS[key].wanted}")


_Blank = Annotated[str | None, BeforeValidator(lambda text: text or None)]
_Product = Annotated[int | None, BeforeValidator(_product)]
_Text = Annotated[str | None, BeforeValidator(_text)]


# ---------------------------------------------------------------- rows


class _Row(BaseModel):
    """A row of a file; None is a blank cell and matches any."""

    model_config = ConfigDict(frozen=True)
    file: ClassVar[str]
    may_lack: ClassVar[Collection[str]] = {"source"}  # columns
    key_columns: ClassVar[Sequence[str]]  # in which no two rows are alike
    source: _Blank
    line: int


class QuestionRole(_Row):
    """A question, found by what is not blank, plays a role."""

    file = "question_roles.csv"
    key_columns = ("source", "product_id", "question_id", "question_name", "answer_name")
    product_id: _Product
    question_id: Annotated[str | None, BeforeValidator(_question_id)]
    question_name: Annotated[_Text, AfterValidator(_name_or_id)]
    answer_name: _Text
    role: Annotated[str, _one_of(ROLES)]
    value_type: Annotated[str, AfterValidator(_type_of_role)]


class AnswerCode(_Row):
    """The text of an answer or of a tag means a code."""

    file = "answer_codes.csv"
    key_columns = ("source", "product_id", "role", "value")
    product_id: _Product
    role: Annotated[str, _one_of(_ROLES_BY_TYPE["code"].split(), " with codes")]
    value: Annotated[_Text, AfterValidator(_answer)]
    code: Annotated[str, AfterValidator(_code)]


class Setting(_Row):
    """A threshold; the starting set's where the customer's file lacks the key."""

    file = "settings.csv"
    may_lack = {"source", "meaning"}
    key_columns = ("source", "key")
    key: Annotated[str, _one_of(_SETTINGS)]
    value: Annotated[str, AfterValidator(_setting)]
    meaning: _Blank


class Mappings(NamedTuple):
    """The effective rows of the three files, in the order of their lines."""

    question_roles: tuple[QuestionRole, ...]
    answer_codes: tuple[AnswerCode, ...]
    settings: tuple[Setting, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every row: another one means that the models have to be built anew."""
        rows = [[row.model_dump() for row in rows] for rows in self]
        return sha256(json.dumps(rows).encode()).hexdigest()


_KINDS: tuple[type[_Row], ...] = (QuestionRole, AnswerCode, Setting)
FILES = tuple(kind.file for kind in _KINDS)
_AnyRow = TypeVar("_AnyRow", bound=_Row)


# ---------------------------------------------------------------- files


class _Fault(NamedTuple):
    file: str
    line: int
    told: str


def read(folder: Path) -> Mappings:
    """The mappings that hold: the customer's files in `folder` (KOBRA_HOME/mappings), else the starting set.

    A setting that the customer's settings.csv lacks keeps its starting value. Raises MappingError with all faults
    of all files at once.
    """
    faults = list[_Fault]()
    roles, codes = _rows(QuestionRole, folder, faults), _rows(AnswerCode, folder, faults)
    settings = _settings(folder, faults)
    for rows in (roles, codes, settings):
        faults += _repeated(rows)
    faults += _closed_before_open(settings)
    if faults:
        faults.sort(key=lambda fault: (FILES.index(fault.file), fault.line))
        raise MappingError("\n".join(fault.told for fault in faults))
    return Mappings(tuple(roles), tuple(codes), tuple(settings))


def region_of(folder: Path) -> Callable[[str], str]:
    """Tells of a source in which country its phone numbers stand without a country code.

    Of a file with faults what reads is taken: `read` tells the faults.
    """
    regions = {row.source: row.value for row in _settings(folder, []) if row.key == "default_region"}
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
                copy.write(codecs.BOM_UTF8 + (STARTING_SET / name).read_bytes())
            with suppress(FileExistsError):
                os.link(aside, folder / name)  # whole or not at all, and never over another
                made.append(folder / name)
        finally:
            aside.unlink(missing_ok=True)
    return made


def _settings(folder: Path, faults: list[_Fault]) -> list[Setting]:
    """The customer's settings, and the starting ones under the keys that they lack, without blank ones."""
    starting = {row.key: row for row in _rows(Setting, STARTING_SET, faults)}
    own = _rows(Setting, folder, faults) if (folder / Setting.file).exists() else []
    there = {row.key for row in own if not row.source}
    explained = [row.model_copy(update={"meaning": row.meaning or starting[row.key].meaning}) for row in own]
    return [row for row in (*explained, *(row for key, row in starting.items() if key not in there)) if row.value]


def _rows(kind: type[_AnyRow], folder: Path, faults: list[_Fault]) -> list[_AnyRow]:
    """The rows that read, of the starting set where `folder` has no such file. `faults` gets what is wrong."""
    path = folder / kind.file if (folder / kind.file).exists() else STARTING_SET / kind.file
    columns = [column for column in kind.model_fields if column != "line"]
    rows = list[_AnyRow]()
    try:
        with csv_file.opened(path, columns, set(columns).difference(kind.may_lack)) as sheet:
            for name in sheet.unknown:
                faults.append(_fault(kind, sheet.line, f"column {_shown(name)} {_unknown(name, columns, 'columns')}"))
            for row in sheet.rows:
                valid, sentences = _validated(kind, columns, row)
                rows += valid
                faults += [_fault(kind, row.line, sentence) for sentence in sentences]
    except CsvError as why:
        faults.append(_Fault(kind.file, 0, str(why)))
    return rows


def _validated(kind: type[_AnyRow], columns: Sequence[str], row: Row) -> tuple[list[_AnyRow], list[str]]:
    """The row if nothing is wrong with it, and what is."""
    if row.fault:
        return [], [row.fault]
    try:
        return [kind.model_validate(dict(zip(columns, row.cells, strict=True), line=row.line))], []
    except ValidationError as why:
        return [], [_sentence(error) for error in why.errors()]


def _repeated(rows: Sequence[_Row]) -> Iterator[_Fault]:
    """Of rows that the models could not tell apart, those after the first."""
    normalised = _normalised({str(getattr(row, column, "")) for row in rows for column in _COMPARED})
    first: dict[tuple[object, ...], int] = {}
    for row in rows:
        cells = {column: getattr(row, column) for column in row.key_columns}
        key = tuple(normalised.get(cell) if column in _COMPARED else cell for column, cell in cells.items())
        line = first.setdefault(key, row.line)
        if line != row.line:
            yield _fault(row, row.line, f"{', '.join(cells)} are those of line {line}: delete one of the two lines")


def _normalised(texts: Collection[str]) -> dict[str, str]:
    """Texts as the models compare them, by the same macro."""
    import duckdb  # noqa: PLC0415

    with duckdb.connect() as database:
        database.execute(rules.macros("main"))
        rows = database.execute("select text, normalised_text(text) from (select unnest(?) as text)", [list(texts)])
        return dict(rows.fetchall())


def _closed_before_open(settings: Sequence[Setting]) -> Iterator[_Fault]:
    """Every source opens before it closes; where it names only one of the two, the general other holds."""
    hours = [row for row in settings if row.key in ("hours_open", "hours_close")]
    general = {row.key: row.value for row in hours if not row.source}
    for source, line in {row.source: row.line for row in reversed(hours)}.items():
        of_source = general | {row.key: row.value for row in hours if row.source == source}
        opens, closes = of_source.get("hours_open", ""), of_source.get("hours_close", "24:00")
        if opens >= closes:
            sentence = f"hours_open {opens} is not before hours_close {closes}: set one of them right"
            yield _fault(Setting, line, sentence)


# ---------------------------------------------------------------- sentences


def _fault(kind: type[_Row] | _Row, line: int, sentence: str) -> _Fault:
    return _Fault(kind.file, line, f"{kind.file} line {line}: {sentence}")


def _sentence(error: "ErrorDetails") -> str:
    return str(error["ctx"]["error"]).replace("{cell}", f"{error['loc'][0]} {_shown(error['input'])}")


def _unknown(text: str, known: Iterable[str], which: str) -> str:
    return f"is not known{_hint(text, known)}; the {which} are {', '.join(known)}"


def _hint(text: str, known: Iterable[str]) -> str:
    names = {name.lower(): name for name in sorted(known)}
    return "".join(f" (did you mean {names[near]}?)" for near in get_close_matches(text.lower(), names, 1))


def _shown(text: str | None) -> str:
    """A cell in quotation marks, on one line and not too long."""
    plain = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text or "")
    return f'"{plain}"' if len(plain) <= _ECHOED else f'"{plain[: _ECHOED - 1]}…"'


# ---------------------------------------------------------------- tables


def write(connection: "DuckDBPyConnection", mappings: Mappings) -> None:
    """Make schema `mappings` anew from these, all of it or nothing."""
    import pyarrow as pa  # noqa: PLC0415

    types = {"product_id": pa.int32(), "line": pa.int64()}
    with transaction.whole(connection):
        connection.execute("create schema if not exists mappings")
        for kind, rows in zip(_KINDS, mappings, strict=True):
            schema = pa.schema([(column, types.get(column, pa.string())) for column in kind.model_fields])
            # A name that no table has: tables go before variables.
            mapping_rows = pa.Table.from_pylist([row.model_dump() for row in rows], schema)
            table = kind.file.removesuffix(".csv")
            connection.execute(
                f"create or replace table mappings.{table} as select * exclude line, line from mapping_rows"
            )
            del mapping_rows
