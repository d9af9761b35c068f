"""Any SQL client shows what tables and columns mean, and schema meta how they came about."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import duckdb
import pytest
from built_home import AS_OF, BuiltHome, settled

from pipelines.build import comments
from pipelines.contract import KOBRA, LANDED, LOAD_ID
from pipelines.warehouse import database, state
from pipelines.warehouse.lock import lock

PUBLIC = {"landed", "kobra", "marts", "wide", "inputs", "mappings", "meta"}
# Everything in the file that can have a comment. No column: the table itself.
EVERYTHING = """
select schema_name, table_name, null as column_name, comment from duckdb_tables() where database_name = 'w'
union all
select schema_name, view_name, null, comment from duckdb_views() where database_name = 'w' and not internal
union all
select schema_name, table_name, column_name, comment from duckdb_columns() where database_name = 'w' and not internal
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    return settled(tmp_path_factory)


@pytest.fixture
def home(built: BuiltHome, tmp_path: Path) -> BuiltHome:
    return built.copy(tmp_path / "home")


# ---------------------------------------------------------------- comments


def test_every_table_and_every_column_of_every_public_schema_says_what_it_means(built: BuiltHome) -> None:
    found = built.rows(f"from ({EVERYTHING})")
    undescribed = [
        ".".join(filter(None, (each["schema_name"], each["table_name"], each["column_name"])))
        for each in found
        if not (each["comment"] or "").strip() and not (each["schema_name"] == "staging" and each["column_name"])
    ]
    assert undescribed == []
    assert {each["schema_name"] for each in found} == {*PUBLIC, "main", "staging"}
    assert len(found) > 700


def test_no_description_leaves_a_doc_block_unresolved_or_needs_a_page_that_is_not_in_the_file(
    built: BuiltHome,
) -> None:
    texts = built.values(f"select comment from ({EVERYTHING}) where comment is not null")
    assert [text for text in texts if "{{" in text or "doc(" in text or ".md" in text] == []


def test_quotation_marks_and_apostrophes_of_a_description_stay_as_they_are(built: BuiltHome) -> None:
    texts = built.values("select comment from duckdb_columns() where database_name = 'w' and comment like '%''%'")
    assert "Kobra's id of the visit, always text." in texts
    assert not [text for text in texts if "''" in text or "\\" in text]


def test_a_wide_table_describes_its_first_columns_as_marts_visits_does_and_the_others_by_their_question(
    built: BuiltHome,
) -> None:
    def described(schema: str, table: str) -> dict[str, str]:
        rows = built.rows(
            "select column_name, comment from duckdb_columns()"
            " where (database_name, schema_name, table_name) = ('w', ?, ?)", schema, table,
        )  # fmt: skip
        return {row["column_name"]: row["comment"] for row in rows}

    visits, wide = described("marts", "visits"), described("wide", "debt_collection")
    questions = {row["column_name"]: row["question_name"] for row in built.rows("from w.wide.columns")}
    assert questions
    assert wide == {name: visits[name] for name in wide if name not in questions} | questions


def test_schemas_landed_and_kobra_are_as_the_contract_declares_them(built: BuiltHome) -> None:
    found = built.rows(
        "select schema_name, table_name, list((column_name, data_type)) as columns from duckdb_columns()"
        " where database_name = 'w' and schema_name in ('landed', 'kobra') and not starts_with(table_name, '_dlt')"
        " group by all"
    )
    expected = {
        (schema, table.name): {(column.name, str(column.type)) for column in (*table.columns, *more)}
        for schema, tables, more in (("landed", LANDED, (LOAD_ID,)), ("kobra", KOBRA, ()))
        for table in tables.values()
    }
    assert {(each["schema_name"], each["table_name"]): set(each["columns"]) for each in found} == expected


