"""A table of figures: each with what it has to reach, and whether it does."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from typing import NamedTuple

OK, SHORT = "ok", "short"
SIZE, LARGE = 100_000, 1_000_000  # visits


class Row(NamedTuple):
    """One line of the table: what was measured, the figure, what it has to reach, whether it does."""

    what: str
    figure: str
    target: str
    verdict: str


Rows = Callable[[int, tuple[int, ...]], Iterator[Row]]  # of so many rounds, with so many visits


def verdict(reached: bool) -> str:
    """How the table says it."""
    return OK if reached else SHORT


def markdown(table: list[Row]) -> str:
    """The table for people."""
    lines = ["| what | figure | target | |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in table])


def program(name: str, rows: Rows) -> int:
    """Measure, print, judge: the exit code is 1 when a target was not reached."""
    parser = ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="a million visits too: some ten minutes more")
    options = parser.parse_args()
    table = list(rows(options.rounds, (SIZE, LARGE) if options.large else (SIZE,)))
    print(markdown(table))
    return 1 if any(row.verdict == SHORT for row in table) else 0
