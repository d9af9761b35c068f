"""python -m benchmarks: measure receiver and load in one run, print the tables, keep them in RESULTS.md."""

import os
import platform
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import receiver, runs, scale, spark, table
from benchmarks.load import reach

_RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> int:
    """Measure, print, keep. Exit 0 whatever was reached: the table says it."""
    parser = ArgumentParser(prog="python -m benchmarks", description=sys.modules[main.__module__].__doc__)
    parser.add_argument("--quick", action="store_true", help="without the million visits, and fewer rounds")
    parser.add_argument("--against", type=Path, help="another checkout, set up, whose runs are measured beside ours")
    options = parser.parse_args()
    sizes = (table.SIZE,) if options.quick else (table.SIZE, table.LARGE)
    text = "\n".join(
        [
            "# The last run of `make bench`",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {_memory_gib()} GiB, Python"
            f" {platform.python_version()}, DuckDB {version('duckdb')}, dlt {version('dlt')}, uvicorn"
            f" {version('uvicorn')}. Ratios are taken within a round, between neighbours in time, and their median"
            " is shown.",
            "",
            "## Receiver",
            "",
            receiver.markdown(receiver.run(seconds=2, rounds=3 if options.quick else 5)),
            "",
            "## Load",
            "",
            table.markdown(list(reach.rows(3, sizes))),
            "",
            "## Whole runs",
            "",
            table.markdown(list(runs.rows(3, sizes, options.against))),
            "",
            "## A lake",
            "",
            table.markdown(list(scale.rows(2, sizes))),
            "",
            "## Spark",
            "",
            table.markdown(list(spark.rows(2, sizes))),
            "",
        ]
    )
    print(text)
    _RESULTS.write_text(text)
    return 0


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))


if __name__ == "__main__":
    sys.exit(main())
