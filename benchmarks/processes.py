"""Measure in a process of its own, so that nothing is warm and its memory is its own."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """A finished process: what it told, its wall clock, its peak memory."""

    told: str
    wall_s: float
    peak_gib: float

    @property
    def seconds(self) -> float:
        """The seconds that it measured itself."""
        return float(self.told)


def in_a_process(*arguments: str) -> Run:
    """A Python program to its end; the last that it does is to report."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environ, check=True, stdout=subprocess.PIPE, text=True)
    wall = time.perf_counter() - began
    told, peak = json.loads(done.stdout.splitlines()[-1])
    return Run(told, wall, peak)


def machine_cpu_s() -> float:
    """The processor time that everything on this machine has used: of processes whose parents do not wait for them,
    as those of Spark, nobody else keeps count."""
    user, nice, system, _, _, interrupts, soft_interrupts = map(
        int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8]
    )
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")


def report(told: object) -> None:
    """In a process of its own: say something to the one that waits for it."""
    print(json.dumps([str(told), peak_gib()]))


def peak_gib() -> float:
    """Most memory that this process had, and the largest of those that it started."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(who).ru_maxrss for who in whose) / (1 << 20)
