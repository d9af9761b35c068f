"""Look for what is set up wrong before it hurts: one finding a line, with its remedy. Changes nothing."""

import fcntl
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote
from time import time
from typing import NamedTuple

from pipelines import terminal
from pipelines.errors import FaultError, UsageError
from pipelines.operate import disk, verify
from pipelines.publish.publish import wals
from pipelines.settings import Settings
from pipelines.warehouse import damage
from pipelines.warehouse.home import TEMPORARY, Home
from pipelines.warehouse.lake import Lake
from receiver import rawstore

LOCK_FILE = Path(__file__).parents[2] / "requirements.lock"
_MOUNTS = Path("/proc/self/mountinfo")
_IN_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))

# Locks and syncs promise less there than the receiver and the warehouse need.
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "gpfs", "virtiofs"}
_IN_MEMORY = {"tmpfs", "ramfs"}
_FEWEST_INODES = 10_000
_SKEW_S = 120  # how far ahead of the clock a file's time of change may be
_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)  # before that there was no kobra-visits
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_NAMED = 3  # files, of many
_MAIN = ("duckdb", "dlt", "dbt-core", "dbt-duckdb")  # told when all is well


class Finding(NamedTuple):
    """What a check found; a remedy stands in `told` when it is not well."""

    check: str
    is_well: bool
    told: str

    def line(self) -> str:
        """For the screen."""
        return f"{'ok' if self.is_well else 'WRONG':6}{self.check:14}{self.told}"


def examine(home: Home, settings: Settings) -> Iterator[Finding]:
    """Every check, in the order in which a person would mend things."""
    yield from _configuration()
    place = _home(home.path)
    yield place
    if home.path.is_dir():
        yield from _owner(home.path)
        yield from _permissions(home.path)
    if place.is_well:
        yield from _mappings(home.mappings)
        yield from _inputs(home.inputs)
    yield from _clock(home.path)
    yield from _disk(home, settings)
    yield from _file_system(home.path)
    yield from _versions(LOCK_FILE)
    yield from _raw_store(home)
    yield from _object_store(home)
    yield from _files(home)
    yield from _leftovers(home)


def _well(check: str, told: str) -> Finding:
    return Finding(check, True, told)


def _wrong(check: str, told: str) -> Finding:
    return Finding(check, False, told)


# ---------------------------------------------------------------- configuration


