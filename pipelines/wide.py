"""One row per visit, one column per question: tables `wide.product_<n>`, made from the questions that were seen.

A column stands for one question text and answer name of a product, however spelt and whatever their ids; a question
without text goes by its id. Names and positions that a column once had stay with it, in `wide.columns`; only
`drop schema wide cascade` forgets them.

What a build has to know about all visits, in order to look at nothing but the changed ones, is in `wide_state`: for
every visit a signature, a hash of its checklist and the kinds of its answers, and once for every signature what it
stands for. Visits in their hundred thousands share a few dozen of them. A form, one spelling of a question and its
answer's name, goes by its hash, too: texts are looked up once a form and not once an answer.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines import pivot, quoting, transaction
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

# A column is typed where nearly all values read as one type. The few others are NULL in it, counted in
# `wide.columns.times_unread` and as sent in kobra.answers: a slip of one client must not turn numbers into text.
_TOLERATED = 0.05

# An answer's kind in bits: the low ones of answers with a value that reads, the high ones of those without a value.
_KINDS = {1: Type.BOOL, 2: Type.NUMBER, 4: Type.DATE, 8: Type.TIME}
_TEXT, _EMPTY = 16, 32

_TEMPORARY = "visits signed parts seen products places part_places".split()

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
    source varchar, visit_id varchar, product_id integer, signature ubigint
);
create table if not exists wide_state.forms (
    form_id ubigint, question_key varchar, answer_key varchar, question_id varchar, question_name varchar,
    answer_name varchar
);
create table if not exists wide_state.signatures (
    signature ubigint, form_id ubigint, question_pos bigint, answer_pos bigint, kinds usmallint
);
"""
_COMMENTS = """
comment on table wide.columns is
    'One column of a table wide.product_<n>, present or given to it earlier: its question, its type, its position.';
comment on table wide.products is
    'One product seen: its table (not all have one, if they are many), its question columns, how many were left out.';
"""

# ---------------------------------------------------------------- reading visits

_KINDS_OF_ANSWER = f"""
case
    when value is null and answer_type_id is null then 0
    when trim(value) <> '' then
        case when value_bool is not null then 1 when value_number is not null then 2
             when value_date is not null then 4 when value_time is not null then 8 else {_TEXT} end
    else {_EMPTY} * case
        when answer_type_id in ('6', '8') then 1 when answer_type_id in ('3', '4') then 2
        when answer_type_id = '5' then 4 when answer_type_id = '10' then 8 else {_TEXT} end
end::usmallint
"""

_READ = f"""
create or replace temp table wide_visits as
    with visits as (
        select rowid as v, source, visit_id, product_id from marts.visits where product_id is not null and WHICH
    ),
    checklists as (from staging.visit_checklists semi join visits using (source, visit_id))
    select v, source, visit_id, product_id, checklist
    from visits left join checklists using (source, visit_id);

create or replace temp table wide_signed as
    with answered as (
        select v, sum(hash(question_pos, answer_pos, {_KINDS_OF_ANSWER})) as answers, sum(strlen(value)) as bytes,
            min(row_id) as first_row, max(row_id) as last_row
        from (select *, rowid as row_id from kobra.answers where NEAR)
        join temp.wide_visits using (source, visit_id)
        group by v
    )
    select v, hash(checklist, coalesce(answers, 0)) as signature, first_row, last_row, coalesce(bytes, 0) as bytes
    from temp.wide_visits left join answered using (v);

-- What the visits of a checklist are asked, and what each of it is called.
create or replace temp table wide_parts as
    select *, hash(checklist, question_pos, answer_pos) as part,
        hash(question_id, question_name, answer_name) as form_id
    from staging.checklists semi join temp.wide_visits using (checklist);

insert into wide_state.forms
    with strange as (
        select form_id, unnest(any_value(struct_pack(question_id, question_name, answer_name)))
        from temp.wide_parts anti join wide_state.forms using (form_id) group by form_id
    )
    select form_id,
        -- a normalised text has no '#', so an id is never taken for one
        coalesce(nullif(kobra.normalised_text(question_name), ''), '#' || coalesce(question_id, '')),
        coalesce(kobra.normalised_text(answer_name), ''),
        question_id, question_name, answer_name
    from strange;
"""
_NEAR = "rowid in (select rowid from kobra.answers semi join temp.wide_visits using (source, visit_id))"

