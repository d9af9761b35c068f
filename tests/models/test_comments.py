"""Any SQL client shows what tables and columns mean, and schema meta how they came about."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from built_home import AS_OF, BuiltHome, settled

from pipelines.build import comments
from pipelines.warehouse import state as meta

UNCOMMENTED = """
select table_name, null as column_name from duckdb_tables()
where database_name = 'w' and schema_name in ('kobra', 'marts') and coalesce(comment, '') = ''
    and not starts_with(table_name, '_dlt')
union all
select table_name, column_name from duckdb_columns()
where database_name = 'w' and schema_name in ('kobra', 'marts') and coalesce(comment, '') = ''
    and not starts_with(table_name, '_dlt') and not starts_with(column_name, '_dlt')
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    return settled(tmp_path_factory)


@pytest.fixture
def home(built: BuiltHome, tmp_path: Path) -> BuiltHome:
    return built.copy(tmp_path / "home")


def test_every_table_and_column_of_schemas_kobra_and_marts_says_what_it_means(built: BuiltHome) -> None:
    assert built.rows(UNCOMMENTED) == []
    assert built.values("select count(*) from duckdb_columns() where schema_name = 'marts'")[0] > 150


def test_every_other_table_that_people_may_open_says_what_it_is(built: BuiltHome) -> None:
    silent = built.values(
        "select schema_name || '.' || table_name from duckdb_tables() where database_name = 'w' and comment is null"
        " and schema_name <> 'kobra'"
    )
    assert silent == []


def test_quotation_marks_and_apostrophes_of_a_description_stay_as_they_are(built: BuiltHome) -> None:
    texts = built.values("select comment from duckdb_columns() where database_name = 'w' and comment like '%''%'")
    assert "Kobra's id of the visit, always text." in texts
    assert not [text for text in texts if "''" in text or "\\" in text]


def test_a_comment_that_somebody_changed_is_put_right(home: BuiltHome) -> None:
    home.working("comment on table kobra.visits is 'it''s mine'; comment on column meta.runs.as_of is 'it''s mine'")
    with home.warehouse.lock(), home.warehouse.open() as connection:
        comments.write(connection)
    ((text,),) = home.working("select comment from duckdb_tables() where schema_name || table_name = 'kobravisits'")
    assert "mine" not in text


def test_schema_meta_says_when_what_and_with_what_a_run_was_made(built: BuiltHome) -> None:
    (run,) = built.runs()
    assert run["started_at"] < run["finished_at"] <= datetime.now(UTC)
    assert 0 < run["duration_s"] == pytest.approx((run["finished_at"] - run["started_at"]).total_seconds())
    expected = {
        "as_of": AS_OF, "is_full": True, "visits_touched": 4, "deliveries": 5, "new_versions": 4, "duplicates": 0,
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
    with home.warehouse.lock(), home.warehouse.open() as connection:
        meta.record(connection, datetime.now(UTC), AS_OF, [0] * 6, "", touched="staging.touched_visits")
    assert home.working("select count(*), max(segments) filter (segments <> 5) from meta.runs") == [(1000, 998)]
