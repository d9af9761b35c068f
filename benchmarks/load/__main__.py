"""python -m benchmarks.load: print the load's table. Exit 1 when a target was not reached."""

import sys
from argparse import ArgumentParser

from benchmarks.load.reach import markdown, rows


def main() -> int:
    """Measure, print, judge."""
    parser = ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="a million visits too: some ten minutes more")
    options = parser.parse_args()
    table = list(rows(options.rounds, (100_000, 1_000_000) if options.large else (100_000,)))
    print(markdown(table))
    return 1 if any(row.verdict == "short" for row in table) else 0


if __name__ == "__main__":
    sys.exit(main())
