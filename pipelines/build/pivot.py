"""Turn answers, a row each, into a row per visit and a column per question: a bounded amount of them at a time.

DuckDB finds which answer belongs where; numpy and Arrow put it there, in a fraction of the time that an aggregate a
column takes.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines import arrow, quoting
from pipelines.contract import Type
from pipelines.warehouse import state as meta

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ANSWERS_AT_ONCE = 500_000
_STRETCH = 1000  # answers whose visits are never parted
_BYTES_AT_ONCE = 80 << 20  # of rows to be, reckoned low: for each cell these, and its text
_CELL_BYTES = 16
_VALUE = {
    Type.TEXT: "value", Type.BOOL: "value_bool", Type.NUMBER: "value_number", Type.DATE: "value_date",
    Type.TIME: "value_time",
}  # fmt: skip

# Answers were loaded a page after the other, those of a visit together. So visits in the order of their answers have
# them in a narrow range. `spot` is where a visit's answers begin, or below zero for one that has none.
_SPANS = """
create temp table spans as
    with answered as (
        select source, visit_id, min(row_id) as first_row, max(row_id) as last_row, count(*) as answers,
            sum(strlen(value)) as bytes
        from (select *, rowid as row_id from kobra.answers where value is not null and {near})
        group by source, visit_id
    ),
    visits as (
        select rowid as v, source, visit_id, columns
        from marts.visits join (select unnest(?) as product_id, unnest(?) as columns) using (product_id)
        where {which}
    )
    select v, source, visit_id, checklist, first_row, last_row, coalesce(first_row, -1 - v) as spot,
        coalesce(answers, 0) as answers, {cell_bytes} * columns + coalesce(bytes, 0) as weight
    from visits
    left join staging.visit_checklists using (source, visit_id)
    left join answered using (source, visit_id)
"""
_STRETCHES = f"""
select min(spot), max(spot), coalesce(min(first_row), {sys.maxsize}), coalesce(max(last_row), -1),
    sum(answers)::bigint, sum(weight)::bigint
