"""One row per visit, one column per question: tables `wide.product_<n>`, made from the questions that were seen.

A column stands for one question text and answer name of a product, however spelt and whatever their ids; a question
without text goes by its id. Names and positions that a column once had stay with it, in `wide.columns`; only
`drop schema wide cascade` forgets them.

What is asked is read from the checklists that the models keep, which visits in their hundred thousands share: texts
are looked up once a checklist, and not once an answer.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines import arrow, quoting
from pipelines.build import pivot
from pipelines.contract import PRODUCTS, Type
from pipelines.warehouse import state as meta
from pipelines.warehouse import transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# From marts.visits, in front of the questions.
LEADING = (
    "source", "visit_id", "state", "outcome", "agent_key", "agent_name", "account_id", "client_name", "visit_type",
    "local_date", "start_local", "end_local", "time_zone", "lat", "lng", "tag_name",
)  # fmt: skip
COLUMNS_MAX = 200  # questions that get a column, per product; a client that drifts may ask another in every visit
PRODUCTS_MAX = 50  # products that get a table
NAME_MAX, _ANSWER_NAME_MAX = 60, 24
_COMMENT_MAX = 1000

# A column is typed where nearly all values read as one type. The few others are NULL in it, counted in
# `wide.columns.times_unread` and as sent in kobra.answers: a slip of one client must not turn numbers into text.
_TOLERATED = 0.05

# An answer's kind in bits: the low ones of answers with a value that reads, the high ones of those without a value.
_KINDS = {1: Type.BOOL, 2: Type.NUMBER, 4: Type.DATE, 8: Type.TIME}
_TEXT, _EMPTY = 16, 32
_KIND = f"""
case
    when not is_answered and answer_type_id is null then 0
    when read_as is not null then case read_as
        when 'bool' then 1 when 'number' then 2 when 'date' then 4 when 'time' then 8 else {_TEXT} end
    else {_EMPTY} * case
        when answer_type_id in ('6', '8') then 1 when answer_type_id in ('3', '4') then 2
        when answer_type_id = '5' then 4 when answer_type_id = '10' then 8 else {_TEXT} end
end::usmallint
"""

_TEMPORARY = "seen products places".split()

_TABLES = """
create schema if not exists wide;
create table if not exists wide.columns (
    product_id integer, question_key varchar, answer_key varchar, column_name varchar, type varchar,
    position integer, is_present boolean, times_asked bigint, times_unread bigint,
    question_id varchar, question_name varchar, answer_name varchar
);
create table if not exists wide.products (
    product_id integer, table_name varchar, visits bigint, columns integer, left_out bigint
);
"""
_COMMENTS = """
comment on table wide.columns is
    'One column of a table wide.product_<n>, present or given to it earlier: its question, its type, its position.';
comment on table wide.products is
    'One product seen: its table (not all have one, if they are many), its question columns, how many were left out.';
