"""From landed deliveries to the rows of every table, in bulk: DuckDB SQL over one batch at a time.

Two in-memory databases are attached to the warehouse's connection: `inbox` has the reading rules, and `page` the
deliveries of one batch, as `landed`, and the contents in them, as `parsed`. The SQL below makes of these, and of what
the warehouse knows already about the same visits, one table or view `page.<name>` for every table of schema `kobra`:
the rows to write.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines import arrow
from pipelines.contract import (
    ANSWER,
    ANSWERS,
    CHECKLIST,
    DEFAULT_TIME_ZONE,
    EMAIL_KEYS,
    EMAILS,
    FIELDS,
    PHONE_KEYS,
    PHONES,
    QUESTION,
    TABLES,
    Field,
    Table,
)
from pipelines.load import rules
from pipelines.load.batches import texts
from pipelines.privacy.identity import DEFAULT_REGION, numbers
from pipelines.warehouse import state as meta
from pipelines.warehouse import transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Appended by dlt from the page's views of the same names; `segments` come as rows.
WRITTEN = ("answers", "questions", "visits", "deliveries", "visit_versions", PHONES, EMAILS, "rejects")
# Every row is written once, by appending. What the warehouse holds of the page's visits makes room before that,
# see `stage`. A load that is cut short in between is made good by the next one, which trusts nothing that it
# finds of a visit (`is_clean`) and reads all deliveries of the page again.
_CHILDREN = ("questions", "answers", PHONES, EMAILS)
# But what earlier deliveries said of a visit stands in no page: these rows are never away.
_LASTING = ("visits", "visit_versions")
_MAKE_ROOM = [
    "delete from kobra.rejects where delivery_id in (select delivery_id from page.landed)",
    "delete from kobra.deliveries where delivery_id in (select delivery_id from page.landed)",
    """
    update kobra.deliveries set outcome = page.restated.outcome from page.restated
    where deliveries.delivery_id = page.restated.delivery_id
    """,
    *(
        f"delete from kobra.{table} where (source, visit_id) in (select source, visit_id from page.{gone})"
        for tables, gone in ((_LASTING, "touched"), (_CHILDREN, "replaced"))
        for table in tables
    ),
    *(
        f"insert into kobra.{table} by name from page.{table} semi join page.known using (source, visit_id)"
        for table in _LASTING
    ),
]


def _texts(names: Iterable[str]) -> str:
    return ",".join(f'"{name}":"VARCHAR"' for name in names)


_CHECKLIST = f'[{{{_texts(QUESTION)},"{ANSWERS}":[{{{_texts(ANSWER)}}}]}}]'
_SCALARS = _texts(name for field in FIELDS for name in field.spellings)
_PAYLOAD = f'{{{_SCALARS},"{CHECKLIST}":{_CHECKLIST},"{PHONES}":["JSON"],"{EMAILS}":["JSON"]}}'

# Only Region/City names and UTC are trusted; in DuckDB an unknown zone aborts the query, so join the list first.
_ZONES = """
create table inbox.zones as
    select lower(name) as zone_key, any_value(name) as zone from pg_timezone_names()
    where contains(name, '/') or name = 'UTC' group by all;
"""


def _read(field: Field) -> str:
    """The expression that reads a documented field from the parsed payload."""
    texts = [f'payload."{name}"' for name in field.spellings]
    text = texts[0] if len(texts) == 1 else f"coalesce({', '.join(texts)})"
    return text if field.reader == "as_sent" else f"inbox.{field.reader}({text})"


_FIELDS = ", ".join(f"{_read(field)} as {field.column}" for field in FIELDS)
_SOUND_FIX = "abs(lat) <= 90 and abs(lng) <= 180 and not (lat = 0 and lng = 0)"

_LAND = """
    select segment, line, delivery_id, source, received_at::timestamptz as received_at, bytes,
        visit_id, content_hash, reason, detail
    from lines
