"""Builds that make schema `kobra` alone, by the SQL of its models as dbt compiled it once: no second of dbt a run."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from pipelines import run
from pipelines.build import build, dbt
from pipelines.build.build import Built
from pipelines.warehouse import state
from pipelines.warehouse.home import Home
from pipelines.warehouse.lock import lock

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_whole_build = run._build


@contextmanager
def without_marts() -> Iterator[None]:
    """Runs in this process build no marts meanwhile."""
    with patch.object(run, "_build", _build):
        yield


def _build(_home: Home, connection: "DuckDBPyConnection", as_of: date | None, *, full: bool = False) -> Built:
    started = datetime.now(UTC)
    state.prepare(connection, as_of or date.max)
    connection.execute("create schema if not exists staging")
    for schema, name, kind, query in models():
        connection.execute(f"create or replace {kind} {schema}.{name} as {query}")
    brought = state.settle(connection, "without marts")
    return Built(state.Run(started, as_of or date.max, full, 0, brought, ""), float("inf"))


@cache
def models() -> list[tuple[str, str, str, str]]:
    """Schema, name, kind and query of the models of schema `kobra` and of those they are made of, in their order."""
    kept = Path(tempfile.gettempdir(), f"kobra-models-{os.getuid()}-{dbt.fingerprint()}.json")
    if not kept.exists():
        aside = kept.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(_compiled()))
        aside.replace(kept)
    return [tuple(model) for model in json.loads(kept.read_text())]


def _compiled() -> list[tuple[str, str, str, str]]:
    manifests = list[Any]()
    whole = dbt.build

    def noting(home: Home, *, full: bool) -> Any:
        manifests.append(whole(home, full=full))
        return manifests[0]

    with tempfile.TemporaryDirectory() as folder, patch.object(build.dbt, "build", noting):
        home = Home(Path(folder))
        with lock(home), patch.object(run, "_build", _whole_build):
            run.run(home)
    (manifest,) = manifests
    found = list[tuple[str, str, str, str]]()
    done = set[str]()

    def take(name: str) -> None:
        node = manifest.nodes.get(name)
        if node is None or name in done or node.resource_type != "model":
            return
        done.add(name)
        for needed in node.depends_on.nodes:
            take(needed)
        kind = "view" if node.config.materialized == "view" else "table"
        found.append((node.schema, node.identifier, kind, node.compiled_code))

    for name, node in manifest.nodes.items():
        if node.resource_type == "model" and node.schema == "kobra":
            take(name)
    return found
