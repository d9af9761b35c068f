"""A home's copy of an object store, in `raw/` like any raw store: what receivers shipped is fetched before it is
loaded, and what is erased, put together or removed here is then changed there.

    KOBRA_HOME/raw/.objects.json    which objects this home has had, their tags, and its files as they were then
    erased                          beside the objects: a text that changes whenever this home has erased from them

One home loads from a store. An object that somebody else has changed is never overwritten: it is fetched again.
"""

import json
import logging
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from pipelines.errors import FaultError
from pipelines.warehouse.home import Home
from receiver import rawstore
from receiver.rawstore import Stored

log = logging.getLogger(__name__)

_NOTE, _ERASED = ".objects.json", "erased"
_AT_ONCE, _NOTED_TOGETHER = 8, 1_000  # objects that are fetched beside each other, and before that is noted


class UnreachableError(FaultError):
    """The object store cannot be used now."""


def erased_from(url: str) -> str | None:
    """A text that changes whenever persons were erased from an object store; None where nobody was. Raises
    UnreachableError."""
    with telling_unreachable():
        noted = rawstore.ObjectStore(url).note(_ERASED)
    return noted.decode() if noted else None


class _Had(NamedTuple):
    """An object as this home has it: its tag, and size, time of change and inode of the file."""

    tag: str | None
    file: tuple[int, int, int]


class Mirror:
    """The copy of the object store of a home that has one. Hold the lock of the warehouse. Every method raises
    UnreachableError."""

    def __init__(self, home: Home, url: str) -> None:
        self._raw = home.raw
        self._note = home.raw / _NOTE
        with telling_unreachable():
            self._store = rawstore.ObjectStore(url)

    def is_current(self) -> bool:
        """Whether this home has all that is in the store. Needs no lock."""
        had = self._read()
        with telling_unreachable():
            return all(_is_had(stored, had) for stored in self._store.segments())

    def pull(self) -> None:
        """Fetch what is new or was changed by others. Where that fails, what was fetched stays."""
        had = self._read()
        with telling_unreachable():
            missing = [stored for stored in self._store.segments() if not _is_had(stored, had)]
            for start in range(0, len(missing), _NOTED_TOGETHER):
                self._fetch_all(missing[start : start + _NOTED_TOGETHER], had)

    def _fetch_all(self, missing: list[Stored], had: dict[str, _Had]) -> None:
        """Fetch some objects, and note all that came."""
        with ThreadPoolExecutor(_AT_ONCE) as beside:
            fetched = zip(missing, beside.map(self._fetch, missing), strict=True)
            try:
                had.update((stored.place, _Had(stored.tag, file)) for stored, file in fetched if file)
            finally:
                self._write(had)

    def _fetch(self, stored: Stored) -> tuple[int, int, int] | None:
        """Put an object into its place; None when it has changed, or went, since it was listed."""
        content = self._store.content(stored)
        if content is None:
            return None
        path = self._raw / stored.place
        rawstore.make_folder(path.parent)
        rawstore.put(path, content)
        return _file(path)

    def push(self, removed: Collection[date] = (), erased: str | None = None) -> None:
        """Put there what is new here, or was changed; remove what was put together, and days that were `removed`.
        Then tell others that something was erased: where `erased`, a digest of the marks of whom, is another one than
        before, or any object was to be changed."""
        had = self._read()
        before = dict(had)
        changes = False
        with telling_unreachable():
            for path in rawstore.closed(self._raw).values():
                if rawstore.received_date(path) not in removed:
                    changes |= self._push(path, had)
            for place in [each for each in had if _day(each) in removed]:
                self._store.remove(place)
                del had[place]
            if erased and (changes or not (self._store.note(_ERASED) or b"").startswith(erased.encode())):
                self._store.put_note(_ERASED, f"{erased} {uuid4().hex}".encode())
        if had != before:
            self._write(had)

    def _push(self, path: Path, had: dict[str, _Had]) -> bool:
        """Put one segment there; whether its object was to be changed."""
        place, file = rawstore.place_of(path), _file(path)
        known = had.get(place)
        is_changed = known is not None and known.file != file
        if known is None:
            stored = self._store.create(place, rawstore.packed(path))  # None: it was shipped, and will be fetched
        elif is_changed:
            stored = self._store.replace(Stored(place, known.tag), rawstore.packed(path))
            if stored is None:
                log.warning("%s was changed by somebody else meanwhile: the next run fetches it again", place)
                del had[place]
        else:
            stored = None
        if stored:
            had[place] = _Had(stored.tag, file)
        if place in had:
            for part in rawstore.parts_of(path):
                if had.pop(gone := rawstore.place_of(path.with_name(part.name)), None):
                    self._store.remove(gone)
        return is_changed

    def missing(self) -> list[str]:
        """Objects that this home has had and that are not in the store any more."""
        had = self._read()
        with telling_unreachable():
            return sorted(had.keys() - {stored.place for stored in self._store.segments()})

    def _read(self) -> dict[str, _Had]:
        with suppress(FileNotFoundError):
            noted = json.loads(self._note.read_text())
            return {place: _Had(tag, tuple(file)) for place, (tag, file) in noted.items()}
        return {}

    def _write(self, had: dict[str, _Had]) -> None:
        rawstore.make_folder(self._raw)
        rawstore.put(self._note, json.dumps(had))


def _is_had(stored: Stored, had: dict[str, _Had]) -> bool:
    return stored.place in had and had[stored.place].tag == stored.tag


def _file(path: Path) -> tuple[int, int, int]:
    now = path.stat()
    return now.st_size, now.st_mtime_ns, now.st_ino


def _day(place: str) -> date:
    return rawstore.received_date(Path(place))


@contextmanager
def telling_unreachable() -> Iterator[None]:
    """Raise UnreachableError for a StoreError."""
    try:
        yield
    except rawstore.StoreError as why:
        raise UnreachableError(str(why)) from why
