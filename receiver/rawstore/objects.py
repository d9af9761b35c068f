"""An object store that holds closed segments, compressed, under the names that they have in a folder:
`received_date=2026-03-01/<segment>.jsonl.zst`. An object is created, or replaced by whoever knows its state."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from receiver.rawstore.segments import COMPRESSED, PARTITION

is_store_url = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.=-]+)*/?", re.ASCII).fullmatch
"""Whether a text names a bucket and, behind it, where in it: s3://bucket/prefix."""

_is_segment = re.compile(rf"{PARTITION}\d{{4}}-\d\d-\d\d/[^/]+{re.escape(COMPRESSED)}").fullmatch
_status = re.compile(r"status code: (\d{3})").search
_PATIENCE = timedelta(minutes=2)  # for a whole request: a full segment over a slow line takes that long
_RETRIES = 2


class StoreError(OSError):
    """The object store cannot be used now. Its text says why, and holds no key."""


class Stored(NamedTuple):
    """An object in one of its states: where it stands, the tag (`ETag`) of its content, and its size as listed."""

    place: str
    tag: str | None
    size: int = 0


class ObjectStore:
    """The part of a bucket that a URL such as s3://bucket/prefix names. Its client reads the credentials, the region
    and another address than Amazon's from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and so on) or from
    the machine's role. Every method raises StoreError."""

    def __init__(self, url: str) -> None:
        try:
            import obstore  # noqa: PLC0415 - whoever has no object store needs no client
            from obstore.store import S3Store  # noqa: PLC0415
        except ModuleNotFoundError:
            raise StoreError(f"{url} cannot be used without its client: install kobra-visits[scale]") from None
        self.url = url
        self._client = obstore
        with self._told():
            self._store = S3Store.from_url(
                url,
                client_options={"timeout": _PATIENCE, "allow_http": True},  # where the address says http
                retry_config={"max_retries": _RETRIES, "retry_timeout": _PATIENCE},
            )

    def segments(self) -> Iterator[Stored]:
        """All segments, in the order of their places."""
        with self._told():
            for page in self._client.list(self._store):
                for found in page:
                    if _is_segment(found["path"]):
                        yield Stored(found["path"], found["e_tag"], found["size"])

    def create(self, place: str, content: bytes) -> Stored | None:
        """Put an object where none is; None when there is one."""
        with self._told():
            try:
                put = self._client.put(self._store, place, content, mode="create", use_multipart=False)
            except self._client.exceptions.AlreadyExistsError:
                return None
            return Stored(place, put["e_tag"])

    def replace(self, stored: Stored, content: bytes) -> Stored | None:
        """Put another content in the place of an object; None when it is not what it was any more."""
        with self._told():
            try:
                put = self._client.put(
                    self._store, stored.place, content, mode={"e_tag": stored.tag}, use_multipart=False
                )
            except (self._client.exceptions.PreconditionError, FileNotFoundError):
                return None
            return Stored(stored.place, put["e_tag"])

    def content(self, stored: Stored) -> bytes | None:
        """What an object holds; None when it is not what it was any more."""
        with self._told():
            try:
                return bytes(self._client.get(self._store, stored.place, options={"if_match": stored.tag}).bytes())
            except (self._client.exceptions.PreconditionError, FileNotFoundError):
                return None

    def note(self, name: str) -> bytes | None:
        """What is noted beside the segments under a name; None when nothing is."""
        with self._told():
            try:
                return bytes(self._client.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

    def put_note(self, name: str, content: bytes) -> None:
        """Note something, in the place of what was noted under that name."""
        with self._told():
            self._client.put(self._store, name, content, use_multipart=False)

    def remove(self, place: str) -> None:
        """Remove an object, if it is there."""
        with self._told():
            try:
                self._client.delete(self._store, place)
            except FileNotFoundError:
                return

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say what is wrong in words of ours: the client's texts go on for pages."""
        exceptions = self._client.exceptions
        try:
            yield
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
            raise StoreError(f"{self.url} refuses the credentials: check them, and what they permit") from None
        except (FileNotFoundError, exceptions.BaseError) as why:
            answered = _status(str(why))
            if answered and answered[1] == "404":
                raise StoreError(f"{self.url} is not there: create the bucket, or correct KOBRA_RAW") from None
            fault = f"answers with status {answered[1]}" if answered else "cannot be reached"
            raise StoreError(f"{self.url} {fault}: what is to go there waits, and nothing is lost") from None
