"""The published file, to be read and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import quoting
from pipelines.errors import UsageError
from pipelines.warehouse import damage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_WRITING_MEMORY_LIMIT = "1GB"


class NothingPublishedError(UsageError):
    """There is no published file yet."""


def must_exist(published: Path) -> None:
    """Raise NothingPublishedError where there is no published file yet."""
    if not published.exists():
        raise NothingPublishedError("nothing is published yet: run `kobra run` first")


@contextmanager
def _telling_damage(published: Path) -> Iterator[None]:
    import duckdb  # noqa: PLC0415

    try:
        yield
    except duckdb.Error as why:
        raise damage.mended(why, published) from why


@contextmanager
def attached(published: Path, writing_to: Path | None = None) -> Iterator["DuckDBPyConnection"]:
    """The file as `w`, in a connection that opens no other file, except in the folder `writing_to`: what does not fit
    into memory goes there as well. Raises NothingPublishedError, DamagedError, HeldError.
    """
    import duckdb  # noqa: PLC0415 - not needed to say how a command is used

    must_exist(published)
    with _telling_damage(published), duckdb.connect() as connection:
        connection.execute(f"attach {quoting.literal(str(published))} as w (read_only); set timezone = 'UTC'")
        if writing_to is not None:
            spill, folder = quoting.literal(f"{writing_to}/.spill"), quoting.literal(f"{writing_to}/")
            connection.execute(f"set memory_limit = '{_WRITING_MEMORY_LIMIT}'; set temp_directory = {spill}")
            connection.execute(f"set allowed_directories = [{folder}]")
        connection.execute("set enable_external_access = false")
        yield connection
