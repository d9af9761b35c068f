"""From documents to the rows of every landed table, in bulk: DuckDB SQL over one chunk in memory, Arrow in and out.

It looks at nothing but the chunk: no history, no warehouse. So whatever engine keeps the tables, it gets these rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines import rules
from pipelines.contract import (
    ANSWER,
    ANSWERS,
    CHECKLIST,
    DEFAULT_TIME_ZONE,
    EMAIL_KEYS,
    EMAILS,
    FIELDS,
    LANDED,
    PHONE_KEYS,
    PHONES,
    QUESTION,
    SECTION,
    Field,
    Table,
    Type,
)
from pipelines.identity import numbers

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DOCUMENTS = pa.schema(
    [
        ("segment", pa.string()),
        ("line", pa.int64()),
        ("delivery_id", pa.string()),
        ("item", pa.int64()),
        ("source", pa.string()),
        ("received_at", pa.string()),
        ("bytes", pa.int64()),
        ("visit_id", pa.string()),
        ("content_hash", pa.string()),
        ("body", pa.string()),  # None where another document of the load says the same
        ("extra", pa.string()),
        ("reason", pa.string()),  # of a reject
        ("detail", pa.string()),
    ]
)
Rows = Mapping[str, pa.Table]
Flatten = Callable[[pa.Table], Iterator[Rows]]

# The segments of a load are known without looking into a document.
TABLES = {name: table for name, table in LANDED.items() if name != "segments"}
_MEMORY_LIMIT, _MEMORY_LIMIT_OF_ONE = "500MB", "4GB"  # of many documents, and of one that needs more
# Several numbers are looked for in texts up to this length: each number is a row that has the whole text.
_LONGEST_OF_SEVERAL = 256


def _texts(names: Iterable[str]) -> str:
    return ",".join(f'"{name}":"VARCHAR"' for name in names)


_CHECKLIST = f'[{{{_texts((*QUESTION, SECTION, "extra"))},"{ANSWERS}":[{{{_texts((*ANSWER, "extra"))}}}]}}]'
_SCALARS = _texts(name for field in FIELDS for name in field.spellings)
_PAYLOAD = f'{{{_SCALARS},"{CHECKLIST}":{_CHECKLIST},"{PHONES}":["JSON"],"{EMAILS}":["JSON"]}}'

# Only Region/City names and UTC are trusted; in DuckDB an unknown zone aborts the query, so join the list first.
_ZONES = """
create table zones as
    select lower(name) as zone_key, any_value(name) as zone from pg_timezone_names()
    where contains(name, '/') or name = 'UTC' group by all;
"""


def _read(field: Field) -> str:
    """The expression that reads a documented field from the parsed payload."""
    if field.reader == "as_sent":
        return _sent(field)
    return f"{field.reader}({_sent(field)}{', zone' * (field.type is Type.LOCAL)})"


def _sent(field: Field) -> str:
    """The expression for the text as sent."""
    texts = [f'payload."{name}"' for name in field.spellings]
    return texts[0] if len(texts) == 1 else f"coalesce({', '.join(texts)})"


_NO_TIME = "0000-00-00 00:00:00"  # as PHP writes the end of a visit that has none
_NO_TEXTS = [field for field in FIELDS if field.type is not Type.TEXT]
_FIELDS = ", ".join(f"{_read(field)} as {field.column}" for field in FIELDS)
_IS_UNREAD = {
    field.spellings[0]: f"{field.column} is null and {_sent(field)} <> '{_NO_TIME}' and trimmed({_sent(field)}) <> ''"
    for field in _NO_TEXTS
}
_UNREAD = ", ".join(
    f"'{field.spellings[0]}': case when {_IS_UNREAD[field.spellings[0]]} then {_sent(field)} end"
    for field in _NO_TEXTS
)
_SOUND_FIX = "abs(lat) <= 90 and abs(lng) <= 180 and not (lat = 0 and lng = 0)"

# A value that cannot be read is kept in `extra`, under its documented name.
_PARSE = f"""
create or replace table contents as
    select * exclude (payload) replace (
        case when {_SOUND_FIX} then lat end as lat, case when {_SOUND_FIX} then lng end as lng,
        case when {" or ".join(f"({unread})" for unread in _IS_UNREAD.values())}
            then json_merge_patch(coalesce(extra, '{{}}')::json, to_json({{{_UNREAD}}}))::varchar else extra
            end as extra
    )
    from (
        select delivery_id, item, source, visit_id, content_hash, received_at, zone, {_FIELDS}, extra,
            payload."{CHECKLIST}" as checklist, payload."{PHONES}" as phones, payload."{EMAILS}" as emails, payload
        from (
            select delivery_id, item, source, visit_id, content_hash, received_at, extra, payload,
                coalesce(zones.zone, '{DEFAULT_TIME_ZONE}') as zone
            from (
                select *, from_json(body, '{_PAYLOAD}') as payload from documents where body is not null
            )
            left join zones on zone_key = lower(trimmed(payload."timeZone"))
        )
    )
"""


def _items_of(table: str, keys: tuple[str, ...]) -> str:
    """The view of items of phones or e-mails: text, or an object with the text under one of some keys."""
    key = " ".join(f"when item->>'$.{key}' is not null then '{key}'" for key in keys)
    return f"""
create view {table}_sent as
    with items as (
        select delivery_id, item as number, source, visit_id, unnest({table}) as item,
            generate_subscripts({table}, 1) as pos
        from contents
    ),
    keyed as (
        select *, json_type(item) = 'OBJECT' as is_object, case when is_object then case {key} end end as key
        from items
    ),
    read as (
        select *,
            case when is_object then json_extract_string(item, '$.' || key) else item->>'$' end as value,
            case when key is not null then json_merge_patch(item, json('{{"' || key || '":null}}'))
                 when is_object then item end as others
        from keyed
    )
    select delivery_id, number as item, source, visit_id, pos, value, nullif(others::varchar, '{{}}') as extra
    from read;