"""

_PARSE = f"""
    select * replace (case when {_SOUND_FIX} then lat end as lat, case when {_SOUND_FIX} then lng end as lng)
    from (
        select source, visit_id, content_hash, {_FIELDS}, extra,
            payload."{CHECKLIST}" as checklist, payload."{PHONES}" as phones, payload."{EMAILS}" as emails
        from (
            select source, visit_id, content_hash, extra, from_json(body, '{_PAYLOAD}') as payload
            from lines where body is not null
        )
    )
"""

# The version rule: terminal before open, then the latest end, then first received last, then the greater hash.
# A delivery id begins with the time of arrival, 18 characters down to the microsecond, and keeps its order even
# when the clock was set back; a received_at does not.
_VERSIONS = """
create table page.touched as
    select distinct source, visit_id from page.landed where visit_id is not null;

create table page.history as
    select delivery_id, source, received_at, visit_id, content_hash, outcome, segment, line, bytes
    from kobra.deliveries semi join page.touched using (source, visit_id)
    where segment in (select segment from page.taken)
        and delivery_id not in (select delivery_id from page.landed);

create table page.contents as
    with deliveries as (
        select delivery_id, source, received_at, visit_id, content_hash, segment, line from page.landed
        where visit_id is not null
        union all
        select delivery_id, source, received_at, visit_id, content_hash, segment, line from page.history
    ),
    contents as (
        select source, visit_id, content_hash, count(*) as deliveries,
            min(delivery_id) as delivery_id, arg_min(received_at, delivery_id) as received_at,
            arg_min(segment, delivery_id) as segment, arg_min(line, delivery_id) as line
        from deliveries group by all
    ),
    facts as (
        select source, visit_id, content_hash, finished, cancelled, end_local, true as in_page from page.parsed
        union all
        select source, visit_id, content_hash, finished, cancelled, end_local, false
        from kobra.visit_versions semi join page.touched using (source, visit_id)
        anti join page.parsed using (source, visit_id, content_hash)
    ),
    described as (
        select contents.*, finished, cancelled, end_local, coalesce(in_page, false) as in_page
        from contents left join facts using (source, visit_id, content_hash)
    ),
    visits as (select source, visit_id, count(*) as versions from contents group by all),
    ranked as (
        select *,
            row_number() over (
                partition by source, visit_id
                order by coalesce(finished, false) or coalesce(cancelled, false), end_local nulls first,
                    left(delivery_id, 18), content_hash
            ) as merit
        from described join visits using (source, visit_id) where versions > 1
    ),
    arrived as (
        select *, merit = versions as is_current,
            row_number() over arrival as version_no,
            merit = max(merit) over arrival as was_current
        from ranked
        window arrival as (partition by source, visit_id order by left(delivery_id, 18), content_hash)
    )
    select * exclude (merit),
        lead(received_at) over (partition by source, visit_id, was_current order by version_no) as bettered_at
    from arrived
    union all by name  -- nearly all visits have one content, and nothing to be sorted
    select *, true as is_current, 1 as version_no, true as was_current
    from described join visits using (source, visit_id) where versions = 1;

create table page.current as
    select source, visit_id, content_hash, delivery_id, received_at, versions, segment, line, in_page
    from page.contents where is_current;
"""

# Current contents that neither this page nor the warehouse holds: their deliveries are read again.
_MISSING = """
    select c.segment, c.delivery_id from page.current as c
    left join kobra.visits as v using (source, visit_id)
    where not c.in_page and not ({is_clean} and c.content_hash is not distinct from v.content_hash)
