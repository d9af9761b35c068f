"""The data dictionary, docs/data-dictionary.md: rendered from the contract and the models' descriptions, so that it
cannot say anything else."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pipelines import contract
from pipelines.build import properties
from pipelines.contract import DEFAULT_TIME_ZONE, FIELDS, KOBRA, LANDED, Table
from pipelines.project import PROJECT

PATH = Path(__file__).parents[2] / "docs" / "data-dictionary.md"
_MODELS = PROJECT / "models"
EMPTY = "(empty)"


class Reader(NamedTuple):
    """How a kind of value is read: in a sentence, and by example; None is NULL."""

    sentence: str
    examples: tuple[tuple[str, str | None], ...]


# Named like the SQL macros that do it. The examples are loaded, and compared, by tests/test_docs.py.
READERS = {
    "as_sent": Reader(
        "Text exactly as sent, a number as it is spelt.",
        (("Cliente ya pagó", "Cliente ya pagó"), (" 1.10", " 1.10")),
    ),
    "read_account": Reader(
        "An id: text without the white space around it; of a whole number its digits, also as spreadsheets write it.",
        (("00110", "00110"), (" 110 ", "110"), ("110.0", "110"), ("1.10105499609E+11", "110105499609")),
    ),
    "read_integer": Reader("A whole number.", (("1", "1"), ("1.0", "1"), ("uno", None))),
    "read_double": Reader("A finite number.", (("5", "5.0"), ("-0.5", "-0.5"), ("NaN", None), ("", None))),
    "read_bool": Reader(
        "true, 1, 1.0, si, s, yes, verdadero, on or false, 0, 0.0, no, n, falso, off; in any case, with or without"
        " accents.",
        (("true", "true"), ("Sí", "true"), ("NO", "false"), ("1.0", "true"), ("quizá", None)),
    ),
    "read_local_time": Reader(
        "YYYY-MM-DD HH:MM with optional seconds and fraction, T or a blank between, or DD/MM/YYYY HH:MM: the wall"
        " clock of the place. An instant, with Z or an offset, is the clock in the visit's zone. Years 1900 to 2199.",
        (
            ("2026-02-16 13:56:49", "2026-02-16 13:56:49"),
            ("2026-02-16T13:56", "2026-02-16 13:56:00"),
            ("0000-00-00 00:00:00", None),
            ("16/02/2026 13:56", "2026-02-16 13:56:00"),
            ("2026-02-16T13:56:00-06:00", "2026-02-16 13:56:00"),
            ("9999-12-31 00:00:00", None),
        ),
    ),
}


class Answered(NamedTuple):
    """How the answers of some types are read, where to, and by example; None is NULL with parse_ok false."""

    types: tuple[str, ...]
    column: str
    sentence: str
    examples: tuple[tuple[str, str | None], ...]


ANSWERED = (
    Answered(("1", "2", "7", "9"), "value_text", "Text exactly as sent; an unknown type is read the same way.",
             (("Efectivo", "Efectivo"),)),
    Answered(("3", "4"), "value_number",
             "Digits, thousands in threes, a decimal point, $, MX$ or MXN. What could mean two things is NULL.",
             (("1500", "1500.0000"), ("1,500.50", "1500.5000"), ("$1,500.00", "1500.0000"),
              ("MXN 1,500", "1500.0000"), ("1,500.50 MXN", "1500.5000"), ("1.500", None),
              ("1.500,50", None), ("12,5", None), ("1e3", None), ("-200", None))),
    Answered(("5",), "value_date",
             "YYYY-MM-DD, DD/MM/YYYY, DD-MM-YYYY, a local date and time; of an instant its date in the visit's zone,"
             " of midnight in UTC, as date pickers send it, that date; years 1900 to 2199;"
             f" in {DEFAULT_TIME_ZONE} where that is unknown (in marts: in the default zone of your settings).",
             (("2026-03-01", "2026-03-01"), ("01/03/2026", "2026-03-01"), ("01-03-2026", "2026-03-01"),
              ("2026-03-01 18:00", "2026-03-01"), ("1/3/2026", "2026-03-01"), ("2026-03-01T03:00:00Z", "2026-02-28"),
              ("2026-03-01T00:00:00.000Z", "2026-03-01"), ("mañana", None))),
    Answered(("6", "8"), "value_bool", "As booleans are read above; what is none goes to value_text.",
             (("true", "true"), ("si", "true"), ("0", "false"))),
    Answered(("10",), "value_time", "H:MM, HH:MM or HH:MM:SS, also with am or pm.",
             (("9:30", "09:30:00"), ("18:05:10", "18:05:10"), ("25:00", None))),
)  # fmt: skip

CONVENTIONS = (
    "`source` is the name of the key that delivered the visit: one lender or Kobra account. It is part of every key.",
    "`_id` is text, also where Kobra sends a number; `product_id` alone is a number.",
    "`_at` is an instant, in UTC.",
    "`_local` is the wall clock of the place of the visit, without a zone; `local_date` its day.",
    "`_rate` and `share` go from 0 to 1. Each is a sum over a sum, and NULL over nothing.",
    "Amounts are in the currency of the account. Nothing converts or tells currencies apart.",
    "`pos` and `_pos` count from 1 in the order of delivery. Kobra's `order` may repeat or be absent, and `answerID` "
    "is null for unanswered questions, so neither can be a key.",
    "NULL is unknown, never false, 0 or an empty text. A value that cannot be read is NULL; what was sent stays in "
    "the raw store, and for answers in `value`.",
    "All tables exist, with all their columns, after the first run, whatever came.",
    "What begins with `_dlt` is bookkeeping of dlt, which writes schema `landed`.",
)

SCHEMAS = {
    "marts": "what came of the visits: begin here",
    "wide": "one row a visit, one column a question: a table a product",
    "kobra": "what was delivered, flattened: the current version of every visit",
    "landed": "the same as the loads wrote it, every version: for history",
    "inputs": "the customer's payments and accounts, as read",
    "mappings": "what questions, answers and thresholds mean, as read from the customer's files",
    "meta": "how and when the tables were made",
    "staging": "steps on the way, which change from release to release: nobody's business",
}

_OPENING = """\
# Data dictionary