"""

# ---------------------------------------------------------------- choosing columns

# How the texts of questions and the names of answers are compared. A normalised text has no '#', so an id is never
# taken for one.
_NAMES = """
names as (
    select distinct question_id, question_name, answer_name,
        coalesce(nullif(question_key, ''), '#' || coalesce(question_id, '')) as question_key, answer_key
    from staging.question_forms
)
"""
_OF_NAMES = " and ".join(
    f"names.{column} is not distinct from asked.{column}"
    for column in ("question_id", "question_name", "answer_name")
)

# A question that came without any answer is a column only if it never comes with one.
_SEEN = f"""
create or replace temp table wide_seen as
    with used as (
        select checklist, count(*) as visits from staging.visit_checklists group by all
    ),
    asked as (
        select product_id, checklist, question_id, question_name, answer_name, bit_or({_KIND}) as kinds,
            min(question_pos) as question_pos, min(answer_pos) as answer_pos
        from staging.checklists semi join used using (checklist) where product_id is not null group by all
    ),
    spelt as (
        select product_id, question_id, question_name, answer_name, kinds, sum(visits)::bigint as times,
            min(question_pos) as question_pos, min(answer_pos) as answer_pos
        from asked join used using (checklist) group by all
    ),
    {_NAMES.strip()},
    questions as (
        select product_id, question_key, answer_key, sum(times)::bigint as times_asked,
            min(question_pos) as question_pos, min(answer_pos) as answer_pos, bit_or(kinds) as kinds,
            coalesce(sum(times) filter (where kinds % {_EMPTY} > 0), 0)::bigint as filled,
            {
    ", ".join(
        f"coalesce(sum(times) filter (where kinds % {_EMPTY} > 0 and kinds % {_EMPTY} <> {bit}), 0)::bigint"
        f" as not_{kind.name.lower()}"
        for bit, kind in _KINDS.items()
    )
},
            max(struct_pack(times, asked.question_id, asked.question_name, asked.answer_name)) as usual
        from spelt as asked join names on {_OF_NAMES} group by all
    ),
    worth_it as (
        select *, case
                when filled = 0 then kinds // {_EMPTY}
                {
    " ".join(f"when not_{kind.name.lower()} <= filled * {_TOLERATED} then {bit}" for bit, kind in _KINDS.items())
}
                else {_TEXT}
            end as kind, case kind {
    " ".join(f"when {bit} then not_{kind.name.lower()}" for bit, kind in _KINDS.items())
} else 0 end as times_unread
        from questions
        qualify kinds > 0
            or (max(kinds) over (partition by product_id, question_key) = 0 and question_key <> '#')
    )
    select q.product_id, q.question_key, q.answer_key, q.times_asked, q.times_unread, question_pos, answer_pos, kind,
        usual.question_id, usual.question_name, usual.answer_name, column_name, position,
        row_number() over (
            partition by q.product_id
            order by KEEP, q.times_asked desc, question_pos, answer_pos, q.question_key, q.answer_key
        ) as rank
    from worth_it as q left join wide.columns using (product_id, question_key, answer_key);
"""
_KEEP = "coalesce(is_present, false) desc"

_PRODUCTS = """
create or replace temp table wide_products as
    with visited as (
        select product_id, count(*) as visits from marts.visits where product_id is not null group by all
    ),
    asked as (
        select product_id, count(*) as questions from temp.wide_seen group by all
    )
    select product_id, visited.visits, questions,
        row_number() over (order by PREFER visited.visits desc, product_id) as rank
    from visited left join asked using (product_id) left join wide.products using (product_id);
"""

# Where answers belong: a place is a column of a table. Several answers of a visit may have the same.
_PARTS = f"""
with {_NAMES.strip()},
at_hand as (
    select distinct checklist from staging.visit_checklists where WHICH
)
select hash(checklist, question_pos, answer_pos) as part, place,
    count(*) over (partition by checklist, place) > 1 as is_one_of_several
