"""python -m tests.torture.broken_load MUTANT …: the command `kobra`, broken on purpose."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from pipelines import cli
from pipelines.load import batches
from pipelines.publish import publish
from pipelines.warehouse import database
from pipelines.warehouse.home import PUBLISHING, Home


def let_go_of_nothing() -> None:
    """Keeps all that it read until the end."""
    module: Any = batches
    honest, kept = module._Documents.add, []

    def add_and_keep(documents: Any, segment: str, line: int, delivery: Any) -> None:
        kept.append(delivery)
        honest(documents, segment, line, delivery)

    module._Documents.add = add_and_keep


def publish_half_a_copy() -> None:
    """Does not ask whether the copy that it publishes became whole."""

    def put(home: Home) -> None:
        with database.working(home) as connection:
            connection.execute("checkpoint")
        aside = home.warehouse / PUBLISHING
        subprocess.run(["cp", "--", home.working, aside], check=False)
        aside.rename(home.published)

    publish.publish = put


MUTANTS: dict[str, Callable[[], None]] = {
    "let-go-of-nothing": let_go_of_nothing,
    "publish-half-a-copy": publish_half_a_copy,
}


if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    sys.exit(cli.main())
