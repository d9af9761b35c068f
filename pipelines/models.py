"""The models of `sql/`: dbt, in this process, over the working file."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from pipelines.faults import FaultError

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunner

PROJECT = Path(__file__).parents[1] / "sql"
_DBT = Path(sys.executable).with_name("dbt")


class ChecksFailedError(FaultError):
    """A model could not be built, or what it holds failed a test: which one, and how to see the rows."""


def fingerprint() -> str:
    """A digest of all that makes the tables: another one makes other tables, and then history is built afresh."""
    digest = sha256(version("duckdb").encode())
    for module in ("inputs", "pivot", "rules", "wide"):
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    for path in sorted(path for kind in ("*.sql", "*.yml") for path in PROJECT.rglob(kind)):
        if path.relative_to(PROJECT).parts[0] in {"target", "unit_tests"}:
            continue  # what dbt compiled for an analyst; what makes no table
        digest.update(b"%s\0%s\0" % (path.relative_to(PROJECT).as_posix().encode(), path.read_bytes()))
    return digest.hexdigest()


def build(home: Path, *, full: bool) -> None:
    """Build and test every model in the working file of `home`. Who has it open opened it as sql/profiles.yml does.

    In an incremental build, models compute anew what changed visits touch; `full` builds history afresh.
    Raises ChecksFailedError when a model or a test of severity error fails.
    """
    target = home.absolute() / "warehouse" / "dbt"
    flags = [
        *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
        *("--target-path", str(target), "--log-path", str(target)),
        *("--log-level", "none", "--log-level-file", "none", "--quiet", "--no-version-check", "--no-write-json"),
        "--no-send-anonymous-usage-stats",
        *("--vars", "{tests_only_touched: true, unit_tests: false}"),
        *(["--full-refresh"] if full else []),
    ]
    with _home(home), _keeping_garbage():
        answer = _runner().invoke(["build", *flags])
    if answer.exception is not None:
        raise answer.exception
    if not answer.success:
        raise ChecksFailedError("\n".join(_faults(answer.result, home)))


@cache
def _runner() -> "dbtRunner":
    # dbt says where a deprecated piece of itself is used; none of that is ours.
    from dbt.cli.main import dbtRunner  # noqa: PLC0415 - takes a second; a run with nothing to do never gets here

    return dbtRunner()


@contextmanager
def _home(home: Path) -> Iterator[None]:
    """KOBRA_HOME as the profile reads it, and no connection of dbt's afterwards."""
    before, arguments = os.environ.get("KOBRA_HOME"), sys.argv
    sys.argv = ["kobra"]  # dbt keeps a record of them, and those of `kobra forget` name a person
    os.environ["KOBRA_HOME"] = str(home.absolute())
    try:
        yield
    finally:
        sys.argv = arguments
        if before is None:
            del os.environ["KOBRA_HOME"]
        else:
            os.environ["KOBRA_HOME"] = before
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # noqa: PLC0415

        DuckDBConnectionManager.close_all_connections()


@contextmanager
def _keeping_garbage() -> Iterator[None]:
    """dbt makes a million objects that it keeps: none of them is looked through for garbage meanwhile."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _faults(result: Any, home: Path) -> Iterator[str]:
    """What went wrong, without the texts of the database: they may quote what Kobra sent."""
    working = home / "warehouse" / "working.duckdb"
    for each in result.results:
        if each.status == "fail":
            query = "\n".join(line for line in each.node.compiled_code.splitlines() if line.strip())
            see = f"duckdb -readonly {quote(str(working))} {quote(query)}"
            model = getattr(each.node, "file_key_name", None)  # what a test in a file of its own does not have
            of_model = f" of {model.partition('.')[2]}" if model else ""
            yield (f"check {each.node.name}{of_model} failed for {each.failures} row(s). See them with:\n{see}")
        elif each.status == "error":
            yield (
                f"{each.node.resource_type} {each.node.name} cannot be built. See why with:"
                f" cd {quote(str(PROJECT))} && KOBRA_HOME={quote(str(home.absolute()))}"
                f" {quote(str(_DBT))} build --select {each.node.name}"
            )