from (from staging.checklists semi join at_hand using (checklist)) as asked
join names on {_OF_NAMES}
join temp.wide_places using (product_id, question_key, answer_key)
"""


class _Question(NamedTuple):
    """A question of a product that has a column, or is to have one."""

    question_key: str
    answer_key: str
    type: Type
    question_id: str | None
    question_name: str | None
    answer_name: str | None
    times_asked: int
    times_unread: int
    column: str | None
    position: int | None


class _Wide(NamedTuple):
    """The table of a product as it should be."""

    product_id: int
    questions: list[_Question]
    first_place: int

    @property
    def name(self) -> str:
        return f"product_{self.product_id}"

    @property
    def target(self) -> pivot.Target:
        columns = [(str(question.column), question.type) for question in self.questions]
        return pivot.Target(self.product_id, self.name, columns, self.first_place)


def build(connection: "DuckDBPyConnection", touched: str | None) -> None:
    """Bring the tables of schema `wide` up to date with the models, all at once or not at all.

    `touched`: a table with (source, visit_id) of the visits that changed or went since the last build that was
    completed; None: read every visit again. Reads schema kobra, and what the models have just made of it:
    marts.visits, and from schema staging the checklists, and where the answers of touched visits are. All of that has
    to be committed.
    """
    try:
        with transaction.whole(connection):
            _build(connection, touched)
    finally:
        for temporary in _TEMPORARY:
            connection.execute(f"drop table if exists temp.wide_{temporary}")


def _build(connection: "DuckDBPyConnection", touched: str | None) -> None:
    there = connection.execute(
        "select count(*) from duckdb_tables() where database_name = current_database() and schema_name = 'wide'"
    ).fetchone()
    if there == (0,):
        touched = None
    connection.execute(_TABLES + _COMMENTS)
    crowded = connection.execute("select product_id from wide.products where left_out > 0").fetchall()
    connection.execute(_SEEN.replace("KEEP", "true" if touched is None else _KEEP))
    connection.execute(_PRODUCTS.replace("PREFER", "" if touched is None else "table_name is null,"))
    wanted = list(_wanted(connection))
    _register(connection, wanted)
    _drop_others(connection, wanted)
    kept, again = [], []
    for table in wanted:
        missing = None if touched is None else _missing(connection, table)
        # What was left out, and now is not, was asked in other visits too.
        if missing is None or (missing and (table.product_id,) in crowded):
            _create(connection, table)
            again.append(table)
            continue
        for name, kind in missing.items():
            connection.execute(f"alter table wide.{table.name} add column {quoting.name(name)} {kind}")
        connection.execute(f"delete from wide.{table.name} where {meta.among(touched)}")
        kept.append(table)
    _fill(connection, kept, touched)
    _fill(connection, again, None)  # all of them are new, or their types changed, or a question is gone
    for table in wanted:
        _comment(connection, table)


def _fill(connection: "DuckDBPyConnection", tables: list[_Wide], touched: str | None) -> None:
    """Add the rows of touched visits, or of all."""
    if tables:
        parts = arrow.rows(connection, _PARTS.replace("WHICH", meta.among(touched)))
        pivot.fill(connection, LEADING, [table.target for table in tables], parts, touched)


def _wanted(connection: "DuckDBPyConnection") -> Iterator[_Wide]:
    """Every product's table, with names for all its columns."""
    products = connection.execute(
        "select product_id from temp.wide_products where rank <= ? order by all", [PRODUCTS_MAX]
    ).fetchall()
    first_place = 0
    for (product_id,) in products:
        rows = connection.execute(
            """
            select question_key, answer_key, kind, question_id, question_name, answer_name, times_asked,
                times_unread, column_name, position
            from temp.wide_seen where product_id = ? and rank <= ?
            order by position nulls last, question_pos, answer_pos, question_key, answer_key
            """,
            [product_id, COLUMNS_MAX],
        ).fetchall()
        seen = [_Question(q, a, _KINDS.get(kind, Type.TEXT), *others) for q, a, kind, *others in rows]
        yield _Wide(product_id, list(_named(seen, _taken(connection, product_id))), first_place)
        first_place += len(seen)


def _taken(connection: "DuckDBPyConnection", product_id: int) -> tuple[set[str], int]:
    """The names that a new column cannot have, and the last position given."""
    given = connection.execute(
        "select column_name, position from wide.columns where product_id = ?", [product_id]
    ).fetchall()
    reserved = connection.execute(
        "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
    ).fetchall()
    names = {name for name, _ in given} | {name for (name,) in reserved} | set(LEADING)
    return names, max((position for _, position in given), default=0)


def _named(questions: Iterable[_Question], given: tuple[set[str], int]) -> Iterator[_Question]:
    taken, last = given
    for question in questions:
        if question.column is not None:
            yield question
            continue
        last += 1
        name = _name(question, taken)
        taken.add(name)
        yield question._replace(column=name, position=last)


def _name(question: _Question, taken: set[str]) -> str:
    """Snake case in ASCII from the text of the question, at most 60 characters, and not yet taken."""
    identity = _snake(question.question_id or "")[:_ANSWER_NAME_MAX].rstrip("_")
    answer = _shortened(_snake(question.answer_name or ""), _ANSWER_NAME_MAX)
    name = _snake(question.question_name or "") or "_".join(filter(None, ("question", identity)))
    name = _with_ending(name if not name[0].isdigit() else f"q_{name}", answer)
    if name in taken and identity:
        name = _with_ending(name, identity)
    base, number = name, 1
    while name in taken:
        number += 1
        name = _with_ending(base, str(number))
    return name


