"""python -m torture.broken_load MUTANT …: the command `kobra`, broken on purpose."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from pipelines import cli, pages
from pipelines.warehouse import Warehouse


def everything_at_once() -> None:
    """Takes all that waits as one page."""
    module: Any = pages
    module.PAGE_DELIVERIES = module.PAGE_BYTES = 1 << 60


def publish_half_a_copy() -> None:
    """Does not ask whether the copy that it publishes became whole."""

    def publish(made: Warehouse, connection: Any) -> None:
        connection.execute("checkpoint")
        aside = made.folder / ".publishing.duckdb"
        subprocess.run(["cp", "--", made.working, aside], check=False)
        aside.rename(made.published)

    warehouse: Any = Warehouse
    warehouse._publish = publish


MUTANTS: dict[str, Callable[[], None]] = {
    "everything-at-once": everything_at_once,
    "publish-half-a-copy": publish_half_a_copy,
}


if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    sys.exit(cli.main())
