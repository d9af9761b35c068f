"""Measure the receiver against what this machine can do and against other ways of doing the same work."""

from pathlib import Path

from benchmarks.receiver import contest, reach
from benchmarks.receiver.reach import Row, markdown

PEERS_PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"

__all__ = ["PEERS_PYTHON", "Row", "markdown", "run"]


def run(seconds: float, rounds: int, peers_python: Path = PEERS_PYTHON) -> list[Row]:
    """Measure every contestant for so many seconds at each number of connections, alternating, and judge it."""
    return reach.rows(contest.hold(seconds, rounds, peers_python))
