"""One row per visit, one column per question: a table of schema `wide` a product, made of the questions seen.

A column stands for one question text and answer name of a product, however spelt and whatever their ids; a question
without text goes by its id. Names and positions that a column once had stay with it, in `wide.columns`; only
`drop schema wide cascade` forgets them.

What is asked is read from the checklists that the models keep, which visits in their hundred thousands share: texts
are looked up once a checklist, and not once an answer.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines import quoting
from pipelines.contract import PRODUCTS, Type
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

_TEMPORARY = "seen products places parts visits answers".split()

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

# ---------------------------------------------------------------- choosing columns

# How the texts of questions and the names of answers are compared. A normalised text has no '#', so an id is never
# taken for one.
_NAMES = """
names as (
    select distinct question_id, question_name, answer_name,
        coalesce(nullif(question_key, ''), '#' || coalesce(question_id, '')) as question_key, answer_key
    from staging.int_question_forms
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
        select checklist, count(*) as visits from staging.int_visit_checklists group by all
    ),
    asked as (
        select product_id, checklist, question_id, question_name, answer_name, bit_or({_KIND}) as kinds,
            min(question_pos) as question_pos, min(answer_pos) as answer_pos
        from staging.int_checklists semi join used using (checklist) where product_id is not null group by all
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

# Where the answers of a checklist belong: a place is a column of a table. Several answers may have the same.
_PARTS = f"""
create or replace temp table wide_parts as
    with {_NAMES.strip()}
    select checklist, question_pos, answer_pos, place, type,
        count(*) over (partition by checklist, place) > 1 as is_one_of_several
    from staging.int_checklists as asked
    join names on {_OF_NAMES}
    join temp.wide_places using (product_id, question_key, answer_key);
"""

# Visits go into their table some at a time, by the day: so many are turned at once, whatever their answers say.
_VISITS_AT_ONCE = 50_000
_DAYS = f"""
select min(local_date), max(local_date) from (
    select local_date, sum(count(*)) over (order by local_date) // {_VISITS_AT_ONCE} as slice
    from marts.visits where product_id = ? and WHICH group by local_date
) group by slice, local_date is null order by slice
"""
_DAY = "(local_date between $first and $last or (local_date is null and $first is null and $last is null))"
_VALUE = """
case type when 'BOOLEAN' then value_bool::varchar when 'DECIMAL(18,4)' then value_number::varchar
    when 'DATE' then value_date::varchar when 'TIME' then value_time::varchar else value end
"""
_VISITS = f"""
create or replace temp table wide_visits as
    select LEADING, checklist, content_delivery_id, content_item, content_load_id
    from (select LEADING from marts.visits where product_id = $product and {_DAY} and WHICH)
    left join (select source, visit_id, checklist from staging.int_visit_checklists) using (source, visit_id)
    left join (
        select source, visit_id, content_delivery_id, content_item, content_load_id from staging.int_current_contents
    ) using (source, visit_id)
"""
_ANSWERS = f"""
create or replace temp table wide_answers as
    select visits.source, visits.visit_id, place, type, is_one_of_several, question_pos, answer_pos, {_VALUE} as value
    from temp.wide_visits as visits
    join landed.answers as answers
        on answers.delivery_id = visits.content_delivery_id and answers.item = visits.content_item
        and answers._dlt_load_id = visits.content_load_id
    join temp.wide_parts using (checklist, question_pos, answer_pos)
    where value is not null
"""
_TURNED = """
insert into wide.TABLE by name
with placed as (
    select source, visit_id, place, value from temp.wide_answers where not is_one_of_several
    union all
    select source, visit_id, place, case any_value(type)
            when 'VARCHAR' then string_agg(value, '; ' order by question_pos, answer_pos)
            else arg_min(value, (question_pos, answer_pos)) end
    from temp.wide_answers where is_one_of_several group by all
),
turned as (
    from placed pivot (any_value(value) for place in (PLACES) group by source, visit_id)
)
select LEADING COLUMNS from temp.wide_visits left join turned using (source, visit_id) order by start_local
"""
_NOTHING_ASKED = "insert into wide.TABLE by name select LEADING from temp.wide_visits order by start_local"


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


class Wide(NamedTuple):
    """The table of a product as it should be."""

    product_id: int
    questions: list[_Question]
    first_place: int

    @property
    def name(self) -> str:
        return _table_name(self.product_id)


def _table_name(product_id: int) -> str:
    """`debt_collection` for DebtCollection; `product_<n>` where nobody documents what the product is called."""
    known = PRODUCTS.get(product_id, f"product_{product_id}")
    return _snake(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", known))


def build(connection: "DuckDBPyConnection", changed: str | None) -> None:
    """Bring the tables of schema `wide` up to date with the models, all at once or not at all.

    `changed`: a table with (source, visit_id) of the visits that changed or went since the last build that was
    completed; None: read every visit again.
    """
    try:
        with transaction.whole(connection):
            _build(connection, changed)
    finally:
        for temporary in _TEMPORARY:
            connection.execute(f"drop table if exists temp.wide_{temporary}")


def _build(connection: "DuckDBPyConnection", changed: str | None) -> None:
    there = connection.execute(
        "select count(*) from duckdb_tables() where database_name = current_database() and schema_name = 'wide'"
    ).fetchone()
    if there == (0,):
        changed = None
    make_tables(connection)
    crowded = connection.execute("select product_id from wide.products where left_out > 0").fetchall()
    wanted = choose(connection, keeps=changed is not None)
    _drop_others(connection, wanted)
    kept, again = [], []
    for table in wanted:
        missing = None if changed is None else _missing(connection, table)
        # What was left out, and now is not, was asked in other visits too.
        if missing is None or (missing and (table.product_id,) in crowded):
            _create(connection, table)
            again.append(table)
            continue
        for name, kind in missing.items():
            connection.execute(f"alter table wide.{table.name} add column {quoting.name(name)} {kind}")
        connection.execute(f"delete from wide.{table.name} where {_among(changed)}")
        kept.append(table)
    _fill(connection, kept, changed)
    _fill(connection, again, None)  # all of them are new, or their types changed, or a question is gone
    for table in wanted:
        _comment(connection, table)


def make_tables(connection: "DuckDBPyConnection") -> None:
    """Make `wide.columns` and `wide.products`, where they are missing."""
    connection.execute(_TABLES)


def choose(connection: "DuckDBPyConnection", *, keeps: bool) -> list[Wide]:
    """The tables that there are to be, noted in `wide.columns` and `wide.products`; in temp.wide_parts stands where
    the answers of each checklist go. `keeps`: columns and tables that are there go before others."""
    connection.execute(_SEEN.replace("KEEP", _KEEP if keeps else "true"))
    connection.execute(_PRODUCTS.replace("PREFER", "table_name is null," if keeps else ""))
    wanted = list(_wanted(connection))
    _register(connection, wanted)
    connection.execute(_PARTS)
    return wanted


def _fill(connection: "DuckDBPyConnection", tables: list[Wide], changed: str | None) -> None:
    """Add the rows of changed visits, or of all."""
    for table in tables:
        turn = _turn(table)
        days = connection.execute(_DAYS.replace("WHICH", _among(changed)), [table.product_id]).fetchall()
        for first, last in days:
            connection.execute(
                _VISITS.replace("LEADING", ", ".join(LEADING)).replace("WHICH", _among(changed)),
                {"product": table.product_id, "first": first, "last": last},
            )
            connection.execute(_ANSWERS)
            connection.execute(turn)


def _turn(table: Wide) -> str:
    """The statement that adds to a table the visits that are at hand."""
    places = range(table.first_place, table.first_place + len(table.questions))
    columns = (
        f', cast("{place}" as {question.type}) as {quoting.name(str(question.column))}'
        for place, question in zip(places, table.questions, strict=True)
    )
    statement = (_TURNED if table.questions else _NOTHING_ASKED).replace("LEADING", ", ".join(LEADING))
    statement = statement.replace("TABLE", table.name).replace("PLACES", ", ".join(map(str, places)))
    return statement.replace("COLUMNS", "".join(columns))


def _among(changed: str | None) -> str:
    """The condition that a visit is in this table; without one, that it is any visit."""
    return "true" if changed is None else f"(source, visit_id) in (select (source, visit_id) from {changed})"


def _wanted(connection: "DuckDBPyConnection") -> Iterator[Wide]:
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
        yield Wide(product_id, list(_named(seen, _taken(connection, product_id))), first_place)
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


def _register(connection: "DuckDBPyConnection", wanted: Sequence[Wide]) -> None:
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
    connection.execute("""
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
            select product_id, null, visits, coalesce(columns, 0), coalesce(questions, 0) - coalesce(columns, 0)
            from temp.wide_products left join placed using (product_id);
    """)
    for table in wanted:
        connection.execute(
            "update wide.products set table_name = ? where product_id = ?", [table.name, table.product_id]
        )


def _drop_others(connection: "DuckDBPyConnection", wanted: Iterable[Wide]) -> None:
    names = {table.name for table in wanted}
    for (name,) in connection.execute(
        "select table_name from duckdb_tables() where database_name = current_database() and schema_name = 'wide'"
    ).fetchall():
        if name not in {*names, "columns", "products"}:
            connection.execute(f"drop table wide.{quoting.name(name)}")


def _leading(connection: "DuckDBPyConnection") -> dict[str, str]:
    types = dict(
        connection.execute(
            "select column_name, data_type from duckdb_columns() where database_name = current_database()"
            " and schema_name = 'marts' and table_name = 'visits'"
        ).fetchall()
    )
    return {name: types[name] for name in LEADING}


def _columns(connection: "DuckDBPyConnection", table: Wide) -> dict[str, str]:
    return _leading(connection) | {str(question.column): question.type.value for question in table.questions}


def _missing(connection: "DuckDBPyConnection", table: Wide) -> dict[str, str] | None:
    """Columns to add at the end of a table that stands; None when it has to be made anew."""
    there = connection.execute(
        "select column_name, data_type from duckdb_columns() where database_name = current_database()"
        " and schema_name = 'wide' and table_name = ? order by column_index",
        [table.name],
    ).fetchall()
    wanted = list(_columns(connection, table).items())
    return dict(wanted[len(there) :]) if there and wanted[: len(there)] == there else None


def _create(connection: "DuckDBPyConnection", table: Wide) -> None:
    columns = ", ".join(f"{quoting.name(name)} {kind}" for name, kind in _columns(connection, table).items())
    connection.execute(f"create or replace table wide.{table.name} ({columns})")
    product = f"product {table.product_id}"
    product += f", {PRODUCTS[table.product_id]}" if table.product_id in PRODUCTS else ""
    about = f"One row per visit (`source`, `visit_id`) of {product}; one column per question, see wide.columns."
    connection.execute(f"comment on table wide.{table.name} is {quoting.literal(about)}")


def _comment(connection: "DuckDBPyConnection", table: Wide) -> None:
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