<!-- Written by `make docs` from pipelines/contract.py and the properties of the models, sql/models/**/*.yml: change
it there. -->

What is in the published file, `warehouse/analytics.duckdb`, and what Kobra sends. How to open the file:
[README](../README.md#querying). What outcome, contact, promise and the other words mean: [metrics](metrics.md).
The file says all of this of itself: `from tables` lists its tables, and every column has a comment.
"""

_THRESHOLDS = (
    "Settings, such as `episode_days`, are rows of `mappings.settings`: [metrics](metrics.md#thresholds) has those to"
    " start with."
)
_WIDE = """\
`debt_collection`, `address_validation`, `business_validation` and `product_<n>` for others have a row a visit. They
begin with columns of `marts.visits`; then every question seen has a column, whose comment is the question, and whose
type is what nearly all its answers read as. Several answers to one question stand together, `; ` between them."""

_VERSIONS = """\
## Which version of a visit is current

The same visit may be delivered again. `content_hash` tells contents apart: other spacing, escaping or order of
fields is the same content, and a content that was seen before is a duplicate that changes nothing. The current one
among different contents of a visit, the one in `visits`, is decided by, in this order: finished or cancelled before
open, the latest `end_local`, the one that first came in last, the greater hash. A version that sets a value to null
clears it.
"""


def render() -> str:
    """The whole page."""
    return "\n".join(
        (
            _OPENING,
            *_grid(("schema", "what it has"), ((_linked(name), what) for name, what in SCHEMAS.items())),
            "## Conventions",
            "",
            *(f"- {convention}" for convention in CONVENTIONS),
            "",
            *_described("marts", _models(), _THRESHOLDS),
            *_described("wide", _source("wide"), _WIDE),
            *_declared("kobra", KOBRA.values()),
            _VERSIONS,
            *_declared("landed", map(properties.landed, LANDED.values())),
            *(line for name in ("inputs", "mappings", "meta") for line in _described(name, _source(name))),
            *_payload(),
            *_section("Products", ("product_id", "name"), _pairs(contract.PRODUCTS)),
            *_reading(),
            *_section("Reasons for rejection", ("reason", "meaning"), _pairs(contract.REJECTS)),
            "A rejected delivery is listed in `rejects`; its bytes stay in the raw store.",
            "",
        )
    )


def write(path: Path = PATH) -> None:
    """Write the page to its place."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(render(), encoding="utf-8")


# ---------------------------------------------------------------- tables that dbt's properties describe

_DOC = re.compile(r"\{\{ doc\('(\w+)'\) \}\}")
_BLOCK = re.compile(r"\{% docs (\w+) %\}(.*?)\{% enddocs %\}", re.S)


def _models() -> list[dict[str, Any]]:
    """The marts, with whole sentences where the files name doc blocks."""
    return [model for path in sorted((_MODELS / "marts").glob("*.yml")) for model in _read(path)["models"]]


def _source(name: str) -> list[dict[str, Any]]:
    (source,) = _read(_MODELS / "sources" / f"{name}.yml")["sources"]
    return list(source["tables"])


def _read(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - comes with dbt

    text = _DOC.sub(lambda found: _blocks()[found[1]], path.read_text(encoding="utf-8"))
    return dict(yaml.safe_load(text))


@cache
def _blocks() -> dict[str, str]:
    """The doc blocks by name."""
    texts = (path.read_text(encoding="utf-8") for path in _MODELS.rglob("*.md"))
    return {name: block.strip() for text in texts for name, block in _BLOCK.findall(text)}


def _described(schema: str, tables: list[dict[str, Any]], note: str = "") -> Iterator[str]:
    yield from _overview(schema, ((table["name"], table["description"]) for table in tables))
    if note:
        yield note
        yield ""
    for table in tables:
        yield f"### {schema}.{table['name']}"
        yield ""
        yield table["description"]
        yield ""
        columns = table["columns"]
        if all("data_type" in column for column in columns):
            rows = [(f"`{each['name']}`", each["data_type"].upper(), each["description"]) for each in columns]
            yield from _grid(("column", "type", "meaning"), rows)
        else:
            yield from _grid(("column", "meaning"), ((f"`{each['name']}`", each["description"]) for each in columns))


# ---------------------------------------------------------------- tables that the contract declares


def _declared(schema: str, tables: Iterable[Table]) -> Iterator[str]:
    tables = list(tables)
    yield from _overview(schema, ((table.name, properties.described(table)) for table in tables))
    for table in tables:
        yield f"### {schema}.{table.name}"
        yield ""
        yield properties.described(table)
        yield ""
        rows = ((f"`{column.name}`", column.type, column.meaning, column.source) for column in table.columns)
        yield from _grid(("column", "type", "meaning", "source"), rows)


def _overview(schema: str, tables: Iterable[tuple[str, str]]) -> Iterator[str]:
    rows = ((f"[`{name}`](#{schema}{name})", description) for name, description in tables)
    yield from _section(f"Schema {schema}", ("table", "what it has"), rows)


def _linked(schema: str) -> str:
    return f"`{schema}`" if schema == "staging" else f"[`{schema}`](#schema-{schema})"


def _payload() -> Iterator[str]:
    visit_id = next(column for column in KOBRA["visits"].columns if column.name == "visit_id")
    fields = (
        (_code(field.spellings), f"`{field.column}`", field.type, field.meaning, field.source, f"`{field.reader}`")
        for field in FIELDS
    )
    first = (
        _code(contract.VISIT_ID),
        "`visit_id`",
        visit_id.type,
        visit_id.meaning,
        visit_id.source,
        "trimmed; blank: rejected",
    )
    yield "## What Kobra sends"
    yield ""
    yield "One JSON object a visit. Where a field has several spellings, the first one with a value counts."
    yield ""
    yield from _grid(("field", "column", "type", "meaning", "source", "read"), (first, *fields))
    yield f"`{contract.CHECKLIST}` becomes `questions` and `answers`; `{contract.PHONES}` and `{contract.EMAILS}`"
    yield "become the tables of these names. Each is a list, an object keyed by position, null or absent."
    yield "A phone or an e-mail is text, or an object whose first field of these counts:"
    yield f"{_code(contract.PHONE_KEYS)} for phones, {_code(contract.EMAIL_KEYS)} for e-mails."
    yield ""


def _reading() -> Iterator[str]:
    yield "## How values are read"
    yield ""
    rows = ((f"`{name}`", each.sentence, _shown(each.examples)) for name, each in READERS.items())
    yield from _grid(("read", "what is read", "examples"), rows)
    yield "Answers are read by their type:"
    yield ""
    types = contract.ANSWER_TYPES
    yield from _grid(
        ("answer_type_id", "column", "what is read", "examples"),
        (
            (", ".join(f"{key} {types[key]}" for key in each.types), f"`{each.column}`", each.sentence,
             _shown(each.examples))
            for each in ANSWERED
        ),
    )  # fmt: skip


def _section(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield from _grid(head, rows)


def _grid(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield _row("---" for _ in head)
    yield from map(_row, rows)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _pairs(meanings: Mapping[Any, str]) -> Iterator[tuple[str, str]]:
    return ((f"`{key}`", meaning) for key, meaning in meanings.items())


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _shown(examples: Iterable[tuple[str, str | None]]) -> str:
    return " · ".join(f"`{sent or EMPTY}` → {'NULL' if read is None else f'`{read}`'}" for sent, read in examples)


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:2]))