"""

_BOOKKEEPING = ("content_hash", "received_at", "delivery_id", "versions")


def _columns(table: Table, special: dict[str, str], default: str = "") -> str:
    """The columns of a table in order; `special` has the expression of those that are not simply there."""
    return ", ".join(
        f"{special[column.name]} as {column.name}" if column.name in special else f"{default}{column.name}"
        for column in table.columns
    )


_CURRENT = {name: f"c.{name}" for name in _BOOKKEEPING}
# A current content that is in no segment any more leaves the visit as it is stored.
_STORED = {
    name: f"case when c.content_hash = v.content_hash then c.{name} else v.{name} end" for name in _BOOKKEEPING[:-1]
} | {"versions": "c.versions"}
_SAME = {"source": "source", "visit_id": "visit_id"}

_WRITE = f"""
create table page.known as select distinct source, visit_id from page.history;

create table page.restated as
    select h.delivery_id, case when c.delivery_id = h.delivery_id then 'new' else 'duplicate' end as outcome
    from page.history as h join page.contents as c using (source, visit_id, content_hash)
    where h.outcome <> (case when c.delivery_id = h.delivery_id then 'new' else 'duplicate' end);

create view page.deliveries as
    select {
    _columns(
        TABLES["deliveries"],
        {
            "delivery_id": "l.delivery_id",
            "received_at": "l.received_at",
            "segment": "l.segment",
            "line": "l.line",
            "outcome": "case when visit_id is null then 'rejected' "
            "when c.delivery_id = l.delivery_id then 'new' else 'duplicate' end",
        },
    )
}
    from page.landed as l left join page.contents as c using (source, visit_id, content_hash) order by delivery_id;

create view page.rejects as
    select {_columns(TABLES["rejects"], {})} from page.landed where reason is not null order by delivery_id;

create view page.visit_versions as
    select {
    _columns(
        TABLES["visit_versions"],
        {
            "valid_from": "received_at",
            "valid_to": "case when is_current then null when was_current then bettered_at else received_at end",
        },
    )
}
    from page.contents;

create view page.rewritten as
    select source, visit_id, checklist, phones, emails, time_zone_raw
    from page.parsed semi join page.current using (source, visit_id, content_hash);

create table page.stored as
    select v.* from kobra.visits as v
    semi join (from page.current anti join page.rewritten using (source, visit_id)) using (source, visit_id);

create view page.visits as
    select {_columns(TABLES["visits"], _CURRENT | _SAME, "p.")}
    from page.current as c join page.parsed as p using (source, visit_id, content_hash)
    union all
    select {_columns(TABLES["visits"], _STORED | _SAME, "v.")}
    from page.current as c join page.stored as v using (source, visit_id);

create view page.asked as
    select source, visit_id, time_zone_raw, unnest(checklist) as question,
        generate_subscripts(checklist, 1) as question_pos
    from page.rewritten;

create view page.questions as
    select {
    _columns(
        TABLES["questions"],
        {
            "question_id": "inbox.read_id(question.questionID)",
            "question_name": "question.questionName",
            "question_order": 'inbox.read_whole(question."order")',
        },
    )
}
    from page.asked;

create view page.answered as
    select source, visit_id, time_zone_raw, question_pos, unnest(question.answers) as answer,
        generate_subscripts(question.answers, 1) as answer_pos
    from page.asked;

create view page.read_answers as
    select source, visit_id, question_pos, answer_pos,
        inbox.read_id(answer.answerID) as answer_id, inbox.read_id(answer.answerTypeID) as answer_type_id,
        answer.answerName as answer_name, inbox.read_whole(answer."order") as answer_order, answer.value as value,
        case when answer_type_id in ('6', '8') then inbox.read_bool(value) end as value_bool,
        case when answer_type_id in ('3', '4') then inbox.read_number(value) end as value_number,
        case when answer_type_id = '5'
             then inbox.read_date(value, coalesce(zone, '{DEFAULT_TIME_ZONE}')) end as value_date,
        case when answer_type_id = '10' then inbox.read_time(value) end as value_time
    from page.answered
    left join inbox.zones  -- only where a date was sent as an instant
        on zone_key = case when answer.answerTypeID = '5' and contains(answer.value, ':')
                           then lower(time_zone_raw) end;

