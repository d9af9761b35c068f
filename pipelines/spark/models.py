"""The models and tests of `sql/` on Spark: dbt, in this process, on the session that is there."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.build.dbt import ChecksFailedError
from pipelines.environment import replaced
from pipelines.project import PROJECT
from pipelines.spark.tables import RunTables

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

SCHEMAS = ("kobra", "marts", "staging")  # which the models make
_THREADS = 2  # Python's work for a model goes on while Spark makes another
_PROFILE = {"type": "spark", "method": "session", "schema": "marts", "host": "NA", "threads": _THREADS}
_condition = re.compile(r"\[([A-Z][A-Z_.]+)\]").search  # as Spark names what went wrong


def build(tables: RunTables, folder: Path, file_format: str) -> None:
    """Build and test every model among the tables of a run. `folder` is for what dbt writes.

    Everything is computed afresh: a cluster is for histories that take a machine too long, and a table of Parquet
    has no rows that one can delete. Raises ChecksFailedError when a model or a test of severity error fails.
    """
    for schema in SCHEMAS:
        tables.make_schema(schema)
    _write_profile(folder)
    with _own_settings():
        from dbt.cli.main import dbtRunner  # noqa: PLC0415

        manifest = _result(dbtRunner().invoke(["parse", *_flags(folder, file_format)]))
        answer = dbtRunner(manifest).invoke(["build", "--full-refresh", *_flags(folder, file_format)])
    results = _result(answer).results
    if not answer.success:
        raise ChecksFailedError("\n".join(_faults(results)))
    _check_all_ran(manifest, results)


def _write_profile(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    profile = {"kobra_visits": {"target": "spark", "outputs": {"spark": _PROFILE}}}
    (folder / "profiles.yml").write_text(json.dumps(profile, indent=2))


def _flags(folder: Path, file_format: str) -> list[str]:
    """What dbt writes goes to `folder`, and nothing goes anywhere else."""
    return [
        *("--project-dir", str(PROJECT), "--profiles-dir", str(folder)),
        *("--target-path", str(folder), "--log-path", str(folder)),
        *("--log-level", "none", "--log-level-file", "none", "--quiet", "--no-version-check", "--no-write-json"),
        "--no-send-anonymous-usage-stats",
        *("--vars", json.dumps({"kobra_build": True, "file_format": file_format})),
    ]


@contextmanager
def _own_settings() -> Iterator[None]:
    """No setting of dbt's from outside."""
    arguments, sys.argv = sys.argv, ["kobra"]
    try:
        with replaced({name: value for name, value in os.environ.items() if not name.startswith("DBT_")}):
            yield
    finally:
        sys.argv = arguments


def _result(answer: Any) -> Any:
    if answer.exception is not None:
        raise answer.exception
    return answer.result


def _check_all_ran(manifest: "Manifest", results: Any) -> None:
    """Raise ChecksFailedError when a model was not built or a test did not run."""
    due = {name for name, node in manifest.nodes.items() if node.resource_type in ("model", "test")}
    if missing := sorted(due - {each.node.unique_id for each in results}):
        raise ChecksFailedError(f"dbt left out {len(missing)} of {len(due)} models and tests, such as {missing[0]}")


def _faults(results: Any) -> Iterator[str]:
    """What went wrong, without the texts of Spark: they may quote what Kobra sent."""
    for each in results:
        if each.status == "fail":
            yield f"check {each.node.name} failed for {each.failures} row(s)"
        elif each.status == "error":
            why = _condition(each.message or "")
            yield f"{each.node.resource_type} {each.node.name} cannot be built{f' ({why[1]})' if why else ''}"
