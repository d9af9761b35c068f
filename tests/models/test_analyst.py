"""An analyst works with dbt itself on the working file, and neither spoils the other's tables."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from built_home import BuiltHome, copied_project, differences, settled, visit

from pipelines.build import dbt as models

DBT = Path(sys.executable).with_name("dbt")
OWN = "-- One row per source.\nselect source, count(*) as visits from {{ ref('visits') }} group by source\n"


def dbt(home: BuiltHome, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """dbt as one types it in the folder of the models."""
    models.write_profile(home.files)  # that of a home which was copied names another file
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("KOBRA_", "DBT_"))}
    return subprocess.run(
        [DBT, *arguments, "--profiles-dir", home.files.warehouse / "dbt"],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the models: dbt leaves its `target` and `logs` there."""
    return copied_project(tmp_path_factory.mktemp("analyst"))


@pytest.fixture(scope="module")
def worked(project: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    """A home after `kobra run`, `kobra load` of more, and then `dbt build`."""
    home = settled(tmp_path_factory).copy(tmp_path_factory.mktemp("worked") / "home")
    home.land(visit("P", 12, agentID="A2", externalID="120"), visit("new", 14))
    assert home.here("load") == 0
    done = dbt(home, project, "build", "--exclude-resource-type", "unit_test")
    assert done.returncode == 0, done.stdout
    assert "ERROR=0" in done.stdout
    return home


@pytest.mark.slow
def test_dbt_build_with_the_profile_of_the_last_run_brings_the_marts_up_to_date(worked: BuiltHome) -> None:
    with duckdb.connect(str(worked.files.working), read_only=True) as connection:
        assert connection.execute("select count(*) from marts.visits").fetchall() == [(5,)]


@pytest.mark.slow
def test_dbt_docs_generate_describes_every_table(project: Path, worked: BuiltHome) -> None:
    done = dbt(worked, project, "docs", "generate")
    assert done.returncode == 0, done.stdout
    assert (project / "target" / "catalog.json").stat().st_size > 10_000


@pytest.mark.slow
def test_the_next_kobra_run_gives_the_tables_of_a_build_of_everything_and_does_not_start_over(
    worked: BuiltHome, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.build.dbt.PROJECT", project)  # with what dbt left in it
    home = worked.copy(tmp_path / "home")
    home.build()
    assert home.runs()[0]["is_full"] is False
    step_by_step = tmp_path / "step_by_step.duckdb"
    shutil.copy(home.files.published, step_by_step)
    home.build(full=True)
    assert differences(step_by_step, home.files.published) == {}


@pytest.mark.slow
def test_a_model_of_ones_own_in_a_copy_of_the_project_is_built_on_the_others(
    worked: BuiltHome, project: Path, tmp_path: Path
) -> None:
    own = tmp_path / "sql"
    shutil.copytree(project, own)
    (own / "models" / "own").mkdir()
    (own / "models" / "own" / "visits_by_source.sql").write_text(OWN)
    done = dbt(worked, own, "build", "--select", "visits_by_source")
    assert done.returncode == 0, done.stdout
    with duckdb.connect(str(worked.files.working), read_only=True) as connection:
        assert connection.execute("from marts.visits_by_source").fetchall() == [("lender_a", 5)]


def edited(project: Path, folder: Path, model: str, old: str, new: str) -> Path:
    """A copy of the project in which a model says something else."""
    own = folder / "sql"
    shutil.copytree(project, own)
    text = (own / "models" / model).read_text()
    assert old in text
    (own / "models" / model).write_text(text.replace(old, new))
    return own


@pytest.mark.slow
def test_a_kept_model_with_another_column_says_how_to_build_it_and_its_table_stays(
    worked: BuiltHome, project: Path, tmp_path: Path
) -> None:
    home = worked.copy(tmp_path / "home")
    own = edited(
        project,
        tmp_path,
        "intermediate/int_account_facts.sql",
        "count(*) as visits,",
        "count(*) as visits, 1 as one,",
    )
    with duckdb.connect(str(home.files.working), read_only=True) as connection:
        before = connection.execute("select count(*) from staging.int_account_facts").fetchall()
    done = dbt(home, own, "build", "--select", "int_account_facts")
    assert done.returncode == 1
    assert "int_account_facts" in done.stdout
    assert "out of sync" in done.stdout
    assert "Re-run the incremental model with `full_refresh: True`" in done.stdout
    with duckdb.connect(str(home.files.working), read_only=True) as connection:
        assert connection.execute("select count(*) from staging.int_account_facts").fetchall() == before
    assert dbt(home, own, "build", "--full-refresh", "--select", "int_account_facts").returncode == 0
    with duckdb.connect(str(home.files.working), read_only=True) as connection:
        assert connection.execute("select distinct one from staging.int_account_facts").fetchall() == [(1,)]


@pytest.mark.slow
@pytest.mark.parametrize("refresh", [(), ("--full-refresh",)], ids=["incremental", "full"])
def test_a_model_that_fails_while_it_is_written_leaves_its_table_as_it_was(
    worked: BuiltHome, project: Path, tmp_path: Path, refresh: tuple[str, ...]
) -> None:
    home = worked.copy(tmp_path / "home")
    home.land(visit("newer", 14))
    assert home.here("load") == 0
    assert dbt(home, project, "run", "--select", "+int_changed_keys", "+int_visits").returncode == 0

    def agent_days() -> list[tuple[object, ...]]:
        with duckdb.connect(str(home.files.working), read_only=True) as connection:
            return connection.execute("from marts.agent_days order by all").fetchall()

    before = agent_days()
    own = edited(
        project, tmp_path, "marts/agent_days.sql", "worked.agent_key,\n    worked.local_date,\n    worked.agent_name",
        "worked.agent_key,\n    worked.local_date,\n    error(worked.agent_key)::varchar as agent_name",
    )  # fmt: skip
    assert dbt(home, own, "run", *refresh, "--select", "agent_days").returncode == 1
    assert len(before) > 0
    assert agent_days() == before
    assert dbt(home, project, "run", "--select", "agent_days").returncode == 0
    assert agent_days() != before
