"""A disk that refuses: full, read-only, files limited in size, no more file descriptors.

Each time the receiver must answer 503 with Retry-After as long as it lasts, never acknowledge what it did not
store, and store again once it is over, without a restart. What arrives is so large or so late that every post
needs new space or a new segment.
"""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from tests.torture.clients import Client, answers, audit, until
from tests.torture.mounts import disk, require_root, run, small
from tests.torture.running import Running, receiver
from tests.torture.table import CannotRunHereError, Row, Trial

MUTANT, ELSEWHERE = "acknowledge-before-write", "ready-by-another-folder"
POSTS = 10
TRIES_AGAIN_S = 1.5  # by then it has tried again whether it can store
Obstacle = Callable[[Running], AbstractContextManager[None]]


def prove_full(times: int, folder: Path) -> Row:
    """A tmpfs of 256 KiB that something else fills."""
    return _on_tmpfs("disk full", f"{times} times a tmpfs of 256 KiB filled", folder, times, full)


def prove_read_only(times: int, folder: Path) -> Row:
    """A file system that is mounted again read-only."""
    return _on_tmpfs("disk read-only", f"{times} times mounted again read-only", folder, times, read_only)


def prove_folder(times: int, folder: Path) -> Row:
    """The folder of the day, which nobody may change, not even root."""
    require_root("chattr")
    with disk(folder / "disk", "ext4") as ext4:
        return _row("folder of the day read-only", f"{times} times made immutable", ext4.at, times, immutable_folder,
                    MUTANT, ELSEWHERE)  # fmt: skip


def prove_file_size(times: int, folder: Path) -> Row:
    """A limit to the size of files: the write that reaches it is cut short."""
    return _row("short write, files limited in size", f"{times} times a limit within the next record", folder, times,
                limited_size)  # fmt: skip


def prove_descriptors(times: int, folder: Path) -> Row:
    """A limit to open files: no segment can be begun, no connection accepted."""
    return _row("too many open files", f"{times} times no descriptor left", folder, times, no_descriptors)


@contextmanager
def full(running: Running) -> Iterator[None]:
    """Not a page is left."""
    filler = running.home.parent / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, bytes(4096))
    except OSError:
        yield
    finally:
        os.close(fd)
        filler.unlink()


@contextmanager
def read_only(running: Running) -> Iterator[None]:
    """Nothing can be written; possible only while no segment is open."""
    at = str(running.home.parent)
    run("mount", "-o", "remount,ro", at)
    try:
        yield
    finally:
        run("mount", "-o", "remount,rw", at)


@contextmanager
def immutable_folder(running: Running) -> Iterator[None]:
    """Nothing can be created in, or removed from, the folder of the day."""
    (today,) = running.raw.glob("received_date=*")
    run("chattr", "+i", str(today))
    try:
        yield
    finally:
        run("chattr", "-i", str(today))


@contextmanager
def limited_size(running: Running) -> Iterator[None]:
    """No file may be larger than a few bytes."""
    with _limited(running, resource.RLIMIT_FSIZE, 40):
        yield


@contextmanager
def no_descriptors(running: Running) -> Iterator[None]:
    """Not a descriptor beyond those in use."""
    in_use = {int(each.name) for each in Path(f"/proc/{running.process.pid}/fd").iterdir()}
    first_free = next(number for number in range(len(in_use) + 1) if number not in in_use)
    with _limited(running, resource.RLIMIT_NOFILE, first_free):
        yield


@contextmanager
def _limited(running: Running, limit: int, soft: int) -> Iterator[None]:
    before = resource.prlimit(running.process.pid, limit)
    resource.prlimit(running.process.pid, limit, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(running.process.pid, limit, before)


def _on_tmpfs(failure: str, tried: str, folder: Path, times: int, obstacle: Obstacle) -> Row:
    require_root("mount")
    with small(folder / "disk", "256k") as disk:
        return _row(failure, tried, disk, times, obstacle)


def _row(failure: str, tried: str, folder: Path, times: int, obstacle: Obstacle, *mutants: str) -> Row:
    """The proof, and the same with a receiver that acknowledges first, or as these mutants do."""
    if sys.platform != "linux":
        raise CannotRunHereError("needs Linux, to look at and to limit another process")
    honest = _refusals(folder / "sound", times, obstacle)
    caught = {name: _refusals(folder / name, 1, obstacle, broken=name) for name in mutants or (MUTANT,)}
    return Row(failure, tried, honest, caught)


def _refusals(home: Path, times: int, obstacle: Obstacle, broken: str = "") -> Trial:
    """One receiver, and the obstacle put up and taken away so often."""
    trial = Trial()
    with receiver(home, broken=broken, KOBRA_SEGMENT_MAX_AGE_S="0.1") as running:
        client = Client(running.port)
        for _ in range(times):
            trial.expect(_stores_again(client), "does not store although nothing is in the way")
            trial.expect(until(lambda: not _has_open(running)), "its segment stays open")
            with obstacle(running):
                said = list(answers(client, POSTS))
                trial.expect(set(said) == {"refused"}, f"said {sorted(set(said))} while it could not store")
                trial.expect(not client.ready(), "says it is ready while it cannot store")
                time.sleep(TRIES_AGAIN_S)
                trial.expect(not client.ready(), "says it is ready again while it cannot store")
        trial.expect(_stores_again(client), "does not store again afterwards")
        newcomer = Client(running.port)
        trial.expect(_stores_again(newcomer), "takes no new connections afterwards")
        client.close()
        newcomer.close()
        running.kill()
    trial.add(audit(client.ledger | newcomer.ledger, running.raw))
    return trial


def _stores_again(client: Client) -> bool:
    """Within two seconds, and then twice in a row."""
    return until(lambda: list(answers(client, 1)) == ["stored"], seconds=2) and list(answers(client, 1)) == ["stored"]


def _has_open(running: Running) -> bool:
    """Whether the receiver still holds anything in its store; a segment has its new name before it is let go."""
    with suppress(FileNotFoundError):  # let go while we look
        held = [each.readlink() for each in Path(f"/proc/{running.process.pid}/fd").iterdir()]
        return any(path.is_relative_to(running.raw) for path in held)
    return True