from temp.spans group by spot // ? order by min(spot)
"""

_VISITS = """
select {leading}, v, visits.product_id
from (from temp.spans where spot between {begin} and {end}) join marts.visits as visits on visits.rowid = v
"""
_PLACED = """
with placed as (
    select v, place, question_pos, answer_pos, {values}
    from (from kobra.answers where value is not null and rowid between {first_row} and {last_row})
    join (from temp.spans where spot between {begin} and {end}) using (source, visit_id)
    join temp.parts on part = hash(checklist, question_pos, answer_pos)
    where {which}
)
"""
_ONE = "select * exclude (question_pos, answer_pos) from placed"
_SEVERAL = """
select v, place, string_agg(value, '; ' order by question_pos, answer_pos) as value, {firsts} from placed group by all
"""


class Target(NamedTuple):
    """Table wide.<name> of a product: its question columns with their types, and the place of the first of them."""

    product_id: int
    name: str
    columns: list[tuple[str, Type]]
    first_place: int


class _Slice(NamedTuple):
    """Visits that are turned at once: where their answers begin, where these are, and the size of the rows to be."""

    begin: int
    end: int
    first_row: int
    last_row: int
    answers: int
    weight: int

    def plus(self, other: "_Slice") -> "_Slice":
        return _Slice(
            self.begin,
            other.end,
            min(self.first_row, other.first_row),
            max(self.last_row, other.last_row),
            self.answers + other.answers,
            self.weight + other.weight,
        )

    @property
    def is_too_large(self) -> bool:
        return self.weight > _BYTES_AT_ONCE or self.answers > _ANSWERS_AT_ONCE


def fill(
    connection: "DuckDBPyConnection",
    leading: Sequence[str],
    targets: Sequence[Target],
    parts: pa.Table,
    touched: str | None,
) -> None:
    """Add the visits that are in the table `touched`, or else all, to the tables of their products: columns of
    marts.visits, then answers.

    Answers are known by their `part` of a checklist: `parts` has those with a place, a column of a target, and says
    whether visits have several answers there: these are joined as text, or else the first one counts.
    Visits that were loaded together are put in the order of their start, for people who look at the table as it is.
    What is read has to be committed: one slice is read while the one before it is written.
    """
    with connection.cursor() as reader, ThreadPoolExecutor(1) as writer:
        arrow.execute(reader, "create temp table parts as from lines", parts)
        may_be_several = pc.any(parts["is_one_of_several"]).as_py()
        written: Future[None] | None = None
        for each in _slices(_stretches(reader, len(leading), targets, touched)):
            answers = _answers(reader, each, may_be_several=may_be_several)
            tables = list(_turned(_visits(reader, each, leading), answers, targets))
            if written:
                written.result()
            written = writer.submit(_write, connection, tables)
        if written:
            written.result()


def _stretches(
    reader: "DuckDBPyConnection", leading: int, targets: Sequence[Target], touched: str | None
) -> Iterator[_Slice]:
    near = "true" if touched is None else "rowid in (select place from staging.touched_answers)"
    widths = [leading + len(target.columns) for target in targets]
    spans = _SPANS.format(near=near, which=meta.among(touched), cell_bytes=_CELL_BYTES)
    reader.execute(spans, [[target.product_id for target in targets], widths])
    return map(_Slice._make, reader.execute(_STRETCHES, [_STRETCH]).fetchall())


def _slices(stretches: Iterable[_Slice]) -> Iterator[_Slice]:
    """Neighbours put together as long as they are small."""
    whole: _Slice | None = None
    for stretch in stretches:
        longer = whole.plus(stretch) if whole else stretch
        if whole and longer.is_too_large:
            yield whole
            longer = stretch
        whole = longer
    if whole:
        yield whole


def _visits(reader: "DuckDBPyConnection", part: _Slice, leading: Sequence[str]) -> pa.Table:
    """Leading columns, v and product_id."""
    columns = ", ".join(f"visits.{name}" for name in leading)
    return arrow.rows(reader, _VISITS.format(leading=columns, begin=part.begin, end=part.end)).sort_by("start_local")


def _answers(reader: "DuckDBPyConnection", part: _Slice, *, may_be_several: bool) -> pa.Table:
    """v, place and every kind of value."""
    placed = partial(_PLACED.format, **part._asdict(), values=", ".join(_VALUE.values()))
    answers = arrow.rows(reader, placed(which="not is_one_of_several") + _ONE)
    if may_be_several:
        typed = [name for kind, name in _VALUE.items() if kind != Type.TEXT]
        firsts = ", ".join(f"arg_min({name}, (question_pos, answer_pos)) as {name}" for name in typed)
        several = arrow.rows(reader, placed(which="is_one_of_several") + _SEVERAL.format(firsts=firsts))
        answers = pa.concat_tables([answers, several])
    return answers.combine_chunks()


def _turned(visits: pa.Table, answers: pa.Table, targets: Sequence[Target]) -> Iterator[tuple[str, pa.Table]]:
    """For every target that has visits here, its name and their rows."""
    for target in targets:
        rows = visits.filter(pc.equal(visits["product_id"], target.product_id))
        if rows.num_rows:
            yield target.name, _pivoted(rows, answers, target)


def _write(connection: "DuckDBPyConnection", tables: Iterable[tuple[str, pa.Table]]) -> None:
    for name, rows in tables:
        arrow.execute(connection, f"insert into wide.{quoting.name(name)} by name from lines", rows)


def _pivoted(rows: pa.Table, answers: pa.Table, target: Target) -> pa.Table:
    """Visits of one product, and on their right what they answered."""
    at = _positions(rows["v"].to_numpy(), answers["v"].to_numpy())
    here = np.flatnonzero(at >= 0)
    answer_at = np.full((len(target.columns), rows.num_rows), -1, np.int32)
    answer_at[answers["place"].to_numpy()[here] - target.first_place, at[here]] = here
    rows = rows.drop_columns(["v", "product_id"])
    for (name, kind), chosen in zip(target.columns, answer_at, strict=True):
        is_open = chosen < 0
        if not is_open.all():  # rare questions cost nothing where nobody asked them
            values = answers[_VALUE[kind]].chunk(0)
            rows = rows.append_column(name, values.take(pa.array(chosen, mask=is_open)))
    return rows


def _positions(there: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
    """Where the wanted rows are; -1: nowhere."""
    positions = np.full(max(there.max(initial=0), wanted.max(initial=0)) + 1, -1, np.int32)
    positions[there] = np.arange(len(there), dtype=np.int32)
    return positions[wanted]
