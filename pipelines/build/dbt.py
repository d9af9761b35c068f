"""The models of `sql/`: dbt, in this process, over the working file."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from pipelines.build import project
from pipelines.environment import replaced
from pipelines.errors import FaultError
from pipelines.warehouse import damage
from pipelines.warehouse.damage import DamagedError

_DBT = Path(sys.executable).with_name("dbt")
_BUILT = {"model", "test"}


class ChecksFailedError(FaultError):
    """A model could not be built, or what it holds failed a test: which one, and how to see the rows."""


def build(home: Path, *, full: bool) -> None:
    """Build and test every model in the working file of `home`. Who has it open opened it as sql/profiles.yml does.

    In an incremental build, models compute anew what changed visits touch; `full` builds history afresh.
    Raises ChecksFailedError when a model or a test of severity error fails.
    """
    target = home.absolute() / "warehouse" / "dbt"
    _hasten()
    with _own_settings(home), _keeping_garbage(), _unheard():
        from dbt.cli.main import dbtRunner  # noqa: PLC0415 - takes a second; a run with nothing to do never gets here

        manifest = project.parsed(target)
        runner = dbtRunner(manifest=manifest)
        answer = runner.invoke(["build", *project.flags(target), *(["--full-refresh"] if full else [])])
    if answer.exception is not None:
        raise answer.exception
    if not answer.success and any(damage.is_told(each.message) for each in answer.result.results):
        raise DamagedError(home / "warehouse" / "working.duckdb")
    if not answer.success:
        raise ChecksFailedError("\n".join(_faults(answer.result, home)))
    _check_all_ran(manifest, answer.result)


def _check_all_ran(manifest: Any, result: Any) -> None:
    """Raise ChecksFailedError when a model was not built or a test did not run."""
    due = {name for name, node in manifest.nodes.items() if node.resource_type in _BUILT}
    if missing := sorted(due - {each.node.unique_id for each in result.results}):
        raise ChecksFailedError(
            f"dbt left out {len(missing)} of {len(due)} models and tests, such as {missing[0]}: "
            "something diverts dbt; run `kobra doctor`"
        )


def _hasten() -> None:
    """dbt's classes make the code that reads and writes them when they are used: most never are."""
    from mashumaro.config import BaseConfig  # noqa: PLC0415

    BaseConfig.lazy_compilation = True


@contextmanager
def _own_settings(home: Path) -> Iterator[None]:
    """KOBRA_HOME as the profile reads it, no setting of dbt's, and no connection of dbt's afterwards."""
    arguments, sys.argv = sys.argv, ["kobra"]  # dbt keeps a record of them, and those of `kobra forget` name a person
    try:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DBT_")}
        with replaced(kept | {"KOBRA_HOME": str(home.absolute())}):
            yield
    finally:
        sys.argv = arguments
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


@contextmanager
def _unheard() -> Iterator[None]:
    """dbt writes down a thousand events a build for who listens. Nobody does: what failed, its answer tells."""
    from dbt_common.events import event_manager, event_manager_client  # noqa: PLC0415

    class Unheard(event_manager.EventManager):
        def fire_event(
            self, e: Any, level: Any = None, node: Any = None, force_warn_or_error_handling: bool = False
        ) -> None:
            if force_warn_or_error_handling:  # DBT_WARN_ERROR may make a fault of it
                super().fire_event(e, level, node, force_warn_or_error_handling)

    before = event_manager_client.get_event_manager()
    event_manager_client.ctx_set_event_manager(Unheard())
    try:
        yield
    finally:
        event_manager_client.ctx_set_event_manager(before)


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
                f" cd {quote(str(project.PROJECT))} && KOBRA_HOME={quote(str(home.absolute()))}"
                f" {quote(str(_DBT))} build --select {each.node.name}"
            )
