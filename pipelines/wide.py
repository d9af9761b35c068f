"""One row per visit, one column per question: tables `wide.product_<n>`, made from the questions that were seen.

A column stands for one question text and answer name of a product, however spelt and whatever their ids; a question
without text goes by its id. Names and positions that a column once had stay with it, in `wide.columns`; only
`drop schema wide cascade` forgets them.

What a build has to know about all visits, in order to look at nothing but the changed ones, is in `wide_state`: for
every visit a signature, the sum of hashes of its questions with their kinds of answers, and once for every signature
what it stands for. Visits in their hundred thousands share a few dozen of them. A form, one spelling of a question
and its answer's name, goes by its hash, too: texts are looked up once a form and not once an answer.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines import quoting, transaction
from pipelines.contract import PRODUCTS, Type

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
# A table's rows stay in memory uncompressed, 16 bytes a text, until 122 880 of them are together: the widest tables
# take half a GiB, common ones a tenth of it.
_MEMORY_LIMIT = "1GB"
_CELLS_AT_ONCE = 2_000_000  # bounds the memory of one step of a pivot

# A column is typed where nearly all values read as one type. The few others are NULL in it, counted in
# `wide.columns.times_unread` and as sent in kobra.answers: a slip of one client must not turn numbers into text.
_TOLERATED = 0.05

# An answer's kind in bits: the low ones of answers with a value that reads, the high ones of those without a value.
_KINDS = {1: Type.BOOL, 2: Type.NUMBER, 4: Type.DATE, 8: Type.TIME}
_TEXT, _EMPTY = 16, 32
_VALUE = {
    Type.TEXT: "value", Type.BOOL: "value_bool", Type.NUMBER: "value_number", Type.DATE: "value_date",
    Type.TIME: "value_time",
}  # fmt: skip

_TEMPORARY = "visits cells signed seen products places form_places placed several joined".split()

_TABLES = """
create schema if not exists wide;
create schema if not exists wide_state;
create table if not exists wide.columns (
    product_id integer, question_key varchar, answer_key varchar, column_name varchar, type varchar,
    position integer, is_present boolean, times_asked bigint, times_unread bigint,
    question_id varchar, question_name varchar, answer_name varchar
);
create table if not exists wide.products (
    product_id integer, table_name varchar, visits bigint, columns integer, left_out bigint
);
create table if not exists wide_state.visits (
    source varchar, visit_id varchar, product_id integer, signature hugeint
);
create table if not exists wide_state.forms (
    form_id ubigint, question_key varchar, answer_key varchar, question_id varchar, question_name varchar,
    answer_name varchar
);
create table if not exists wide_state.signatures (
    signature hugeint, form_id ubigint, question_pos bigint, answer_pos bigint, kinds usmallint
);
"""
_COMMENTS = """
comment on table wide.columns is
    'One column of a table wide.product_<n>, present or given to it earlier: its question, its type, its position.';
comment on table wide.products is
    'One product seen: its table (not all have one, if they are many), its question columns, how many were left out.';
"""

# ---------------------------------------------------------------- reading visits

_READ = f"""
create or replace temp table wide_visits as
    select row_number() over (order by start_local, source, visit_id)::integer as v, source, visit_id, product_id,
        rowid as visit_row
    from marts.visits where product_id is not null and WHICH;

create or replace temp table wide_cells as
    with asked as (
        select v, product_id, question_pos, hash(question_id, question_name) as question
        from QUESTIONS join temp.wide_visits using (source, visit_id)
    ),
    answered as (
        select v, question_pos, answer_pos, answer_name, answer_row, case
                when value is null and answer_type_id is null then 0
                when trim(value) <> '' then
                    case when value_bool is not null then 1 when value_number is not null then 2
                         when value_date is not null then 4 when value_time is not null then 8 else {_TEXT} end
                else {_EMPTY} * case
                    when answer_type_id in ('6', '8') then 1 when answer_type_id in ('3', '4') then 2
                    when answer_type_id = '5' then 4 when answer_type_id = '10' then 8 else {_TEXT} end
            end::usmallint as kinds
        from ANSWERS join temp.wide_visits using (source, visit_id)
    )
    select v, product_id, question_pos, coalesce(answer_pos, 0) as answer_pos, hash(question, answer_name) as form_id,
        answer_row, coalesce(kinds, 0)::usmallint as kinds
    from asked left join answered using (v, question_pos);

insert into wide_state.forms
    with strange as (
        select form_id, unnest(any_value(struct_pack(v, question_pos, answer_pos)))
        from temp.wide_cells anti join wide_state.forms using (form_id) group by form_id
    )
    select form_id,
        -- a normalised text has no '#', so an id is never taken for one
        coalesce(nullif(kobra.normalised_text(question_name), ''), '#' || coalesce(question_id, '')),
        coalesce(kobra.normalised_text(answer_name), ''),
        question_id, question_name, answer_name
    from strange join temp.wide_visits using (v)
    join kobra.questions using (source, visit_id, question_pos)
    left join kobra.answers using (source, visit_id, question_pos, answer_pos);
