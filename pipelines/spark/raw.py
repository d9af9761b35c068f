"""The raw store as executors read it: which segments wait, and each one's file, from a folder or an object store."""

from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pipelines.errors import FaultError, UsageError
from pipelines.load import segments
from pipelines.load.mirror import telling_unreachable
from receiver import rawstore
from receiver.rawstore import Key, Stored

_COMPRESSED = 8  # times smaller


class ChangedError(FaultError):
    """A segment is not any more what it was when it was listed."""


class LostError(UsageError):
    """The raw store has less than is loaded."""


class Waiting(NamedTuple):
    """A segment to load: its identity, where it stands in the raw store, in which state, and its unpacked size."""

    segment: str
    place: str
    tag: str | None
    size: int


def in_folder(raw: Path) -> list[Waiting]:
    """The closed segments of a folder, in the order of their days and creation."""
    return [
        Waiting(segment, path.relative_to(raw).as_posix(), None, _unpacked(path.name, path.stat().st_size))
        for segment, path in segments.look(raw).closed.items()
    ]


def in_store(url: str) -> list[Waiting]:
    """The same of an object store. Raises UnreachableError."""
    with telling_unreachable():
        stored = {Path(each.place): each for each in rawstore.ObjectStore(url).segments()}
    return [
        Waiting(segment, stored[path].place, stored[path].tag, _unpacked(path.name, stored[path].size))
        for segment, path in rawstore.labelled(stored).items()
    ]


def not_taken(raw: str, listed: Iterable[Waiting], taken: Container[Key]) -> list[Waiting]:
    """Those that are not among the segments taken, nor put together of such. `raw`: the folder or the URL. Raises
    ChangedError, UnreachableError."""
    with telling_unreachable():
        return [each for each in listed if not _is_among(raw, each, taken)]


def _is_among(raw: str, listed: Waiting, taken: Container[Key]) -> bool:
    path = Path(listed.place)
    if rawstore.key(path) in taken or not rawstore.is_compacted(path):
        return rawstore.key(path) in taken
    # Of what it was put together, it says itself.
    return any(rawstore.is_among(file, taken) for _, file in files(raw, [listed]))


def _unpacked(name: str, size: int) -> int:
    return size * (_COMPRESSED if name.endswith(rawstore.COMPRESSED) else 1)


def check_all_there(raw: str, there: Iterable[Waiting], taken: Iterable[Key]) -> None:
    """Raise LostError when segments that were taken are not in the raw store any more, nor part of others."""
    there = list(there)
    known = {rawstore.key(Path(each.place)) for each in there}
    compacted = [each for each in there if rawstore.is_compacted(Path(each.place))]
    for _, path in files(raw, compacted):
        known |= {Key(part.name, rawstore.received_date(path)) for part in rawstore.parts_of(path)}
    if gone := set(taken) - known:
        raise LostError(
            f"all is to be loaded anew, and {len(gone)} raw segment(s) of what is loaded are gone: put them back from"
            " a backup, or say --accept-loss, and people read less"
        )


def files(raw: str, waiting: Iterable[Waiting]) -> Iterator[tuple[str, Path]]:
    """Each segment with its file, one after the other: that of an object is gone when the next is asked for.
    `raw`: the folder or the URL. Raises ChangedError, StoreError."""
    if not rawstore.is_store_url(raw):
        yield from ((each.segment, Path(raw) / each.place) for each in waiting)
        return
    store = rawstore.ObjectStore(raw)
    for each in waiting:
        with TemporaryDirectory() as folder:
            yield each.segment, _fetched(store, Stored(each.place, each.tag), Path(folder))


def _fetched(store: rawstore.ObjectStore, stored: Stored, folder: Path) -> Path:
    content = store.content(stored)
    if content is None:
        raise ChangedError(f"{stored.place} was changed or removed while it was about to be read: run this again")
    path = folder / stored.place
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path