_REMEMBER = f"""
insert into wide_state.visits
    select source, visit_id, product_id, signature from temp.wide_visits join temp.wide_signed using (v);

insert into wide_state.signatures
    with strange as (
        select signature, min(v) as v
        from temp.wide_signed anti join wide_state.signatures using (signature) group by all
    ),
    examples as (
        select signature, source, visit_id, checklist from strange join temp.wide_visits using (v)
    ),
    answered as (
        select signature, question_pos, answer_pos, {_KINDS_OF_ANSWER} as kinds
        from kobra.answers join examples using (source, visit_id)
        where answers.rowid in (select rowid from kobra.answers semi join examples using (source, visit_id))
    )
    select signature, form_id, min(question_pos), min(answer_pos), bit_or(coalesce(kinds, 0)::usmallint)
    from examples
    join temp.wide_parts using (checklist)
    left join answered using (signature, question_pos, answer_pos)
    group by signature, form_id;

delete from wide_state.signatures where signature not in (select signature from wide_state.visits);
"""

# A place is a column of a table. Several answers of a visit may have the same.
_PART_PLACES = """
create or replace temp table wide_part_places as
    select part, place, count(*) over (partition by checklist, place) > 1 as is_one_of_several
    from temp.wide_parts
    join wide_state.forms using (form_id)
    join temp.wide_places using (product_id, question_key, answer_key)
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
    marts.visits, and the checklists of schema staging.
    """
    try:
        with transaction.whole(connection):
            _build(connection, touched)
    finally:
        for temporary in _TEMPORARY:
            connection.execute(f"drop table if exists temp.wide_{temporary}")


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
    _read(connection, which, are_few=touched is not None)
    connection.execute(_REMEMBER)
    connection.execute(_SEEN.replace("KEEP", "true" if touched is None else _KEEP))
    connection.execute(_PRODUCTS.replace("PREFER", "" if touched is None else "any_value(table_name) is null,"))
    wanted = list(_wanted(connection))
    _register(connection, wanted)
    _drop_others(connection, wanted)
    kept, again = [], []
    for table in wanted:
        missing = None if touched is None else _missing(connection, table)
        # What was left out, and now is not, was asked in other visits too.
        if missing is None or (missing and (table.product_id,) in crowded):
            again.append(table)
            continue
        for name, kind in missing.items():
            connection.execute(f"alter table wide.{table.name} add column {quoting.name(name)} {kind}")
        connection.execute(f"delete from wide.{table.name} where {which}")
        kept.append(table)
    for table in again:
        _create(connection, table)
    if touched is None:
        _fill(connection, again)
    else:
        _fill(connection, kept)
        for table in again:  # its type changed, or a question is gone: what is at hand is not all of it
            _read(connection, f"product_id = {table.product_id}", are_few=False)
            _fill(connection, [table])
    for table in wanted:
        _comment(connection, table)


def _read(connection: "DuckDBPyConnection", which: str, *, are_few: bool) -> None:
    """The visits in question as temp.wide_visits, their signatures as temp.wide_signed, what their checklists ask as
    temp.wide_parts.

    Where they `are_few`, only the keys of all other answers are looked at.
    """
    connection.execute(_READ.replace("WHICH", which).replace("NEAR", _NEAR if are_few else "true"))


def _fill(connection: "DuckDBPyConnection", tables: list[_Wide]) -> None:
    """Add the rows of the visits at hand."""
    connection.execute(_PART_PLACES)
    pivot.fill(connection, LEADING, [table.target for table in tables])


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