"""

_REMEMBER = """
create or replace temp table wide_signed as
    select v, sum(hash(form_id, question_pos, answer_pos, kinds)) as signature from temp.wide_cells group by v;

insert into wide_state.visits
    select source, visit_id, product_id, coalesce(signature, 0)
    from temp.wide_visits left join temp.wide_signed using (v);

insert into wide_state.signatures
    with example as (
        select signature, min(v) as v
        from temp.wide_signed
        where signature not in (select signature from wide_state.signatures)
        group by all
    )
    select signature, form_id, min(question_pos), min(answer_pos), bit_or(kinds)
    from example join temp.wide_cells using (v) group by signature, form_id;

delete from wide_state.signatures where signature not in (select signature from wide_state.visits);
"""

# One row per visit and column, of a span of visits: so few that they stay in memory. Several answers are rare: only
# theirs are put in order.
_PLACED = f"""
create or replace temp table wide_placed as
    with cells as (
        select v, place, type, question_pos, answer_pos, answer_row
        from temp.wide_cells join temp.wide_form_places using (product_id, form_id) where WHICH
    )
    select v, place, cells.question_pos, cells.answer_pos, {
    ", ".join(f"case when type = '{kind}' then {name} end as {name}" for kind, name in _VALUE.items())
}
    from cells join kobra.answers as answers on answers.rowid = cells.answer_row
    where coalesce({
    ", ".join(f"case when type = '{kind}' then {name}::varchar end" for kind, name in _VALUE.items())
}) is not null;

create or replace temp table wide_several as
    select v, place from temp.wide_placed group by all having count(*) > 1;

create or replace temp table wide_joined as
    select v, place, string_agg(value, '; ' order by question_pos, answer_pos) as value, {
    ", ".join(f"arg_min({name}, (question_pos, answer_pos)) as {name}" for name in _VALUE.values() if name != "value")
}
    from temp.wide_placed semi join temp.wide_several using (v, place) group by all;

