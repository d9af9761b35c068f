"""Turn answers, a row each, into a row per visit and a column per question: a bounded amount of them at a time.

DuckDB finds which answer belongs where; numpy and Arrow put it there, in a fraction of the time that an aggregate a
column takes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines import arrow, quoting
from pipelines.contract import Type

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ANSWERS_AT_ONCE = 1_000_000
_BYTES_AT_ONCE = 80 << 20  # of rows to be, reckoned low: for each cell these, and its text
_CELL_BYTES = 16
_VALUE = {
    Type.TEXT: "value", Type.BOOL: "value_bool", Type.NUMBER: "value_number", Type.DATE: "value_date",
    Type.TIME: "value_time",
}  # fmt: skip

# Answers were loaded a page after the other, those of a visit together. So visits in the order of their answers have
# them in a narrow range.
_SPANS = """
create or replace temp table wide_spans as
    with weighed as (
        select *, coalesce(first_row // {answers_at_once}, -1) as stretch, {cell_bytes} * columns + bytes as weight
        from temp.wide_visits
        join temp.wide_signed using (v)
        join (select unnest(?) as product_id, unnest(?) as columns) using (product_id)
    )
    select v, source, visit_id, product_id, checklist, first_row, last_row, stretch,
        sum(weight) over (partition by stretch order by first_row, v) // {bytes_at_once} as slice
    from weighed
"""
_RANGES = """
select format('stretch = {} and slice = {}', stretch, slice), coalesce(min(first_row), 0), coalesce(max(last_row), -1)
from temp.wide_spans group by stretch, slice order by stretch, slice
"""

_VISITS = """
select {leading}, v, spans.product_id
from (from temp.wide_spans where {span}) as spans join marts.visits as visits on visits.rowid = v
"""
_PLACED = """
with placed as (
    select v, place, question_pos, answer_pos, {values}
    from (from kobra.answers where rowid between {first} and {last})
    join (from temp.wide_spans where {span}) using (source, visit_id)
    join temp.wide_part_places on part = hash(checklist, question_pos, answer_pos)
    where {which}
)
"""
_MAY_BE_SEVERAL = "select bool_or(is_one_of_several) from temp.wide_part_places"
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


def fill(connection: "DuckDBPyConnection", leading: Sequence[str], targets: Sequence[Target]) -> None:
    """Add the visits of temp.wide_visits to the tables of their products: columns of marts.visits, then answers.

    Visits are known by their rowid in marts.visits; temp.wide_signed says where their answers are and how long.
    Answers are known by their `part` of a checklist: those whose part has a place, a column of a target, in
    temp.wide_part_places. Several answers at a place are joined as text, or else the first one counts.
    Visits that were loaded together are put in the order of their start, for people who look at the table as it is.
    """
    widths = [len(leading) + len(target.columns) for target in targets]
    spans = _SPANS.format(answers_at_once=_ANSWERS_AT_ONCE, bytes_at_once=_BYTES_AT_ONCE, cell_bytes=_CELL_BYTES)
    connection.execute(spans, [[target.product_id for target in targets], widths])
    columns = ", ".join(f"visits.{name}" for name in leading)
    may_be_several = connection.execute(_MAY_BE_SEVERAL).fetchone() == (True,)
    for span, first, last in connection.execute(_RANGES).fetchall():
        visits = arrow.rows(connection, _VISITS.format(leading=columns, span=span)).sort_by("start_local")
        placed = partial(_PLACED.format, span=span, first=first, last=last, values=", ".join(_VALUE.values()))
        answers = _answers(connection, placed, may_be_several=may_be_several)
        for target in targets:
            rows = visits.filter(pc.equal(visits["product_id"], target.product_id))
            if rows.num_rows:
                insert = f"insert into wide.{quoting.name(target.name)} by name from lines"
                arrow.execute(connection, insert, _pivoted(rows, answers, target))
    connection.execute("drop table temp.wide_spans")


def _answers(connection: "DuckDBPyConnection", placed: Callable[..., str], *, may_be_several: bool) -> pa.Table:
    """v, place and every kind of value. `placed` makes the query for some of the answers of a span."""
    answers = arrow.rows(connection, placed(which="not is_one_of_several") + _ONE)
    if may_be_several:
        typed = [name for kind, name in _VALUE.items() if kind != Type.TEXT]
        firsts = ", ".join(f"arg_min({name}, (question_pos, answer_pos)) as {name}" for name in typed)
        several = arrow.rows(connection, placed(which="is_one_of_several") + _SEVERAL.format(firsts=firsts))
        answers = pa.concat_tables([answers, several])
    return answers.combine_chunks()


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
