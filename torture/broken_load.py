"""python -m torture.broken_load MUTANT …: the command `kobra`, broken on purpose."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipelines import cli, pages
from pipelines.warehouse import Warehouse


def everything_at_once() -> None:
    """Reads all that waits before it loads any of it."""
    read_ahead: Any = pages.read_ahead

    @contextmanager
    def read_all(*arguments: Any) -> Iterator[list[Any]]:
        with read_ahead(*arguments) as parts:
            yield list(parts)

    module: Any = pages
    module.read_ahead = read_all


def publish_in_place() -> None:
    """Writes over the file that people read."""

    def write_over(made: Warehouse, connection: Any) -> None:
        connection.execute("checkpoint")
        subprocess.run(["cp", "--", made.working, made.published], check=True)

    warehouse: Any = Warehouse
    warehouse._publish = write_over


MUTANTS: dict[str, Callable[[], None]] = {
    "everything-at-once": everything_at_once,
    "publish-in-place": publish_in_place,
}


if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    sys.exit(cli.main())