"""


_VIEWS = f"""
create view questions_sent as
    select delivery_id, item, source, visit_id, zone, unnest(checklist) as question,
        generate_subscripts(checklist, 1) as question_pos
    from contents;

create view answers_sent as
    select delivery_id, item, source, visit_id, zone, question_pos, unnest(question.answers) as answer,
        generate_subscripts(question.answers, 1) as answer_pos
    from questions_sent;

create view answers_read as
    select delivery_id, item, source, visit_id, question_pos, answer_pos,
        read_id(answer.answerID) as answer_id, read_id(answer.answerTypeID) as answer_type_id,
        answer.answerName as answer_name, read_whole(answer."order") as answer_order, answer.value as value,
        case when answer_type_id in ('6', '8') then read_bool(value) end as value_bool,
        case when answer_type_id in ('3', '4') then read_number(value) end as value_number,
        case when answer_type_id = '5' then read_date(value, zone) end as value_date,
        case when answer_type_id = '10' then read_time(value) end as value_time,
        answer.extra as extra
    from answers_sent;

{_items_of(PHONES, PHONE_KEYS)}
{_items_of(EMAILS, EMAIL_KEYS)}

create table phone_numbers (source varchar, value varchar, n bigint, normalised varchar, e164 varchar);
"""

# What the columns of a table are read from; a column that is not named stands there under its own name.
_FROM: dict[str, tuple[str, dict[str, str]]] = {
    "deliveries": ("documents", {}),
    "rejects": ("documents where reason is not null", {}),
    "visits": ("contents", {}),
    "questions": (
        "questions_sent",
        {
            "question_id": "read_id(question.questionID)",
            "question_name": "question.questionName",
            "question_order": 'read_whole(question."order")',
            "section": "question.section",
            "extra": "question.extra",
        },
    ),
    "answers": (
        "answers_read",
        {
            "value_text": "case when answer_type_id in ('3', '4', '5', '10') or value_bool is not null then null "
            "else value end",
            "parse_ok": "case when value is null then null "
            "when answer_type_id in ('3', '4') then value_number is not null "
            "when answer_type_id = '5' then value_date is not null "
            "when answer_type_id = '10' then value_time is not null else true end",
        },
    ),
    # A text may hold several numbers: each is a row, and the item's other fields stand with the first.
    PHONES: (
        f"{PHONES}_sent as sent left join phone_numbers as numbers"
        " on numbers.source = sent.source and numbers.value = sent.value",
        {
            "source": "sent.source",
            "value": "sent.value",
            "pos": "row_number() over (partition by delivery_id, item order by pos, n)",
            "extra": "case when n > 1 then null else extra end",
        },
    ),
    EMAILS: (f"{EMAILS}_sent", {"normalised": "nullif(lower(trimmed(value)), '')"}),
}


def _query(table: Table) -> str:
    """What to select for the rows of a landed table, cast to its types. JSON leaves as text."""
    place, special = _FROM[table.name]
    columns = (
        f"cast({special.get(column.name, column.name)} as"
        f" {Type.TEXT if column.type is Type.JSON else column.type}) as {column.name}"
        for column in table.columns
    )
    return f"select {', '.join(columns)} from {place}"


@contextmanager
def flattener(region_of: Callable[[str], str]) -> Iterator[Flatten]:
    """A function that makes the rows of every table in TABLES of documents (as DOCUMENTS): at once, or in parts
    where memory does not hold the rows of all.

    `region_of` a source: in which country its phone numbers stand without a country code.
    """
    import duckdb  # noqa: PLC0415 - a run with nothing to do never gets here

    with duckdb.connect(config={"memory_limit": _MEMORY_LIMIT, "threads": 1}) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(rules.macros("main") + _ZONES)
        connection.register("documents", DOCUMENTS.empty_table())
        connection.execute(_PARSE + ";" + _VIEWS)

        def rows_of(documents: pa.Table) -> Rows:
            connection.register("documents", documents)
            connection.execute(_PARSE)
            _read_phone_numbers(connection, region_of)
            return {name: connection.sql(_query(table)).to_arrow_table() for name, table in TABLES.items()}

        def rows_of_one(document: pa.Table) -> Rows:
            connection.execute(f"set memory_limit = '{_MEMORY_LIMIT_OF_ONE}'")
            try:
                return rows_of(document)
            finally:
                connection.execute(f"set memory_limit = '{_MEMORY_LIMIT}'")

        def flatten(documents: pa.Table) -> Iterator[Rows]:
            try:
                rows = rows_of(documents)
            except duckdb.OutOfMemoryException:
                if half := documents.num_rows // 2:
                    yield from flatten(documents[:half])
                    yield from flatten(documents[half:])
                else:
                    yield rows_of_one(documents)
            else:
                yield rows

        yield flatten


def _read_phone_numbers(connection: "DuckDBPyConnection", region_of: Callable[[str], str]) -> None:
    """Find the phone numbers in the texts of phones: in a text of some length, one."""
    sent = connection.execute(f"select distinct source, value from {PHONES}_sent where value is not null")
    rows = [
        (source, value, n, number.normalised, number.e164)
        for source, value in sent.fetchall()
        for n, number in enumerate(numbers(value, region_of(source)), 1)
        if n == 1 or len(value) <= _LONGEST_OF_SEVERAL
    ]
    connection.execute("delete from phone_numbers")
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        connection.execute(f"insert into phone_numbers select {', '.join(['unnest(?)'] * len(columns))}", columns)
