"""python -m benchmarks.receiver: print the table. Exit 1 when a target was not reached, 2 when nothing could be
measured."""

import signal
import sys
from argparse import ArgumentParser
from pathlib import Path

from benchmarks.receiver import PEERS_PYTHON, markdown, run
from benchmarks.receiver.processes import UnavailableError
from benchmarks.receiver.reach import fell_short


def main() -> int:
    """Measure, print, judge."""
    parser = ArgumentParser(prog="python -m benchmarks.receiver", description=sys.modules[main.__module__].__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    parser.add_argument("--rounds", type=int, default=5, help="of everybody in turn (default 5)")
    parser.add_argument("--peers", type=Path, default=PEERS_PYTHON, help="the Python that has the peers' packages")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is stopped
    try:
        table = run(options.seconds, options.rounds, options.peers)
    except UnavailableError as why:
        print(why, file=sys.stderr)
        return 2
    print(markdown(table))
    return 1 if fell_short(table) else 0


if __name__ == "__main__":
    sys.exit(main())