create view page.answers as
    select {
    _columns(
        TABLES["answers"],
        {
            "value_text": "case when answer_type_id in ('3', '4', '5', '10') or value_bool is not null then null "
            "else value end",
            "parse_ok": "case when value is null then null "
            "when answer_type_id in ('3', '4') then value_number is not null "
            "when answer_type_id = '5' then value_date is not null "
            "when answer_type_id = '10' then value_time is not null else true end",
        },
    )
}
    from page.read_answers;
"""


def _contacts(table: str, keys: tuple[str, ...]) -> str:
    """The view of items of phones or e-mails: text, or an object with the text under one of some keys."""
    key = " ".join(f"when item->>'$.{key}' is not null then '{key}'" for key in keys)
    return f"""
create view page.{table}_sent as
    with items as (
        select source, visit_id, unnest({table}) as item, generate_subscripts({table}, 1) as pos from page.rewritten
    ),
    keyed as (
        select source, visit_id, pos, item, json_type(item) = 'OBJECT' as is_object,
            case when is_object then case {key} end end as key
        from items
    ),
    read as (
        select source, visit_id, pos,
            case when is_object then json_extract_string(item, '$.' || key) else item->>'$' end as value,
            case when key is not null then json_merge_patch(item, json('{{"' || key || '":null}}'))
                 when is_object then item end as others
        from keyed
    )
    select source, visit_id, pos, value, nullif(others::varchar, '{{}}')::json as extra from read;
"""


_WRITE += _contacts(PHONES, PHONE_KEYS) + _contacts(EMAILS, EMAIL_KEYS)
# A text may hold several numbers: each is a row, and the item's other fields stand with the first.
_WRITE += f"""
create table page.numbers (source varchar, value varchar, n bigint, normalised varchar, e164 varchar);

create view page.{PHONES} as
    select sent.source, visit_id,
        row_number() over (partition by sent.source, visit_id order by pos, n) as pos,
        sent.value, normalised, e164, case when n > 1 then null else extra end as extra
    from page.{PHONES}_sent as sent
    left join page.numbers on numbers.source = sent.source and numbers.value = sent.value;

create view page.{EMAILS} as
    select source, visit_id, pos, value, nullif(lower(trim(value)), '') as normalised, extra from page.{EMAILS}_sent;
