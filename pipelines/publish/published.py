"""What is published, the file or a snapshot of the lake, to be read and nothing else."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import quoting
from pipelines.errors import UsageError
from pipelines.warehouse import damage
from pipelines.warehouse.home import Home
from pipelines.warehouse.lake import Lake

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Opens what is published as `w`, in a connection that opens no other file, except in a folder to write to.
Attach = Callable[[Path | None], AbstractContextManager["DuckDBPyConnection"]]

_WRITING_MEMORY_LIMIT = "1GB"


class NothingPublishedError(UsageError):
    """Nothing is published yet."""

    def __init__(self, command: str = "kobra run") -> None:
        super().__init__(f"nothing is published yet: run `{command}` first")


def published_at(home: Home) -> datetime | None:
    """When what readers see was published; None before the first time. Raises LakeError."""
    if home.lake is None:
        path = home.published
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else None
    published = home.lake.published()
    return published and published.at


def statements(home: Home) -> list[str]:
    """By which a DuckDB anywhere attaches what is published now, read-only. Raises NothingPublishedError."""
    if home.lake is None:
        must_exist(home)
        return [f"attach {quoting.literal(str(home.published.absolute()))} as kobra (read_only)"]
    return [*home.lake.statements(_snapshot(home.lake))]


def must_exist(home: Home) -> None:
    """Raise NothingPublishedError where nothing is published yet."""
    if published_at(home) is None:
        raise NothingPublishedError


@contextmanager
def _telling_damage(published: Path) -> Iterator[None]:
    import duckdb  # noqa: PLC0415

    try:
        yield
    except duckdb.Error as why:
        raise damage.mended(why, published) from why


@contextmanager
def attached(
    home: Home, writing_to: Path | None = None, *, also_earlier: bool = False
) -> Iterator["DuckDBPyConnection"]:
    """What is published as `w`, in a connection that opens no other file, except in the folder `writing_to`: what
    does not fit into memory goes there as well. `also_earlier`: what an earlier release published, where this one has
    not yet. Raises NothingPublishedError, DamagedError, HeldError, LakeError.
    """
    file = home.published_before if also_earlier and not home.published.exists() else home.published
    with _lake(home.lake) if home.lake else _attached_file(file) as connection:
        confine(connection, writing_to)
        yield connection


def confine(connection: "DuckDBPyConnection", writing_to: Path | None) -> None:
    """Shut the connection off from all files but those of databases that it has, of `allowed_directories`, and of a
    folder to write to. Times are in UTC."""
    connection.execute("set timezone = 'UTC'")
    if writing_to is not None:
        spill, folder = quoting.literal(f"{writing_to}/.spill"), quoting.literal(f"{writing_to}/")
        connection.execute(f"set memory_limit = '{_WRITING_MEMORY_LIMIT}'; set temp_directory = {spill}")
        connection.execute(f"set allowed_directories = list_append(current_setting('allowed_directories'), {folder})")
    connection.execute("set enable_external_access = false")


@contextmanager
def _lake(lake: Lake) -> Iterator["DuckDBPyConnection"]:
    with lake.read(_snapshot(lake), "w") as connection:
        yield connection


def _snapshot(lake: Lake) -> int:
    published = lake.published()
    if published is None:
        raise NothingPublishedError
    return published.snapshot


@contextmanager
def _attached_file(published: Path) -> Iterator["DuckDBPyConnection"]:
    import duckdb  # noqa: PLC0415 - not needed to say how a command is used

    if not published.exists():
        raise NothingPublishedError
    with _telling_damage(published), duckdb.connect() as connection:
        connection.execute(f"attach {quoting.literal(str(published))} as w (read_only)")
        yield connection
