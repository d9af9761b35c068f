"""The load generator: compiled C, so that what is measured is the server."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from benchmarks.receiver.processes import UnavailableError

HERE = Path(__file__).parent
BODY = HERE / "visit.json"
PATH, KEY = "/webhooks/visits", "0123456789abcdef0123"


class Answered(NamedTuple):
    """What came back: `acknowledged` counts the warm-up too, `errors` every request without a 200."""

    requests_s: float
    p50_ms: float
    p99_ms: float
    acknowledged: int
    errors: int


def compiled(source: str, folder: Path) -> Path:
    """The program of a C file beside this module. Raises UnavailableError without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise UnavailableError("there is no C compiler here: install gcc")
    program = folder / Path(source).stem
    subprocess.run([compiler, "-O2", "-Wall", "-o", program, HERE / source], check=True)
    return program


def send(program: Path, port: int, connections: int, seconds: float) -> Answered:
    """Keep that many connections busy for that long. Raises UnavailableError when the server gives up."""
    warmup = min(1.0, seconds / 4)
    command: list[object] = [program, port, connections, warmup, seconds, PATH, KEY, BODY]
    result = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=warmup + seconds + 30
    )
    if result.returncode != 0:
        raise UnavailableError(f"the load broke off: {result.stderr.strip()}")
    seen = json.loads(result.stdout)
    return Answered(
        seen["requests"] / seen["seconds"],
        seen["p50_ms"],
        seen["p99_ms"],
        seen["acknowledged"],
        seen["errors"],
    )
