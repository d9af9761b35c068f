"""All of it or nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@contextmanager
def whole(connection: "DuckDBPyConnection") -> Iterator[None]:
    """What is done within is committed together; when anything goes wrong, nothing of it was done."""
    connection.execute("begin")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise
