"""The models and tests of `sql/` on Spark: dbt, in this process, on the session that is there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.build import dbt
from pipelines.build.dbt import ChecksFailedError
from pipelines.spark.tables import RunTables

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
    flags = dbt.flags(folder, file_format=file_format)
    with dbt.own_settings():
        from dbt.cli.main import dbtRunner  # noqa: PLC0415

        manifest = dbt.result_of(dbtRunner().invoke(["parse", *flags]))
        answer = dbtRunner(manifest).invoke(["build", "--full-refresh", *flags])
    results = dbt.result_of(answer).results
    if not answer.success:
        raise ChecksFailedError("\n".join(_faults(results)))
    dbt.check_all_ran(manifest, results, full=True)


def _write_profile(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    profile = {"kobra_visits": {"target": "spark", "outputs": {"spark": _PROFILE}}}
    (folder / "profiles.yml").write_text(json.dumps(profile, indent=2))


def _faults(results: Any) -> Iterator[str]:
    """What went wrong, without the texts of Spark: they may quote what Kobra sent."""
    for each in results:
        if each.status == "fail":
            yield f"check {each.node.name} failed for {each.failures} row(s)"
        elif each.status == "error":
            why = _condition(each.message or "")
            yield f"{each.node.resource_type} {each.node.name} cannot be built{f' ({why[1]})' if why else ''}"