"""


def _read_numbers(connection: "DuckDBPyConnection", region_of: Callable[[str], str]) -> None:
    """Find the phone numbers in the texts of phones."""
    sent = connection.execute(f"select distinct source, value from page.{PHONES}_sent where value is not null")
    rows = [
        (source, value, n, number.normalised, number.e164)
        for source, value in sent.fetchall()
        for n, number in enumerate(numbers(value, region_of(source)), 1)
    ]
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        connection.execute(f"insert into page.numbers select {', '.join(['unnest(?)'] * len(columns))}", columns)


def make_tables(connection: "DuckDBPyConnection") -> None:
    """Make what is missing of schema `kobra`: people find every table and column, whatever came."""
    connection.execute("create schema if not exists kobra")
    connection.execute(rules.macros("kobra"))
    there = set(
        connection.execute(
            "select table_name, column_name from duckdb_columns() where schema_name = 'kobra'"
        ).fetchall()
    )
    for table in map(TABLES.__getitem__, WRITTEN):
        missing = [column for column in table.columns if (table.name, column.name) not in there]
        if len(missing) == len(table.columns):
            columns = ", ".join(f"{column.name} {column.type}" for column in table.columns)
            connection.execute(f"create table kobra.{table.name} ({columns})")
        else:
            for column in missing:
                connection.execute(f"alter table kobra.{table.name} add column {column.name} {column.type}")


@contextmanager
def inbox(connection: "DuckDBPyConnection") -> Iterator[None]:
    """The reading rules, beside the warehouse that the connection has open."""
    # No checkpoint but those that are asked for: one of DuckDB's own would compress what is here only for a moment.
    connection.execute("set checkpoint_threshold = '1 TB'; attach ':memory:' as inbox")
    try:
        connection.execute(rules.macros("inbox") + _ZONES)
        yield
    finally:
        connection.execute("detach inbox; reset checkpoint_threshold")


@contextmanager
def attached(connection: "DuckDBPyConnection", lines: pa.Table, taken: Iterable[str]) -> Iterator[None]:
    """A batch of deliveries (as batches.LINES). `taken`: segments of completed loads."""
    connection.execute("attach ':memory:' as page")
    try:
        for table, rows in (("landed", _LAND), ("parsed", _PARSE)):
            arrow.execute(connection, f"create table page.{table} as {rows}", lines)
        _keep_one_each(connection)
        arrow.execute(connection, "create table page.taken as from lines", pa.table({"segment": texts(taken)}))
        yield
    finally:
        connection.execute("detach page")


def receive_again(connection: "DuckDBPyConnection", lines: pa.Table) -> None:
    """Add the contents of deliveries of earlier batches that are current after all."""
    arrow.execute(connection, f"insert into page.parsed {_PARSE}", lines)
    _keep_one_each(connection)


def _keep_one_each(connection: "DuckDBPyConnection") -> None:
    """Keep one row a delivery, which comes twice when there is a copy of a segment, and one row a content."""
    for table, key, first in (
        ("page.landed", "delivery_id", "(segment, line)"),
        ("page.parsed", "(source, visit_id, content_hash)", "rowid"),
    ):
        connection.execute(f"""
            delete from {table} using (
                select {key} as twice, arg_min(rowid, {first}) as kept from {table} group by all having count(*) > 1
            )
            where {key} = twice and {table}.rowid <> kept
        """)


def compare(connection: "DuckDBPyConnection", *, is_clean: bool) -> list[tuple[str, str]]:
    """Decide which contents are current; answers with (segment, delivery_id) of those to be read again.

    Not `is_clean` means that a load was cut short earlier: then what the warehouse holds of a visit is not trusted.
    """
    connection.execute(_VERSIONS)
    return connection.execute(_MISSING.format(is_clean=is_clean)).fetchall()


def stage(connection: "DuckDBPyConnection", region_of: Callable[[str], str], *, is_clean: bool) -> None:
    """Make the rows of every table, and make room for them in the warehouse, noting whose they are.

    `region_of` a source: in which country its phone numbers stand without a country code.
    """
    connection.execute(_WRITE)
    _read_numbers(connection, region_of)
    connection.execute(
        "create table page.replaced as select source, visit_id from page.rewritten"
        + (" semi join kobra.visits using (source, visit_id)" if is_clean else "")
    )
    with transaction.whole(connection):
        meta.note_loaded(connection, "page.touched")
        connection.execute(";".join(_MAKE_ROOM))


def try_out(lines: pa.Table) -> None:
    """Flatten deliveries in a database of their own, and keep nothing."""
    import duckdb  # noqa: PLC0415

    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        make_tables(connection)
        with inbox(connection), attached(connection, lines, []):
            compare(connection, is_clean=True)
            connection.execute(_WRITE)
            _read_numbers(connection, lambda _: DEFAULT_REGION)
            for name in WRITTEN:
                connection.execute(f"create temp table tried as from ({query(TABLES[name])}); drop table tried")


def query(table: Table) -> str:
    """What to select for the rows that are appended to a table, cast to its types."""
    columns = ", ".join(f"cast({column.name} as {column.type}) as {column.name}" for column in table.columns)
    rest = " anti join page.known using (source, visit_id)" if table.name in _LASTING else ""
    return f"select {columns} from page.{table.name}{rest}"


def outcomes(connection: "DuckDBPyConnection") -> dict[str, int]:
    """How many of the page's own deliveries were new, duplicates, rejected."""
    return dict(connection.execute("select outcome, count(*) from page.deliveries group by all").fetchall())
