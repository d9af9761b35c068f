"""How to ask the published file: joins, typed answers, wide tables; pandas, Arrow and Polars side by side.

Read it as a notebook with `marimo edit notebooks/explore.py`, or run it: `python notebooks/explore.py`.
"""

import marimo

app = marimo.App(width="medium", app_title="Explore")


@app.cell
def _():
    import marimo as mo

    from notebooks import published

    # Read-only, as catalog `w`; schema marts is the current one, kobra, wide and meta are named.
    warehouse = published.connect(published.place())
    return mo, warehouse


@app.cell
def _(mo, warehouse):
    tables = warehouse.sql("""
        select schema_name || '.' || table_name as name, estimated_size as rows, comment as what_it_is
        from duckdb_tables()
        where database_name = 'w' and schema_name in ('kobra', 'marts', 'wide')
            and not starts_with(table_name, '_dlt')
        order by schema_name = 'marts' desc, name
    """).df()
    print(tables[["name", "rows"]].to_string(index=False))
    mo.vstack([mo.md("## What there is"), tables])
    return


@app.cell
def _(mo, warehouse):
    columns = warehouse.sql("""
        select column_name, data_type, comment from duckdb_columns()
        where database_name = 'w' and schema_name = 'marts' and table_name = 'visits'
    """).df()
    mo.vstack([mo.md("## Every column says what it is"), columns])
    return


@app.cell
def _(mo, warehouse):
    # The key is (source, visit_id) in every table that is about visits.
    joined = warehouse.sql("""
        select v.agent_name, count(*) as promises, sum(p.promise_amount) as amount,
            -- NULL without payments.csv: not measurable is not 0. Who can still pay does not count yet.
            count(*) filter (p.is_over and p.status = 'kept')
                / nullif(count(*) filter (p.is_over and p.status in ('kept', 'partial', 'broken')), 0) as kept_rate,
            count(*) filter (q.gps_missing) as without_coordinates
        from promises as p
        join visits as v using (source, visit_id)
        join visit_quality as q using (source, visit_id)
        where p.promise_check = 'valid'
        group by v.source, v.agent_key, v.agent_name
        order by promises desc, v.agent_name limit 10
    """).df()
    print(joined.to_string(index=False))
    mo.vstack([mo.md("## Joins"), joined.round(3)])
    return


@app.cell
def _(mo, warehouse):
    answers = warehouse.sql("""
        select q.question_name, a.answer_type_id, count(*) as answers, count(a.value) as answered,
            count(a.value_bool) as as_bool, count(a.value_number) as as_number, count(a.value_date) as as_date,
            count(a.value_time) as as_time, count(*) filter (not a.parse_ok) as unreadable
        from w.kobra.answers as a
        join w.kobra.questions as q using (source, visit_id, question_pos)
        group by all order by answers desc, q.question_name limit 20
    """).df()
    print(answers.to_string(index=False))
    mo.vstack([mo.md("## Single answers, typed: `value` is the text as sent"), answers])
    return


@app.cell
def _(mo, warehouse):
    forms = warehouse.sql("select product_id, column_name, question_name, answer_name from w.wide.columns").df()
    found = warehouse.sql("""
        select table_name from duckdb_tables()
        where database_name = 'w' and schema_name = 'wide' and starts_with(table_name, 'product_') order by 1
    """).fetchall()
    first = [warehouse.sql(f'select * from w.wide."{name}" limit 5').df() for (name,) in found]
    print({name: len(rows.columns) for (name,), rows in zip(found, first, strict=True)})
    mo.vstack([mo.md("## A row per visit, a column per question, mapped or not"), forms, *first])
    return


@app.cell
def _(mo, warehouse):
    # One question, three libraries. A ratio is a sum over a sum in each of them.
    outcomes = warehouse.sql(
        "select product_id, contacts, contact_known from outcomes_daily where product_id is not null"
    )
    with_pandas = outcomes.df().groupby("product_id")[["contacts", "contact_known"]].sum()
    with_pandas["contact_rate"] = with_pandas["contacts"] / with_pandas["contact_known"]

    with_arrow = (
        outcomes.to_arrow_table()
        .group_by("product_id")
        .aggregate([("contacts", "sum"), ("contact_known", "sum")])
        .sort_by("product_id")
    )

    import polars

    with_polars = (
        outcomes.pl()
        .group_by("product_id")
        .agg(polars.col("contacts").sum(), polars.col("contact_known").sum())
        .with_columns((polars.col("contacts") / polars.col("contact_known")).alias("contact_rate"))
        .sort("product_id")
    )
    print(with_pandas)
    print(with_arrow.to_pylist())
    print(with_polars)
    mo.vstack([mo.md("## pandas, Arrow, Polars"), mo.hstack([with_pandas, with_arrow, with_polars])])
    return with_arrow, with_pandas, with_polars


if __name__ == "__main__":
    app.run()