def _configuration() -> Iterator[Finding]:
    """The receiver judges its own settings, in a process of its own, by the environment that we have."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "receiver", "--check"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = done.stderr.strip().splitlines() or ["the receiver cannot say; try: python -m receiver --check"]
        yield _wrong("settings", told[-1])
        return
    said = json.loads(done.stdout)
    sources = ", ".join(f"{source} ({number})" for source, number in said["keys"].items())
    if not said["weak"]:
        yield _well("keys", f"live keys by source: {sources}")
    for sentence in said["weak"]:
        yield _wrong("keys", sentence)
    if file := said["keys_file"]:
        yield from _keys_file(Path(file))


def _keys_file(file: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o037:
        yield _wrong("keys file", f"others may read it or change it (mode {mode:o}): chmod 640 {quote(str(file))}")
    else:
        yield _well("keys file", f"mode {mode:o}")


def _home(home: Path) -> Finding:
    place = home.absolute()
    if home.is_dir():
        if os.access(home, os.R_OK | os.W_OK | os.X_OK):
            return _well("home", str(place))
        return _wrong(
            "home", f"{place} may not be written to by this user: run kobra as its owner, {_owner_of(home)}"
        )
    above = next(folder for folder in (place, *place.parents) if folder.exists())
    if not above.is_dir():
        return _wrong("home", f"{above} is no folder: let KOBRA_HOME name one")
    if not os.access(above, os.W_OK | os.X_OK):
        return _wrong("home", f"{place} is not there, and cannot be made in {above}: make it")
    return _well("home", f"{place} is not there yet, and can be made")


def _mappings(folder: Path) -> Iterator[Finding]:
    from pipelines.build import mappings  # noqa: PLC0415

    own = [name for name in mappings.FILES if (folder / name).exists()]
    try:
        mappings.read(folder)
    except FaultError as why:
        for sentence in str(why).splitlines():
            yield _wrong("mappings", sentence)
    except OSError as why:
        yield _wrong("mappings", f"{folder} cannot be read ({why.strerror}): let kobra read it")
    else:
        yield _well("mappings", f"your own: {', '.join(own)}" if own else "the starting set")


def _inputs(folder: Path) -> Iterator[Finding]:
    import duckdb  # noqa: PLC0415

    from pipelines.build import inputs  # noqa: PLC0415

    for name, path in inputs.files(folder).items():
        with duckdb.connect() as connection:
            try:
                inputs.write(connection, folder, only=name)
            except FaultError as why:
                yield _wrong("inputs", str(why))
                continue
            rows, used, refused = connection.execute(
                f"select (select rows from inputs.files), (select count(*) from inputs.{name}),"
                " (select count(distinct line) from inputs.rejects)"
            ).fetchall()[0]
        if not path.exists():
            yield _well("inputs", f"no {path.name}")
        elif rows and not used:
            yield _wrong("inputs", f"{path.name}: none of {rows:,} rows can be used: see inputs.rejects after a run")
        else:
            yield _well("inputs", f"{path.name}: {used:,} of {rows:,} rows used, {refused:,} with a fault")


# ---------------------------------------------------------------- files


def _owner_of(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return f"user {path.stat().st_uid}"


def _seen(path: Path) -> os.stat_result | None:
    """None for a file that goes away while it is looked at."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _owner(home: Path) -> Iterator[Finding]:
    """One run as root leaves files that the service cannot write to any more."""
    owner = home.stat().st_uid
    others = [path for path in _all(home) if (seen := _seen(path)) and seen.st_uid != owner]
    name = _owner_of(home)
    if others:
        yield _wrong("owner", f"{_some(others)} not owned by {name}: chown -R {name} {quote(str(home.absolute()))}")
    elif os.geteuid() != owner:
        yield _wrong("owner", f"home belongs to {name} and this is another user: run every kobra command as {name}")
    else:
        yield _well("owner", name)


def _permissions(home: Path) -> Iterator[Finding]:
    paths = list(_all(home))
    open_to_others = [
        path for path in paths if (seen := _seen(path)) and seen.st_mode & 0o077 and not stat.S_ISLNK(seen.st_mode)
    ]
    if open_to_others:
        remedy = f"chmod -R go= {quote(str(home.absolute()))}"
        yield _wrong("permissions", f"{_some(open_to_others)} open to other users: {remedy}")
    else:
        yield _well("permissions", f"{len(paths):,} files and folders, for their owner alone")


def _all(home: Path) -> Iterator[Path]:
    yield home
    for folder, folders, files in os.walk(home):
        yield from (path for path in map(Path(folder).joinpath, [*folders, *files]) if os.path.lexists(path))


def _some(paths: list[Path]) -> str:
    named = ", ".join(str(path) for path in paths[:_NAMED])
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return f"{named}{more} {'is' if len(paths) == 1 else 'are'}"


def _raw_store(home: Home) -> Iterator[Finding]:
    told = list(verify.namesakes(home.raw))
    for sentence in told:
        yield _wrong("raw store", sentence)
    try:
        gone = verify.missing(home)
    except (FaultError, UsageError):
        return  # told by what looks at the published file
    for each in gone:
        yield _wrong(
            "raw store", f"loaded, and gone: {each}; put them back from a backup, before anything is rebuilt"
        )
    if not told and not gone:
        yield _well("raw store", f"{len(rawstore.closed(home.raw)):,} closed segments; all that was loaded is there")


