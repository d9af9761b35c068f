"""A real receiver in a process of its own, sound or broken on purpose, and killed whatever happens."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEY = "k3y-of-lender-a-000001"
PROJECT = Path(__file__).parents[2]


class DidNotStartError(Exception):
    """A receiver ended before it listened."""


class Running:
    """A receiver that listens, the folder it stores in, and the process group it lives in."""

    def __init__(self, process: subprocess.Popen[bytes], home: Path) -> None:
        self.process = process
        self.home = home
        self.raw = home / "raw"
        self.log = home.parent / f"{home.name}.log"
        self.port = self._until_listening()

    def _until_listening(self) -> int:
        while line := self.process.stdout.readline() if self.process.stdout else b"":
            with self.log.open("ab") as log:
                log.write(line)
            if b'"listening"' in line:
                return int(json.loads(line)["port"])
        raise DidNotStartError(f"the receiver did not start, see {self.log}")

    def kill(self) -> None:
        """kill -9 to everything that was started here."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def receiver(
    home: Path, *flags: str, broken: str = "", prefix: tuple[str, ...] = (), **settings: str
) -> Iterator[Running]:
    """A receiver on a home, with `KOBRA_…` settings; `broken` names a mutant of `tests.torture.broken`."""
    program = ["-m", "tests.torture.broken", broken] if broken else ["-m", "receiver"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    given = {"KOBRA_HOME": str(home), "KOBRA_API_KEYS": f"lender_a:{KEY}", "KOBRA_MIN_FREE_BYTES": "0"} | settings
    process = subprocess.Popen(
        [*prefix, sys.executable, *program, "--port", "0", *flags],
        env=clean | given,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        running = Running(process, home)
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()
