"""An analyst works with dbt itself on the working file, and neither spoils the other's tables."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from built_home import BuiltHome, copied_project, differences, settled, visit

DBT = Path(sys.executable).with_name("dbt")
OWN = "-- One row per source.\nselect source, count(*) as visits from {{ ref('visits') }} group by source\n"


def dbt(home: BuiltHome, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """dbt as one types it in the folder of the models."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("KOBRA_", "DBT_"))}
    return subprocess.run(
        [DBT, *arguments],
        cwd=project,
        env=environ | {"KOBRA_HOME": str(home.path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the models and the shipped profile: dbt leaves its `target` and `logs` there."""
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
def test_dbt_build_with_the_shipped_profile_brings_the_marts_up_to_date(worked: BuiltHome) -> None:
    with duckdb.connect(str(worked.warehouse.working), read_only=True) as connection:
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
    monkeypatch.setattr("pipelines.project.PROJECT", project)  # with what dbt left in it
    home = worked.copy(tmp_path / "home")
    home.build()
    assert home.runs()[0]["is_full"] is False
    step_by_step = tmp_path / "step_by_step.duckdb"
    shutil.copy(home.warehouse.published, step_by_step)
    home.build(full=True)
    assert differences(step_by_step, home.warehouse.published) == {}


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
    with duckdb.connect(str(worked.warehouse.working), read_only=True) as connection:
        assert connection.execute("from marts.visits_by_source").fetchall() == [("lender_a", 5)]