def _object_store(home: Home) -> Iterator[Finding]:
    if home.store is None:
        return
    try:
        lost = verify.lost(home)
    except FaultError as why:
        yield _wrong("object store", str(why))
        return
    if lost:
        yield _wrong("object store", f"{len(lost)} segment(s) are gone from {home.store}: kobra verify names them")
    else:
        yield _well("object store", f"{home.store} answers, and has all that was taken from it")


def _files(home: Home) -> Iterator[Finding]:
    """Every block of the two database files, and who holds the published one; or whether the lake answers."""
    if home.lake:
        yield _lake(home.lake)
        return
    for name, path in (("working", home.working), ("published", home.published)):
        if not path.exists():
            yield _well(name, "not there yet")
        elif name == "working" and _is_running(home):
            yield _well(name, "in use by a run")
        else:
            try:
                damage.check(path)
            except (FaultError, UsageError) as why:
                yield _wrong(name, str(why))
            else:
                yield _well(name, f"{path.stat().st_size >> 20:,} MiB, every block sound")
    for wal in wals(home):
        yield _wrong("published", f"{wal} is of a program that opened it to write and died: kobra run removes it")
    for holder in _holders(home.published):
        if holder.writes:
            yield _wrong("published", f"{holder} has it open to write: readers are locked out; close it there")
        else:
            yield _well("published", f"{holder} reads it")


def _lake(lake: Lake) -> Finding:
    try:
        published = lake.published()
        if published is None:
            return _well("lake", "answers; nothing is published yet")
        with lake.read(published.snapshot, "w") as connection:
            (visits,) = connection.execute("select count(*) from w.marts.visits").fetchall()[0]
    except (FaultError, UsageError) as why:
        return _wrong("lake", str(why))
    return _well("lake", f"snapshot {published.snapshot} of {published.at:%Y-%m-%d %H:%M} UTC has {visits:,} visits")


class _Holder(NamedTuple):
    """A process that has a file open."""

    pid: int
    name: str
    writes: bool

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


def _holders(path: Path) -> Iterator[_Holder]:
    """Who has a file open, as far as this user may see."""
    if not path.exists():
        return
    file = path.stat()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for descriptor in (process / "fd").iterdir():
                opened = descriptor.stat()
                if (opened.st_dev, opened.st_ino) == (file.st_dev, file.st_ino):
                    flags = (process / "fdinfo" / descriptor.name).read_text().split("flags:")[1].split()[0]
                    name = terminal.shown((process / "comm").read_text().strip())
                    yield _Holder(int(process.name), name, bool(int(flags, 8) & os.O_ACCMODE))
                    break
        except OSError:  # of another user, or gone meanwhile
            continue


def _leftovers(home: Home) -> Iterator[Finding]:
    """What was left behind by something that was cut short. While a run is under way, its files are no leftovers."""
    found = False
    if aside := rawstore.set_aside_in(home.raw):
        found = True
        yield _wrong(
            "leftovers",
            f"{_some(aside)} copies that differ from their segments, whose records count: look, then delete",
        )
    torn = sorted(home.raw.glob(f"*/*{rawstore.TORN}"))
    if torn:
        found = True
        yield _wrong(
            "leftovers",
            f"{_some(torn)} what a killed receiver had not finished and not acknowledged: look, then delete",
        )
    if not _is_running(home):
        left = sorted(path for pattern in TEMPORARY for path in home.warehouse.glob(pattern))
        left += sorted(path for ending in rawstore.HALF_WRITTEN for path in home.raw.glob(f"*/*{ending}"))
        if left:
            found = True
            yield _wrong("leftovers", f"{_some(left)} of a run that was cut short: kobra run makes that good")
        orphans = [path for path in rawstore.opened(home.raw) if rawstore.is_orphan(path)]
        if orphans:
            found = True
            yield _wrong("leftovers", f"{_some(orphans)} of a receiver that is gone: kobra run takes its visits in")
    if not found:
        yield _well("leftovers", "none")


