"""Start what is measured, wait until it answers, and stop it whatever happens."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep

START_S, STOP_S = 30.0, 15.0


class UnavailableError(Exception):
    """Something cannot be measured here; the message is a sentence that says why."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[object], log: Path, env: Mapping[str, str], user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process group of its own, its output in a log; stopped with SIGTERM, then for good."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment | dict(env),
            cwd=Path(__file__).parents[2],
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the port accepts connections. Raises UnavailableError with the last line of the log."""
    for _ in _while_starting(process, log):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return


def until_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait for the first 200 on /healthz. Raises UnavailableError with the last line of the log."""
    for _ in _while_starting(process, log):
        with suppress(OSError, HTTPException):
            if _status(port, "GET", "/healthz") == 200:
                return


def _while_starting(process: subprocess.Popen[bytes], log: Path) -> Iterator[None]:
    deadline = monotonic() + START_S
    while process.poll() is None and monotonic() < deadline:
        yield
        sleep(0.005)
    last_line = (log.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
    raise UnavailableError(f"it does not start: {last_line}")


def post(port: int, path: str, headers: Mapping[str, str], body: bytes) -> None:
    """Post one body. Raises UnavailableError unless the answer is 200."""
    try:
        status = _status(port, "POST", path, headers, body)
    except (OSError, HTTPException) as why:
        raise UnavailableError(f"the first webhook got no answer: {why}") from why
    if status != 200:
        raise UnavailableError(f"the first webhook got {status}, not 200")


def _status(
    port: int, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers or {}))
        return connection.getresponse().status
    finally:
        connection.close()


def cpu_seconds(group: int) -> float:
    """The CPU time, exact to the nanosecond, that the living threads of a process group have used."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # gone meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[2]) == group:
                for schedstat in stat.parent.glob("task/*/schedstat"):
                    total += int(schedstat.read_text().split()[0])
    return total / 1e9


def others_share(seconds: float) -> float:
    """The share of all cores' time that goes to other work, watched for so long while nothing of ours runs."""
    idle, total = _core_ticks()
    sleep(seconds)
    idle_then, total_then = _core_ticks()
    return 1 - (idle_then - idle) / (total_then - total)


def _core_ticks() -> tuple[int, int]:
    ticks = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return ticks[3] + ticks[4], sum(ticks)  # idle, and idle while a disk works
