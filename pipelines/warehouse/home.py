"""KOBRA_HOME: where everything lives."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.warehouse.lake import Lake
from receiver import rawstore

# What stands in the warehouse's folder only while a run is under way; a name may have more behind it.
LOADING, PUBLISHING, REWRITING, DAMAGED = "loading-", ".publishing.duckdb", ".rewriting.duckdb", "damaged"
TEMPORARY = (f"{LOADING}*", f"{PUBLISHING}*", f"{REWRITING}*", f"{DAMAGED}*", "taken.new")


@dataclass(frozen=True)
class Home:
    """The folders and files under KOBRA_HOME. People open `published`; only the pipeline opens `working`.
    `store`: the object store of which `raw` is a copy, as a URL; None where `raw` is all there is.
    `lake`: the warehouse that takes the place of both files; None where there is none."""

    path: Path
    store: str | None = None
    lake: Lake | None = None

    @property
    def raw(self) -> Path:
        return self.path / "raw"

    @property
    def mappings(self) -> Path:
        return self.path / "mappings"

    @property
    def inputs(self) -> Path:
        return self.path / "inputs"

    @property
    def exports(self) -> Path:
        return self.path / "exports"

    @property
    def erasure(self) -> Path:
        return self.path / "erasure"

    @property
    def warehouse(self) -> Path:
        return self.path / "warehouse"

    @property
    def working(self) -> Path:
        return self.warehouse / "working.duckdb"

    @property
    def published(self) -> Path:
        return self.warehouse / "analytics.duckdb"

    @property
    def published_before(self) -> Path:
        """What earlier releases published; it goes when `published` is there."""
        return self.warehouse / "kobra.duckdb"

    @property
    def id_file(self) -> Path:
        """By which a lake knows the home that keeps the marks of erased persons."""
        return self.path / "home-id"

    @property
    def extensions(self) -> Path:
        """Where DuckDB finds the extensions that a lake needs."""
        return self.warehouse / ".extensions"

    @property
    def last_fault(self) -> Path:
        """Why the last run failed, in a sentence; not there when it did not."""
        return self.warehouse / "last-fault"

    def make_warehouse(self) -> None:
        """Make the folder of the warehouse, where it is missing, for its owner alone."""
        rawstore.make_folder(self.warehouse)


def wal(database: Path) -> Path:
    """Where DuckDB keeps what is not in a database file yet."""
    return database.with_suffix(".duckdb.wal")
