"""python -m benchmarks.load: print the load's table. Exit 1 when a target was not reached."""

import sys

from benchmarks import table
from benchmarks.load.reach import rows

if __name__ == "__main__":
    sys.exit(table.program("benchmarks.load", rows))
