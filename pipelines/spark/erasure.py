"""Keep erased persons out of Spark's tables: the raw store is swept before it is loaded, and what was loaded before a
person was erased is loaded anew.

    landed/erased.json   of which state of the marks of erased persons (`kobra forget`) schema landed is
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import UsageError
from pipelines.load.mirror import erased_from
from pipelines.privacy import retention
from pipelines.privacy import sweep as sweep_of_raw
from pipelines.privacy.sweep import Erasure
from pipelines.spark.place import Place
from pipelines.warehouse import database
from pipelines.warehouse.home import Home

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from duckdb import DuckDBPyConnection

_NOTE = "erased.json"


class ErasureError(UsageError):
    """Tables on Spark would hold what has to be gone."""


def check(home: Home) -> None:
    """Raise ErasureError where this run could not keep a promise to a person."""
    if retention.read(home).pii_days is not None:
        raise ErasureError(
            "personal data is kept for some days alone (kobra retain --pii-days), and on Spark nothing blanks it"
        )
    if home.store and Erasure(home).marks:
        raise ErasureError(
            "persons were erased here, and only `kobra run` sweeps an object store: run it, then let Spark read this"
            " home's copy, without KOBRA_RAW"
        )


def check_published(home: Home, where: Place) -> None:
    """Raise ErasureError where people read tables of before somebody was erased here."""
    published, known = where.published(), marks(home)
    if published and known and published["marks"] != known:
        raise ErasureError("persons were erased since these tables were made: run `kobra spark run` first")


def sweep(home: Home, where: Place, waiting: Iterable[Path]) -> None:
    """Erase from the raw store what came of erased persons since. Hold the lock."""
    erasure = Erasure(home)
    if not erasure.marks:
        return
    with _file(home) as connection:
        erasure.keep_out(connection, waiting)
        if noted(where) != marks(home):  # other versions of their visits, which the warehouse does not know
            erasure.begin()
            erasure.erase(connection)
            if not database.exists(home):
                erasure.end()


def _file(home: Home) -> "AbstractContextManager[DuckDBPyConnection]":
    """The warehouse, whose rows go as well; an empty database where there is none."""
    import duckdb  # noqa: PLC0415

    return database.working(home) if database.exists(home) else duckdb.connect()


def noted(where: Place) -> str | None:
    """A digest of the marks of whom schema landed does not hold; None where nobody was erased."""
    return (where.read("landed", _NOTE) or {}).get("marks")


def note(where: Place, known: str | None) -> None:
    """Note that schema landed holds nobody of these marks."""
    if known:
        with where.written("landed", _NOTE) as stream:
            stream.write(json.dumps({"marks": known}).encode())


def marks(home: Home) -> str | None:
    """A digest of the marks of erased persons; None where there are none. Of an object store, what the home that
    erases from it tells. Raises UnreachableError."""
    return erased_from(home.store) if home.store else sweep_of_raw.digest(home)
