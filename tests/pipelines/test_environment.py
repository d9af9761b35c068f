"""A run is the same whatever is set on the machine: no setting of dlt or dbt comes from anywhere but us."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from conftest import first_of
from kobra_home import KOBRA, Home, later, small
from kobra_home import Post as Delivered
from kobra_home import encoded as body

# Every variable from which dlt or dbt would take a setting, in the forms that their pages describe.
ALL_VARIABLES = """
import inspect, pkgutil, importlib, warnings
warnings.simplefilter("ignore")
import dlt
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common import known_env
for package in "common load extract normalize pipeline destinations.impl.duckdb".split():
    package = "dlt." + package
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        try:
            importlib.import_module(found.name)
        except Exception:
            pass
def below(kind):
    for each in kind.__subclasses__():
        yield each
        yield from below(each)
names = set()
for kind in below(BaseConfiguration):
    section = getattr(kind, "__section__", None)
    for field in getattr(kind, "get_resolvable_fields", dict)():
        names |= {field.upper(), f"KOBRA__{field.upper()}", f"PIPELINES__KOBRA__{field.upper()}"}
        for part in "SOURCES DESTINATION DESTINATION__DUCKDB LOAD NORMALIZE EXTRACT SCHEMA RUNTIME".split():
            names.add(f"{part}__{field.upper()}")
        if section:
            names.add(f"{section.upper()}__{field.upper()}")
names |= {value for name, value in vars(known_env).items() if name.isupper()} - {"DLT_DISABLE_PLUGINS"}
from dbt.cli import params
for each in vars(params).values():
    for variable in filter(None, [getattr(each, "keywords", {}).get("envvar")] if hasattr(each, "keywords") else []):
        names.add(variable)
from dbt.cli.main import cli
for command in [cli, *cli.commands.values()]:
    for option in command.params:
        variables = option.envvar or []
        names |= {variables} if isinstance(variables, str) else set(variables)
print("\\n".join(sorted(name for name in names if name.isidentifier())))
"""
NEEDED = {"PATH", "HOME", "PYTHONPATH", "LD_PRELOAD", "LD_LIBRARY_PATH"}


@pytest.fixture(scope="module")
def variables() -> list[str]:
    found = subprocess.check_output([sys.executable, "-c", ALL_VARIABLES], text=True).split()
    assert {"FULL_REFRESH", "DEV_MODE", "DATASET_NAME_LAYOUT", "DBT_RESOURCE_TYPES", "DBT_TARGET", "WORKERS"} <= {
        *found
    }
    return [name for name in found if name not in NEEDED]


def fed(path: Path) -> Home:
    home = Home(path)
    home.land(*(Delivered(body(small(f"V{number}")), later(seconds=number)) for number in range(3)))
    return home


def run(home: Home, where: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KOBRA_", "DLT_", "DBT_"))}
    return subprocess.run(
        [KOBRA, "run"],
        check=False,
        env=variables | clean | {"KOBRA_HOME": str(home.path)},
        cwd=where,
        capture_output=True,
        text=True,
    )


def counts(home: Home) -> tuple[int, int, int]:
    with duckdb.connect() as connection:
        connection.execute(f"attach '{home.files.published}' as w (read_only)")
        found = connection.execute(
            "select (select count(*) from w.kobra.visits), (select count(*) from w.marts.visits),"
            " (select count(*) from w.wide.debt_collection)"
        ).fetchone()
    assert found
    return found


@pytest.mark.parametrize("value", first_of(["true", "7", "prod_%s", "test"]))
def test_no_variable_of_dlt_or_dbt_changes_a_run(tmp_path: Path, variables: list[str], value: str) -> None:
    home = fed(tmp_path / "home")
    done = run(home, tmp_path, **dict.fromkeys(variables, value))
    assert done.returncode == 0, done.stderr
    assert counts(home) == (3, 3, 3)


def test_no_folder_of_dlt_or_dbt_changes_a_run(tmp_path: Path) -> None:
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt/config.toml").write_text('dev_mode=true\nfull_refresh=true\ndataset_name_layout="prod_%s"\n')
    (tmp_path / "profiles.yml").write_text("kobra_visits: {target: other, outputs: {}}\n")
    (tmp_path / "dbt_project.yml").write_text("name: other\n")
    home = fed(tmp_path / "home")
    done = run(home, tmp_path, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert counts(home) == (3, 3, 3)


# What would divert a run if it came through all the same.
DIVERTED = {
    "dlt writes to another schema": "from pipelines.load import dlt_settings;"
    " dlt_settings._SETTINGS['dev_mode'] = True",
    "dbt leaves its tests out": "from pipelines.build import dbt;"
    " dbt._scope = lambda full: ['--full-refresh', '--resource-type', 'model']",
    "dbt leaves its models out": "from pipelines.build import dbt;"
    " dbt._scope = lambda full: ['--full-refresh', '--resource-type', 'test']",
}


@pytest.mark.parametrize("way", first_of(DIVERTED))
def test_a_run_that_is_diverted_all_the_same_fails_and_keeps_what_is_published(tmp_path: Path, way: str) -> None:
    home = fed(tmp_path / "home")
    assert run(home, tmp_path).returncode == 0
    before = home.files.published.read_bytes()
    home.land(small("V9"))
    program = f"import sys; from pipelines import cli; {DIVERTED[way]}; sys.exit(cli.main(['run', '--full-refresh']))"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        env=clean | {"KOBRA_HOME": str(home.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "diverts" in done.stderr or "cannot be built" in done.stderr
    assert home.files.published.read_bytes() == before