def test_a_comment_that_somebody_changed_is_put_right(home: BuiltHome) -> None:
    changed = (
        "table landed.visits",
        "view kobra.visits",
        "column meta.runs.as_of",
        "column wide.debt_collection.state",
    )
    home.working("; ".join(f"comment on {what} is 'it is mine'" for what in changed))
    everything = "from (" + EVERYTHING.replace("'w'", "'working'") + ")"
    assert home.working(f"select count(*) {everything} where comment = 'it is mine'") == [(len(changed),)]
    assert home.kobra("build", "--as-of", str(AS_OF)).returncode == 0
    assert home.working(f"select count(*) {everything} where comment = 'it is mine'") == [(0,)]


# ---------------------------------------------------------------- the list of tables


@pytest.fixture(params=["opened", "attached"])
def connection(built: BuiltHome, request: pytest.FixtureRequest) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published file as people open it: by its name, or attached as `w` beside others."""
    if request.param == "opened":
        with duckdb.connect(str(built.files.published), read_only=True) as alone:
            yield alone
    else:
        with duckdb.connect() as beside:
            beside.execute(f"create table mine(x int); attach '{built.files.published}' as w (read_only); use w")
            yield beside


def test_show_tables_leads_to_the_list_of_all_public_tables(connection: duckdb.DuckDBPyConnection) -> None:
    assert connection.execute("show tables").fetchall() == [("tables",)]
    listed = connection.execute("select schema, name from tables").fetchall()
    there = connection.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = current_database()"
        " union all select schema_name, view_name from duckdb_views()"
        " where database_name = current_database() and not internal"
    ).fetchall()
    assert sorted(listed) == sorted(place for place in there if place[0] in PUBLIC)
    assert list(dict.fromkeys(schema for schema, _ in listed)) == list(comments.PUBLIC)


def test_the_list_is_found_from_another_database_too(built: BuiltHome) -> None:
    with duckdb.connect() as elsewhere:
        elsewhere.execute(f"attach '{built.files.published}' as w (read_only)")
        assert elsewhere.execute("select count(*) > 40 from w.tables").fetchone() == (True,)


def test_the_list_says_of_every_table_what_its_rows_are_and_what_tells_them_apart(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    single = []
    for schema, name, grain, description in connection.execute("from tables").fetchall():
        if grain is None:
            single.append(f"{schema}.{name}")
            assert description.startswith("A single row"), single
            continue
        assert description.startswith("One row "), (schema, name)
        columns = ", ".join(f'"{column}"' for column in grain.split(", "))
        twice = connection.execute(f"select {columns} from {schema}.{name} group by all having count(*) > 1")
        assert twice.fetchall() == [], (schema, name)
    assert single == ["meta.blanked", "meta.build"]


# ---------------------------------------------------------------- schema meta


def test_schema_meta_says_when_what_and_with_what_a_run_was_made(built: BuiltHome) -> None:
    (run,) = built.runs()
    assert run["started_at"] < run["finished_at"] <= datetime.now(UTC)
    assert 0 < run["duration_s"] == pytest.approx((run["finished_at"] - run["started_at"]).total_seconds())
    expected = {
        "as_of": AS_OF, "is_full": True, "visits_changed": 4, "deliveries": 5, "new_versions": 4, "duplicates": 0,
        "rejected": 1, "segments": 5, "damaged": 0,
    }  # fmt: skip
    assert {name: run[name] for name in expected} == expected
    assert run["versions"] == ", ".join(
        f"{name} {version(name)}" for name in ("kobra-visits", "dlt", "dbt-core", "duckdb")
    )


def test_of_the_runs_the_last_thousand_are_kept(home: BuiltHome) -> None:
    home.working(
        "insert into meta.runs by name select runs.* replace (finished_at - to_hours(numbers.n) as finished_at, "
        " numbers.n as segments)"
        " from meta.runs as runs, range(1, 1500) as numbers(n)"
    )
    began = datetime.now(UTC) - timedelta(seconds=1)
    with lock(home.files), database.working(home.files) as connection:
        state.note_run(connection, state.Run(began, AS_OF, False, 0, state.Brought(), ""))
    assert home.working("select count(*), max(segments) filter (segments <> 5) from meta.runs") == [(1000, 998)]
