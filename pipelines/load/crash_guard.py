"""A delivery that ends the process which reads it is found and put into quarantine; all others load.

Whoever is about to read the bodies in a file notes it in `warehouse/reading`, and empties that when they are read.
If it is not empty when a command begins, a process died that read: other processes read the same deliveries, half of
them, a quarter of them, until it is known of which one they die. `warehouse/quarantine.json` lists those; their
bodies are not read until `kobra load --retry-rejects`.
"""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from receiver import rawstore

log = logging.getLogger(__name__)

_NOTE, _QUARANTINE = "reading", "quarantine.json"
_PATIENCE_S = 300.0  # a process that reads for longer does not read, it stands still
_ATTEMPTS = 3
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


class _Suspect(NamedTuple):
    """A delivery that may end the process that reads it, and the segment that holds it."""

    path: str
    delivery_id: str


# ---------------------------------------------------------------- notes


class Note:
    """Notes whose bodies are being read, in whatever thread. `folder` is that of the warehouse; hold its lock."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NOTE
        self._being_read = dict[Path, None]()
        self._lock = Lock()

    def __enter__(self) -> "Note":
        self._file = self._path.open("w")
        return self

    def __exit__(self, *failure: object) -> None:
        self._file.close()
        self._path.unlink()  # whoever gets here has not died

    def begin(self, path: Path) -> None:
        """The bodies in this file are read from now on."""
        with self._lock:
            self._being_read[path] = None
            self._write([path])

    def end(self, paths: Iterable[Path]) -> None:
        """The bodies in these files are read."""
        with self._lock:
            for path in paths:
                self._being_read.pop(path, None)
            self._file.seek(0)
            self._file.truncate()
            self._write(self._being_read)

    def _write(self, paths: Iterable[Path]) -> None:
        self._file.writelines(f"{json.dumps(str(path))}\n" for path in paths)
        self._file.flush()


def is_left(folder: Path) -> bool:
    """Whether a process died while it read."""
    return bool(_left(folder))


def _left(folder: Path) -> list[Path]:
    try:
        lines = (folder / _NOTE).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [Path(json.loads(line)) for line in lines if line.endswith('"')]


def quarantined(folder: Path) -> frozenset[str]:
    """The ids of the deliveries whose bodies nobody is to read."""
    try:
        return frozenset(json.loads((folder / _QUARANTINE).read_text()))
    except (FileNotFoundError, ValueError):  # it may be deleted: then they are found again
        return frozenset()


def release(folder: Path) -> None:
    """Let every delivery be read again."""
    (folder / _QUARANTINE).unlink(missing_ok=True)


# ---------------------------------------------------------------- finding


def examine(folder: Path) -> None:
    """Find the deliveries of which a process died, if one has left a note, and put them into quarantine."""
    paths = [path for path in _left(folder) if path.exists()]  # of one that was compressed since, nobody died
    if not paths:
        return
    known = quarantined(folder)
    suspects = [
        _Suspect(str(path), found.delivery.delivery_id)
        for path in paths
        for found in rawstore.read_segment(path)
        if isinstance(found, rawstore.Landed) and found.delivery.delivery_id not in known
    ]
    if culprits := {culprit.delivery_id for culprit in _culprits(suspects)}:
        for delivery_id in culprits:
            log.warning("delivery %s ends the process that reads it: rejected as crashed_reader", delivery_id)
        rawstore.put(folder / _QUARANTINE, json.dumps(sorted(known | culprits)))
    (folder / _NOTE).unlink()


def _culprits(suspects: list[_Suspect]) -> Iterator[_Suspect]:
    if not suspects or not _is_deadly(suspects):
        return
    if len(suspects) == 1:
        yield suspects[0]
        return
    middle = len(suspects) // 2
    yield from _culprits(suspects[:middle])
    yield from _culprits(suspects[middle:])


def _is_deadly(suspects: list[_Suspect]) -> bool:
    """Whether a process that reads these dies, or stands still."""
    wanted: dict[str, list[str]] = {}
    for suspect in suspects:
        wanted.setdefault(suspect.path, []).append(suspect.delivery_id)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pipelines.operate.try_reading"],
            input=json.dumps(wanted).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode < 0


# ---------------------------------------------------------------- going on


def guarded(folder: Path, work: Callable[[], int]) -> int:
    """Do the work of a whole command in a process of its own, which ends with it; answers with its exit code.

    When that process dies while it reads, do the work again: it then begins with `examine`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    for _ in range(_ATTEMPTS):
        status = _in_a_child(work)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        name = signal.Signals(os.WTERMSIG(status)).name
        if not is_left(folder):
            print(f"kobra: the process that did the work was ended by {name}; nothing is lost", file=sys.stderr)
            return 1
        log.warning("a process that read deliveries was ended by %s: looking for the delivery that did it", name)
    print("kobra: the process that reads deliveries is ended again and again; nothing is lost", file=sys.stderr)
    return 1


def _in_a_child(work: Callable[[], int]) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        return _wait(child)
    _die_with(parent)
    leave_no_core()
    raise SystemExit(work())


def leave_no_core() -> None:
    """A core would hold what Kobra sent."""
    with suppress(OSError, ValueError):  # a sandbox may forbid to say so, and has said so itself
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _wait(child: int) -> int:
    """The status with which a child ends. Signals that ask us to end are for the child."""
    before = {number: signal.signal(number, lambda number, _: os.kill(child, number))
              for number in (signal.SIGTERM, signal.SIGHUP)}  # fmt: skip
    try:
        while True:
            try:
                return os.waitpid(child, 0)[1]
            except KeyboardInterrupt:  # the child has it, too: it is sent to all that the terminal runs
                continue
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, so that none goes on that nobody sees."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only here

        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
