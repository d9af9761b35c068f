"""Where Spark's tables stand: a folder or an object store that the driver and every executor reach.

landed/<table>/_dlt_load_id=<load>/part-0.parquet   what the loads appended
landed/_dlt_loads/<run>.parquet                     which of them completed: rows of others count for nobody
runs/<run>/<schema>/<table>/…                       what one run built; nobody reads it before it is published
published.json                                      which run people read: replaced whole, and last
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pipelines.errors import UsageError
from receiver import rawstore

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from pyarrow.fs import FileSystem

_PUBLISHED = "published.json"


class PlaceError(UsageError):
    """The place of the tables cannot be used. Its text says why."""


@dataclass(frozen=True)
class Place:
    """A folder, or a URL such as s3a://bucket/kobra, under which everything stands."""

    url: str

    def of(self, *parts: str) -> str:
        """The address of a part, as Spark takes it."""
        return "/".join((self.url, *parts))

    def table(self, run: str, schema: str, table: str) -> str:
        """The address of a table that a run made."""
        return self.of("runs", run, schema, table)

    def published(self) -> dict[str, Any] | None:
        """What was noted of the run that people read; None where none was published yet."""
        return self.read(_PUBLISHED)

    def publish(self, note: dict[str, Any]) -> None:
        """Have people read another run from now on."""
        with self.written(_PUBLISHED) as stream:
            stream.write(json.dumps(note, indent=2).encode())

    def read(self, *parts: str) -> dict[str, Any] | None:
        """What a note says; None where there is none. Raises PlaceError."""
        from pyarrow.fs import FileType  # noqa: PLC0415

        files, path = self._files(*parts)
        if files.get_file_info(path).type == FileType.NotFound:
            return None
        with files.open_input_stream(path) as stream:
            content = stream.readall()
        try:
            note: dict[str, Any] = json.loads(content)
        except ValueError as why:
            raise PlaceError(
                f"{self.of(*parts)} is damaged: delete it, and `kobra spark run` writes it again"
            ) from why
        return note

    @contextmanager
    def written(self, *parts: str) -> Iterator[Any]:
        """A stream to a file that is there, whole, once all is written, in the place of one of that name."""
        from pyarrow.fs import LocalFileSystem  # noqa: PLC0415

        files, path = self._files(*parts)
        folder, _, name = path.rpartition("/")
        files.create_dir(folder)
        if isinstance(files, LocalFileSystem):
            aside = f"{folder}/.{name}.{uuid4().hex}"  # Spark reads no file whose name begins with a dot
            with Path(aside).open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            Path(aside).replace(path)
            rawstore.sync_folder(Path(folder))
            return
        # An object is there once its stream is closed, even where an error closes it.
        with TemporaryFile() as whole:
            yield whole
            whole.seek(0)
            with files.open_output_stream(path) as stream:
                shutil.copyfileobj(whole, stream)

    def write_table(self, table: "pa.Table", *parts: str) -> None:
        """Write a small table as one file."""
        import pyarrow.parquet as pq  # noqa: PLC0415

        with self.written(*parts) as stream:
            pq.write_table(table, stream)

    def read_table(self, *parts: str) -> "pa.Table":
        """A small table, whatever files it is in."""
        import pyarrow.parquet as pq  # noqa: PLC0415

        files, path = self._files(*parts)
        return pq.read_table(path, filesystem=files)

    def names(self, *parts: str) -> list[str]:
        """What stands in a folder, in order, but what is still being written; nothing where there is none."""
        from pyarrow.fs import FileSelector  # noqa: PLC0415

        files, path = self._files(*parts)
        found = files.get_file_info(FileSelector(path, allow_not_found=True))
        return sorted(each.base_name for each in found if not each.base_name.startswith("."))

    def remove(self, *parts: str) -> None:
        """Remove a folder and all in it, where it is there."""
        files, path = self._files(*parts)
        files.delete_dir_contents(path, missing_dir_ok=True)
        if parts[-1] in self.names(*parts[:-1]):
            files.delete_dir(path)

    def let_read(self, connection: "DuckDBPyConnection") -> None:
        """Have DuckDB reach these files as Arrow does. Raises PlaceError where neither a folder nor S3 has them."""
        from fsspec.implementations.arrow import ArrowFSWrapper  # noqa: PLC0415

        scheme, is_url, _ = self.url.partition("://")
        if is_url:
            if scheme not in ("s3", "s3a", "s3n"):
                raise PlaceError(
                    f"{self.url} cannot be read here: copy its tables to a folder or to S3, or use Spark"
                )
            files, _ = self._files()
            connection.register_filesystem(type("Files", (ArrowFSWrapper,), {"protocol": scheme})(files))

    def _files(self, *parts: str) -> "tuple[FileSystem, str]":
        from pyarrow.fs import FileSystem  # noqa: PLC0415

        url = self.of(*parts)
        for theirs in ("s3a://", "s3n://"):  # as Hadoop calls it
            url = f"s3://{url.removeprefix(theirs)}" if url.startswith(theirs) else url
        try:
            files, path = FileSystem.from_uri(url)
        except (OSError, ValueError) as why:
            raise PlaceError(f"{self.url} is no place for tables: name a folder, or a URL as in s3a://…") from why
        return files, path


def place(url: str) -> Place:
    """The place that a folder or a URL names."""
    url = url.removeprefix("file://")
    return Place(url.rstrip("/") if "://" in url else os.path.abspath(url))  # noqa: PTH100 - Spark takes text
