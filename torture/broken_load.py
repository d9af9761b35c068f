"""python -m torture.broken_load MUTANT …: the command `kobra`, broken on purpose."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from pipelines import cli
from pipelines.warehouse import warehouse
from pipelines.warehouse.warehouse import Warehouse


def let_go_of_nothing() -> None:
    """Keeps all that it read until the end."""
    module: Any = warehouse
    honest, kept = module._Loads.load, []

    def load_and_keep(loads: Any, batch: Any, seen: Any) -> Any:
        kept.append(batch)
        return honest(loads, batch, seen)

    module._Loads.load = load_and_keep


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
    "let-go-of-nothing": let_go_of_nothing,
    "publish-half-a-copy": publish_half_a_copy,
}


if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    sys.exit(cli.main())