delete from temp.wide_placed where (v, place) in (select (v, place) from temp.wide_several);
insert into temp.wide_placed by name select * from temp.wide_joined;
"""

# ---------------------------------------------------------------- choosing columns

# A question that came without any answer is a column only if it never comes with one.
_SEEN = f"""
create or replace temp table wide_seen as
    with used as (
        select product_id, signature, count(*) as visits from wide_state.visits group by all
    ),
    spelt as (
        select product_id, form_id, kinds, sum(visits)::bigint as asked, min(question_pos) as question_pos,
            min(answer_pos) as answer_pos
        from used join wide_state.signatures using (signature) group by all
    ),
    questions as (
        select product_id, question_key, answer_key, sum(asked)::bigint as times_asked,
            min(question_pos) as question_pos, min(answer_pos) as answer_pos, bit_or(kinds) as kinds,
            coalesce(sum(asked) filter (where kinds % {_EMPTY} > 0), 0)::bigint as filled,
            {
    ", ".join(
        f"coalesce(sum(asked) filter (where kinds % {_EMPTY} > 0 and kinds % {_EMPTY} <> {bit}), 0)::bigint"
        f" as not_{kind.name.lower()}"
        for bit, kind in _KINDS.items()
    )
},
            arg_max(
                struct_pack(form_id, question_id, question_name, answer_name),
                struct_pack(asked, question_id, question_name, answer_name)
            ) as usual
        from spelt join wide_state.forms using (form_id) group by all
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
    select v.product_id, count(*) as visits, any_value(questions) as questions,
        row_number() over (order by PREFER count(*) desc, v.product_id) as rank
    from wide_state.visits as v
    left join (select product_id, count(*) as questions from temp.wide_seen group by all) using (product_id)
    left join wide.products as p on p.product_id = v.product_id
    group by v.product_id;
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

    @property
    def name(self) -> str:
        return f"product_{self.product_id}"


def build(connection: "DuckDBPyConnection", touched: str | None) -> None:
    """Bring the tables of schema `wide` up to date, all at once or not at all.

    `touched`: a table with (source, visit_id) of the visits that changed or went since the last build that was
    completed; None: read every visit again.
    """
    limit = connection.execute("select current_setting('memory_limit')").fetchone()
    assert limit is not None
    connection.execute(f"set memory_limit = '{_MEMORY_LIMIT}'")
    try:
        with transaction.whole(connection):
            _build(connection, touched)
    finally:
        for temporary in _TEMPORARY:
            connection.execute(f"drop table if exists temp.wide_{temporary}")
        connection.execute(f"set memory_limit = '{limit[0]}'")


def _build(connection: "DuckDBPyConnection", touched: str | None) -> None:
    there = connection.execute(
        "select count(*) from duckdb_tables() where database_name = current_database() and schema_name = 'wide_state'"
    ).fetchone()
    if touched is None or there == (0,):
        touched = None
        connection.execute("drop schema if exists wide_state cascade")
    connection.execute(_TABLES + _COMMENTS)
    which = "true" if touched is None else f"(source, visit_id) in (select source, visit_id from {touched})"
    connection.execute(f"delete from wide_state.visits where {which}")
    crowded = connection.execute("select product_id from wide.products where left_out > 0").fetchall()
    _read(connection, which, by_place=touched is not None)
    connection.execute(_REMEMBER)
    connection.execute(_SEEN.replace("KEEP", "true" if touched is None else _KEEP))
    connection.execute(_PRODUCTS.replace("PREFER", "" if touched is None else "any_value(table_name) is null,"))
    wanted = list(_wanted(connection))
    _register(connection, wanted)
    _drop_others(connection, wanted)
    again = []
    for table in wanted:
        missing = None if touched is None else _missing(connection, table)
        # What was left out, and now is not, was asked in other visits too.
        if missing is None or (missing and (table.product_id,) in crowded):
            again.append(table)
            continue
        for name, kind in missing.items():
            connection.execute(f"alter table wide.{table.name} add column {quoting.name(name)} {kind}")
        connection.execute(f"delete from wide.{table.name} where {which}")
        _fill(connection, table)
    for table in again:
        _create(connection, table)
        if touched is not None:  # its type changed, or a question is gone: what is at hand is not all of it
            _read(connection, f"product_id = {table.product_id}", by_place=False)
        _fill(connection, table)
    for table in wanted:
        _comment(connection, table)


def _read(connection: "DuckDBPyConnection", which: str, *, by_place: bool) -> None:
    """The visits in question as temp.wide_visits and all that was answered in them as temp.wide_cells.

    `by_place`: they are few. Then only the keys of all others are looked at.
    """
    read = _READ.replace("WHICH", which)
    for table in ("questions", "answers"):
        places = f"select rowid from kobra.{table} semi join temp.wide_visits using (source, visit_id)"
        which_rows = f"where rowid in ({places})" if by_place else ""
        read = read.replace(table.upper(), f"(select *, rowid as {table[:-1]}_row from kobra.{table} {which_rows})")
    connection.execute(read)


def _wanted(connection: "DuckDBPyConnection") -> Iterator[_Wide]:
    """Every product's table, with names for all its columns."""
    products = connection.execute(
        "select product_id from temp.wide_products where rank <= ? order by all", [PRODUCTS_MAX]
    ).fetchall()
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
        yield _Wide(product_id, list(_named(seen, _taken(connection, product_id))))


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
        for table in wanted for place, q in enumerate(table.questions)
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
        create or replace temp table wide_form_places as
            select product_id, form_id, place, type
            from temp.wide_places join wide_state.forms using (question_key, answer_key);
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


def _fill(connection: "DuckDBPyConnection", table: _Wide) -> None:
    """Add the rows of the visits at hand, a bounded number of cells at a time."""
    columns = [*map(quoting.name, LEADING), *(quoting.name(str(question.column)) for question in table.questions)]
    for first, last in _spans(connection, table, max(1000, _CELLS_AT_ONCE // len(columns))):
        span = f"product_id = {table.product_id} and v between {first} and {last}"
        connection.execute(_PLACED.replace("WHICH", span))
        found = connection.execute("select distinct place from temp.wide_placed order by all").fetchall()
        places = [place for (place,) in found]  # rare questions cost nothing where nobody asked them
        pivoted = "".join(
            f", any_value({_VALUE[table.questions[place].type]}) filter (place = {place}) as p{place}"
            for place in places
        )
        filled = columns[: len(LEADING)] + [columns[len(LEADING) + place] for place in places]
        connection.execute(
            f"""
            insert into wide.{table.name} ({", ".join(filled)})
                with answered as (select v{pivoted} from temp.wide_placed group by v)
                select {", ".join(f"m.{name}" for name in LEADING)}{"".join(f", p{place}" for place in places)}
                from (from temp.wide_visits where {span}) as w join marts.visits as m on m.rowid = w.visit_row
                left join answered using (v)
            """
        )


def _spans(connection: "DuckDBPyConnection", table: _Wide, step: int) -> list[tuple[int, int]]:
    """First and last of the visits at hand, `step` of them at a time."""
    return connection.execute(
        """
        with numbered as (
            select v, (row_number() over (order by v) - 1) // ? as span from temp.wide_visits where product_id = ?
        )
        select min(v), max(v) from numbered group by span order by all
        """,
        [step, table.product_id],
    ).fetchall()
