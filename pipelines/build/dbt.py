"""The models of `sql/`: dbt, in this process, over the working file."""

import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import pipelines
from pipelines.environment import replaced
from pipelines.errors import FaultError
from pipelines.project import PROJECT
from pipelines.warehouse import damage, database
from pipelines.warehouse.damage import DamagedError
from pipelines.warehouse.home import Home
from pipelines.warehouse.lake import RETRIES, Lake

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest

_DBT = Path(sys.executable).with_name("dbt")
_BUILT = {"model", "test"}
# What makes tables beside the models.
_MAKE_TABLES = (
    "blanks.py", "build/cells.py", "build/csv_file.py", "build/inputs.py", "build/wide.py", "ids.py", "rules.py",
)  # fmt: skip
_READ_BY_DBT = {".sql", ".py", ".yml", ".yaml", ".csv", ".md"}
_MAKE_NO_TABLE = {"target", "logs", "unit_tests"}  # what dbt wrote for an analyst, and what a build leaves out


class ChecksFailedError(FaultError):
    """A model could not be built, or what it holds failed a test: which one, and how to see the rows."""


def fingerprint() -> str:
    """A digest of all that makes the tables: another one makes other tables, and then history is built afresh."""
    digest = sha256(version("duckdb").encode())
    for module in _MAKE_TABLES:
        digest.update((Path(pipelines.__file__).parent / module).read_bytes())
    for path in sorted(PROJECT.rglob("*")):
        if path.suffix in _READ_BY_DBT and path.relative_to(PROJECT).parts[0] not in _MAKE_NO_TABLE:
            digest.update(b"%s\0%s\0" % (path.relative_to(PROJECT).as_posix().encode(), path.read_bytes()))
    return digest.hexdigest()


def build(home: Home, *, full: bool) -> "Manifest":
    """Build and test every model in the working file, and answer with dbt's manifest. Hold the lock.

    In an incremental build, models compute anew what changed; `full` computes history afresh. Raises
    ChecksFailedError when a model or a test of severity error fails.
    """
    target = write_profile(home)
    with own_settings(), _keeping_garbage():
        from mashumaro.config import BaseConfig  # noqa: PLC0415

        BaseConfig.lazy_compilation = True  # dbt's classes make code for what most builds never do
        from dbt.cli.main import dbtRunner  # noqa: PLC0415 - takes a second; a run with nothing to do never gets here

        manifest = result_of(dbtRunner().invoke(["parse", *flags(target)]))
        answer = dbtRunner(manifest).invoke(["build", *flags(target), *_scope(full=full)])
    results = result_of(answer).results
    if not answer.success and home.lake is None and any(damage.is_told(each.message) for each in results):
        raise DamagedError(home.working)
    if not answer.success:
        raise ChecksFailedError("\n".join(_faults(results, home, target)))
    check_all_ran(manifest, results, full=full)
    return manifest


def result_of(answer: "dbtRunnerResult") -> Any:
    """What dbt answered; raises what it met."""
    if answer.exception is not None:
        raise answer.exception
    return answer.result


def check_all_ran(manifest: "Manifest", results: Any, *, full: bool) -> None:
    """Raise ChecksFailedError when a model was not built or a test did not run; views are due in a `full` build."""
    due = {
        name
        for name, node in manifest.nodes.items()
        if node.resource_type in _BUILT and (full or node.config.materialized != "view")
    }
    if missing := sorted(due - {each.node.unique_id for each in results}):
        raise ChecksFailedError(
            f"dbt left out {len(missing)} of {len(due)} models and tests, such as {missing[0]}: "
            "something diverts dbt; run `kobra doctor`"
        )


def flags(target: Path, **variables: object) -> list[str]:
    """What dbt writes goes to `target`, and nothing goes anywhere else. `variables`: of the project."""
    return [
        *("--project-dir", str(PROJECT), "--profiles-dir", str(target)),
        *("--target-path", str(target), "--log-path", str(target)),
        *("--log-level", "none", "--log-level-file", "none", "--quiet", "--no-version-check", "--no-write-json"),
        "--no-send-anonymous-usage-stats",
        *("--vars", json.dumps({"kobra_build": True} | variables)),
    ]


def _scope(*, full: bool) -> list[str]:
    """What is built. A view says the same until the models change, and then the build is a full one."""
    return ["--full-refresh"] if full else ["--exclude", "config.materialized:view"]


def write_profile(home: Home) -> Path:
    """Write down how dbt finds the working file, and answer with the folder: an analyst's dbt uses it, too."""
    folder = home.warehouse.absolute() / "dbt"
    folder.mkdir(exist_ok=True)
    warehouse = {
        "type": "duckdb",
        "schema": "marts",
        "keep_open": False,  # the file is replaced, and copied, once dbt has done its work
        "config_options": database.config(home),
        **(_of_lake(home.lake) if home.lake else _of_file(home)),
    }
    profile = {"kobra_visits": {"target": "warehouse", "outputs": {"warehouse": warehouse}}}
    (folder / "profiles.yml").write_text(json.dumps(profile, indent=2))
    return folder


def _of_file(home: Home) -> dict[str, Any]:
    return {
        "path": str(home.working.absolute()),
        "settings": {"TimeZone": "UTC"},
        "threads": 2,  # Python's work for a model goes on while DuckDB makes another
    }


def _of_lake(lake: Lake) -> dict[str, Any]:
    return {
        "path": lake.path,
        "secrets": lake.secrets(),
        "settings": {"TimeZone": "UTC", "ducklake_max_retry_count": RETRIES},
        "threads": 1,  # two that commit from one process meet each other, and have crashed DuckLake 1.0
    }


@contextmanager
def own_settings() -> Iterator[None]:
    """No setting of dbt's from outside."""
    arguments, sys.argv = sys.argv, ["kobra"]  # dbt keeps a record of them, and those of `kobra forget` name a person
    try:
        with replaced({name: value for name, value in os.environ.items() if not name.startswith("DBT_")}):
            yield
    finally:
        sys.argv = arguments


@contextmanager
def _keeping_garbage() -> Iterator[None]:
    """dbt makes a million objects that it keeps: none of them is looked through for garbage meanwhile."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _faults(results: Any, home: Home, target: Path) -> Iterator[str]:
    """What went wrong, without the texts of the database: they may quote what Kobra sent."""
    for each in results:
        if each.status == "fail":
            query = "\n".join(line for line in each.node.compiled_code.splitlines() if line.strip())
            see = f"duckdb -readonly {quote(str(home.working))} {quote(query)}"
            if home.lake:
                see = _command("show", target, "--inline", query)
            model = getattr(each.node, "file_key_name", None)  # what a test in a file of its own does not have
            of_model = f" of {model.partition('.')[2]}" if model else ""
            yield (f"check {each.node.name}{of_model} failed for {each.failures} row(s). See them with:\n{see}")
        elif each.status == "error":
            yield (
                f"{each.node.resource_type} {each.node.name} cannot be built. See why with:"
                f" {_command('build', target, '--select', each.node.name)}"
            )


def _command(name: str, target: Path, *arguments: str) -> str:
    """A command of dbt for a shell."""
    told = " ".join(map(quote, [str(_DBT), name, "--profiles-dir", str(target), *arguments]))
    return f"cd {quote(str(PROJECT))} && {told}"