def _is_running(home: Home) -> bool:
    try:
        fd = os.open(home.warehouse / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


# ---------------------------------------------------------------- the machine


def _clock(home: Path) -> Iterator[Finding]:
    now = datetime.now(UTC)
    if not _EARLIEST < now < _LATEST:
        yield _wrong("clock", f"it is set to {now:%Y-%m-%d}: set it right, and keep it so with NTP")
        return
    seen = filter(None, map(_seen, _all(home))) if home.is_dir() else ()
    newest = max((each.st_mtime for each in seen), default=0.0)
    ahead = newest - time()
    if ahead > _SKEW_S:
        yield _wrong(
            "clock",
            f"files were changed {ahead:,.0f} s in the future: the clock was set back; keep it right with NTP",
        )
    else:
        yield _well("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _disk(home: Home, settings: Settings) -> Iterator[Finding]:
    seen = disk.look(home, settings)
    told = f"{seen.free >> 20:,} MiB free"
    if seen.is_full:
        yield _wrong("disk", f"{told}, and below {seen.floor >> 20:,} MiB visits are refused: make room")
    elif seen.is_full_once_copied:
        yield _wrong("disk", f"{told}, and publishing writes {seen.copy >> 20:,} MiB once more: make room")
    else:
        yield _well("disk", told)
    if seen.files_left is None:
        yield _well("inodes", "not limited")
    elif seen.files_left < _FEWEST_INODES:
        yield _wrong("inodes", f"{seen.files_left:,} left, every segment is a file: remove small files, or make more")
    else:
        yield _well("inodes", f"{seen.files_left:,} left")


def _file_system(home: Path) -> Iterator[Finding]:
    kind = _kind(home)
    if kind in _NETWORK or kind.startswith("fuse."):
        yield _wrong(
            "file system", f"{kind} keeps locks and syncs otherwise than a disk: move KOBRA_HOME to a local one"
        )
    elif kind in _IN_MEMORY:
        yield _wrong("file system", f"{kind} is gone when the power is: move KOBRA_HOME to a disk")
    elif kind == "overlay" and any(map(Path.exists, _IN_CONTAINER)):
        yield _wrong("file system", "this is the container's own, and goes with it: mount a volume at KOBRA_HOME")
    else:
        yield _well("file system", kind)


def _kind(home: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the file system on which a folder is or would be."""
    place = home.resolve()
    kinds = {}
    try:
        for line in mounts.read_text().splitlines():
            before, _, after = line.partition(" - ")
            at = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split()[4])
            kinds[Path(at)] = after.split()[0]
    except OSError:
        return "unknown"
    return next((kinds[above] for above in (place, *place.parents) if above in kinds), "unknown")


def _versions(lock: Path) -> Iterator[Finding]:
    """Against the versions that this was tested with."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever got this far without pip
        yield _wrong("versions", f"Python {sys.version.split()[0]}: take 3.11 or newer")
    pinned: dict[str, set[str]] = {}  # several where Pythons differ; none where a wheel was installed
    for name, pin in re.findall(r"^([\w.-]+)==([\w.]+)", lock.read_text() if lock.exists() else "", re.M):
        pinned.setdefault(name, set()).add(pin)
    have = {name: _installed(name) for name in pinned}
    other = [
        f"{name} {have[name]} (tested: {' or '.join(sorted(pins))})"
        for name, pins in pinned.items()
        if have[name] and have[name] not in pins
    ]
    missing = [name for name in _MAIN if _installed(name) is None]
    if other or missing:
        told = ", ".join([*other, *(f"{name} is missing" for name in missing)])
        yield _wrong(
            "versions", f"{told}: make setup, or pip install --require-hashes --no-deps -r requirements.lock"
        )
    else:
        told = ", ".join(f"{name} {_installed(name)}" for name in _MAIN)
        yield _well("versions", f"python {sys.version.split()[0]}, {told}")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