def _snake(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text[: 10 * NAME_MAX].casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", letters).strip("_")


def _shortened(name: str, length: int) -> str:
    """Cut between words, unless that would lose more than half."""
    if len(name) <= length:
        return name
    cut = name[: length + 1].rpartition("_")[0]
    return cut if len(cut) > length // 2 else name[:length].rstrip("_")


def _with_ending(name: str, ending: str) -> str:
    return f"{_shortened(name, NAME_MAX - 1 - len(ending))}_{ending}" if ending else _shortened(name, NAME_MAX)


# ---------------------------------------------------------------- writing tables


def _register(connection: "DuckDBPyConnection", wanted: Iterable[_Wide]) -> None:
    """Keep every name that was given; say which are in use, and what was left out."""
    connection.execute("update wide.columns set is_present = false, times_asked = 0, times_unread = 0")
    connection.execute(
        "create or replace temp table wide_places (product_id integer, question_key varchar, answer_key varchar,"
        " place integer, column_name varchar, type varchar, position integer, times_asked bigint,"
        " times_unread bigint, question_id varchar, question_name varchar, answer_name varchar)"
    )
    rows = [
        (table.product_id, q.question_key, q.answer_key, place, q.column, q.type.value, q.position, q.times_asked,
         q.times_unread, q.question_id, q.question_name, q.answer_name)
        for table in wanted for place, q in enumerate(table.questions, table.first_place)
    ]  # fmt: skip
    if rows:
        connection.execute(
            "insert into temp.wide_places select " + ", ".join(["unnest(?)"] * len(rows[0])),
            [list(column) for column in zip(*rows, strict=True)],
        )
    connection.execute(f"""
        delete from wide.columns where (product_id, question_key, answer_key) in (
            select (product_id, question_key, answer_key) from temp.wide_places
        );
        insert into wide.columns
            select product_id, question_key, answer_key, column_name, type, position, true, times_asked, times_unread,
                question_id, question_name, answer_name
            from temp.wide_places;
        delete from wide.products;
        insert into wide.products
            with placed as (select product_id, count(*) as columns from temp.wide_places group by all)
            select product_id, case when rank <= {PRODUCTS_MAX} then 'product_' || product_id end, visits,
                coalesce(columns, 0), coalesce(questions, 0) - coalesce(columns, 0)
            from temp.wide_products left join placed using (product_id);
    """)


def _drop_others(connection: "DuckDBPyConnection", wanted: Iterable[_Wide]) -> None:
    names = {table.name for table in wanted}
    for (name,) in connection.execute(
        "select table_name from duckdb_tables() where database_name = current_database() and schema_name = 'wide'"
    ).fetchall():
        if name.startswith("product_") and name not in names:
            connection.execute(f"drop table wide.{quoting.name(name)}")


def _leading(connection: "DuckDBPyConnection") -> dict[str, str]:
    types = dict(
        connection.execute(
            "select column_name, data_type from duckdb_columns() where database_name = current_database()"
            " and schema_name = 'marts' and table_name = 'visits'"
        ).fetchall()
    )
    return {name: types[name] for name in LEADING}


def _columns(connection: "DuckDBPyConnection", table: _Wide) -> dict[str, str]:
    return _leading(connection) | {str(question.column): question.type.value for question in table.questions}


def _missing(connection: "DuckDBPyConnection", table: _Wide) -> dict[str, str] | None:
    """Columns to add at the end of a table that stands; None when it has to be made anew."""
    there = connection.execute(
        "select column_name, data_type from duckdb_columns() where database_name = current_database()"
        " and schema_name = 'wide' and table_name = ? order by column_index",
        [table.name],
    ).fetchall()
    wanted = list(_columns(connection, table).items())
    return dict(wanted[len(there) :]) if there and wanted[: len(there)] == there else None


def _create(connection: "DuckDBPyConnection", table: _Wide) -> None:
    columns = ", ".join(f"{quoting.name(name)} {kind}" for name, kind in _columns(connection, table).items())
    connection.execute(f"create or replace table wide.{table.name} ({columns})")
    about = f"One row per visit of product {table.product_id}"
    about += f" ({PRODUCTS[table.product_id]})" if table.product_id in PRODUCTS else ""
    about += ", one column per question: see wide.columns."
    connection.execute(f"comment on table wide.{table.name} is {quoting.literal(about)}")


def _comment(connection: "DuckDBPyConnection", table: _Wide) -> None:
    """Every column of a question says the question as it was asked most often."""
    there = dict(
        connection.execute(
            "select column_name, comment from duckdb_columns() where database_name = current_database()"
            " and schema_name = 'wide' and table_name = ?",
            [table.name],
        ).fetchall()
    )
    for question in table.questions:
        text = question.question_name or f"Question {question.question_id or 'without text or id'}"
        text += f" · {question.answer_name}" if question.answer_name else ""
        text = text.replace("\0", "")[:_COMMENT_MAX]
        if there[question.column] != text:
            connection.execute(
                f"comment on column wide.{table.name}.{quoting.name(str(question.column))} is {quoting.literal(text)}"
            )
