"""The command `kobra` in a process of its own that can be made to die at a chosen moment.

The processes are forked from one that has imported everything already: a run starts at once.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from fast_build import without_marts

_forked = get_context("forkserver")
_forked.set_forkserver_preload(
    [
        "duckdb",
        "dlt",
        "pytz",
        "pipelines.cli",
        "pipelines.load.flatten",
        "pipelines.load.source",
        "pipelines.run",
        "fast_build",
    ]
)

DIED = 66  # exit code of a process that died where it was told to


class Plan(NamedTuple):
    """How a run differs from an everyday one.

    `dies_in_query`: dies before the nth statement that dlt sends, counted over all loads. `dies_after`: dies after
    the nth return of a function of the product, as ("pipelines.load.load", "taken", 2). `builds`: with marts, too,
    which takes its time; what a load leaves behind shows without.
    """

    chunk_deliveries: int = 60
    load_segments: int = 1
    dies_in_query: int | None = None
    dies_after: tuple[str, str, int] | None = None
    patch: Callable[[], None] | None = None
    arguments: tuple[str, ...] = ("run",)
    builds: bool = False


def start(home: Path, plan: Plan) -> BaseProcess:
    """A run, begun."""
    process = _forked.Process(target=_run, args=(home, plan))
    process.start()
    return process


def finish(home: Path, plan: Plan) -> int:
    """A run to its end, and its exit code."""
    process = start(home, plan)
    process.join()
    code = process.exitcode
    process.close()
    assert code is not None
    return code


def _run(home: Path, plan: Plan) -> None:
    with Path(home, "run.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ["KOBRA_HOME"] = str(home)
    from pipelines import cli  # noqa: PLC0415
    from pipelines.load import batches  # noqa: PLC0415

    batches.CHUNK_DELIVERIES, batches.LOAD_SEGMENTS = plan.chunk_deliveries, plan.load_segments
    building = nullcontext() if plan.builds else without_marts()
    if plan.patch:
        plan.patch()
    if plan.dies_in_query is not None:
        _die_in_query(plan.dies_in_query)
    if plan.dies_after is not None:
        _die_after(*plan.dies_after)
    with building:
        raise SystemExit(cli.main(list(plan.arguments)))


def _die_in_query(number: int) -> None:
    from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient  # noqa: PLC0415

    execute, turn, seen = DuckDbSqlClient.execute_query, threading.RLock(), 0

    @contextmanager
    def counted(self: Any, *arguments: Any, **more: Any) -> Iterator[Any]:
        nonlocal seen
        with turn:
            seen += 1
            if seen >= number:
                os._exit(DIED)
            # One at a time, finished before the next: so that the moment of death is the same every time.
            with execute(self, *arguments, **more) as cursor:
                yield cursor

    DuckDbSqlClient.execute_query = counted


def _die_after(module: str, name: str, number: int) -> None:
    owner, seen = __import__(module, fromlist=["_"]), 0
    *path, name = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, name)

    def dying(*arguments: Any, **more: Any) -> Any:
        nonlocal seen
        answer = original(*arguments, **more)
        seen += 1
        if seen == number:
            os._exit(DIED)
        return answer

    setattr(owner, name, dying)
    for each in [each for of, each in sys.modules.items() if of.startswith("receiver.rawstore.")]:
        if getattr(each, name, None) is original:  # a function of the store is imported by its other modules
            setattr(each, name, dying)
