"""One row per visit, one column per question, on Spark: the columns are chosen as ever, and Spark turns the answers.

What chooses them reads what the models keep of checklists, which is little: it runs in a DuckDB in memory, on copies.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.build import wide
from pipelines.build.wide import LEADING, Wide
from pipelines.contract import Type
from pipelines.spark.land import TYPES
from pipelines.spark.tables import RunTables

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEPT = ("columns", "products")  # tables that the next run goes on with
# What the choice reads: some tables whole, of others how many rows have which value of a column.
_WHOLE = ("int_checklists", "int_question_forms")
_COUNTED = {("staging", "int_visit_checklists"): "checklist", ("marts", "visits"): "product_id"}

_VALUE = """
case parts.type
    when 'BOOLEAN' then cast(answers.value_bool as string)
    when 'DECIMAL(18,4)' then cast(answers.value_number as string)
    when 'DATE' then cast(answers.value_date as string)
    when 'TIME' then cast(answers.value_time as string)
    else answers.value
end
"""
_VISITS = f"""
select {", ".join(f"visits.{column}" for column in LEADING)}, visits.product_id, lists.checklist,
    contents.content_delivery_id, contents.content_item, contents.content_load_id
from marts.visits as visits
left join staging.int_visit_checklists as lists on lists.source = visits.source and lists.visit_id = visits.visit_id
left join staging.int_current_contents as contents
    on contents.source = visits.source and contents.visit_id = visits.visit_id
"""
# Each answer at its place. Several of a text are put together, of anything else the first counts.
_PLACED = f"""
create table staging.wide_answers using parquet partitioned by (product_id) as
with found as (
    select visits.source, visits.visit_id, visits.product_id, parts.place, parts.type, parts.is_one_of_several,
        answers.question_pos, answers.answer_pos, {_VALUE} as value
    from ({_VISITS}) as visits
    inner join landed.answers as answers
        on answers.delivery_id = visits.content_delivery_id and answers.item = visits.content_item
        and answers._dlt_load_id = visits.content_load_id
    inner join staging.wide_parts as parts
        on parts.checklist = visits.checklist and parts.question_pos = answers.question_pos
        and parts.answer_pos = answers.answer_pos
)
select source, visit_id, place, value, product_id from found where not is_one_of_several and value is not null
union all
select source, visit_id, place,
    case type
        when 'VARCHAR' then
            array_join(
                transform(sort_array(collect_list(struct(question_pos, answer_pos, value))), part -> part.value), '; '
            )
        else min_by(value, struct(question_pos, answer_pos))
    end as value,
    product_id
from found
where is_one_of_several and value is not null
group by source, visit_id, place, type, product_id
"""


def build(tables: RunTables, published: str | None, *, keeps: bool, forgets: bool) -> None:
    """Make schema `wide` of a run, with the names that columns had in the run that was `published` before. `keeps`:
    where there are too many, what is there goes before others. `forgets`: but questions that nobody is asked any
    more."""
    tables.make_schema("wide")
    with _choosing(tables, published) as connection:
        wanted = wide.choose(connection, keeps=keeps)
        if forgets:
            connection.execute("delete from wide.columns where not is_present")
        tables.bring("staging", "wide_parts", connection.table("temp.wide_parts").to_arrow_table())
        for table in _KEPT:
            tables.bring("wide", table, connection.table(f"wide.{table}").to_arrow_table())
    tables.spark.sql(_PLACED)
    for each in wanted:
        tables.spark.sql(f"create table wide.{each.name} using parquet as {_turned(each)}")


@contextmanager
def _choosing(tables: RunTables, published: str | None) -> "Iterator[DuckDBPyConnection]":
    """A database with all that chooses columns looks at."""
    import duckdb  # noqa: PLC0415

    with duckdb.connect() as connection:
        connection.execute("create schema staging; create schema marts; create schema wide")
        wide.make_tables(connection)
        for table in _WHOLE:
            _copy(connection, f"staging.{table}", tables.spark.table(f"staging.{table}").toArrow())
        for (schema, table), column in _COUNTED.items():
            counted = tables.spark.sql(f"select {column}, count(*) as times from {schema}.{table} group by {column}")
            _copy(connection, f"{schema}.counted", counted.toArrow())
            connection.execute(
                f"create view {schema}.{table} as select {column} from {schema}.counted, range(counted.times)"
            )
        for table in _KEPT if published else ():
            kept_rows = tables.place.read_table("runs", str(published), "wide", table)
            connection.execute(f"insert into wide.{table} by name from kept_rows")
            del kept_rows
        yield connection


def _copy(connection: "DuckDBPyConnection", name: str, copied_rows: pa.Table) -> None:
    connection.execute(f"create table {name} as from copied_rows")


def _turned(table: Wide) -> str:
    """The query that answers with the rows of a product's table."""
    places = list(enumerate(table.questions, table.first_place))
    turned = "".join(f", max(case when place = {place} then value end) as p{place}" for place, _ in places)
    columns = "".join(
        f", cast(turned.p{place} as {TYPES[Type(question.type)]}) as {_name(str(question.column))}"
        for place, question in places
    )
    return f"""
        select {", ".join(f"visits.{column}" for column in LEADING)}{columns}
        from marts.visits as visits
        left join (
            select source, visit_id{turned} from staging.wide_answers
            where product_id = {table.product_id} group by source, visit_id
        ) as turned on turned.source = visits.source and turned.visit_id = visits.visit_id
        where visits.product_id = {table.product_id}
    """


def _name(text: str) -> str:
    return f"`{text}`"
