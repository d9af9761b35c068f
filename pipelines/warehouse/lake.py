"""A warehouse for many: DuckLake. Its catalogue is a PostgreSQL database, its tables are Parquet files on an object
store or in a folder that all machines share, and what readers see is a snapshot that is noted as published."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

from pipelines import quoting
from pipelines.errors import FaultError, UsageError
from pipelines.quoting import literal
from pipelines.settings import LAKE_SCHEME, Settings
from pipelines.warehouse import transaction

if TYPE_CHECKING:
    import psycopg
    from duckdb import DuckDBPyConnection

RETRIES = 100  # of a commit, while other machines commit as well
_EXTENSIONS = ("httpfs", "aws", "postgres_scanner", "ducklake")
_PUBLISHED, _TENDED = "kobra: published", "kobra: tended"
_PATIENCE_S = 30
_NOT_INSTALLED = "KOBRA_WAREHOUSE names a lake, for which there is more to install: kobra-visits[scale]"
_is_plain = re.compile(r"[a-z_]\w*", re.ASCII).fullmatch


class LakeError(FaultError):
    """The lake cannot be used now. Its text says why, and holds no password."""


class NotInstalledError(UsageError):
    """What it takes to use a lake is not installed."""


class Published(NamedTuple):
    """The snapshot that readers see, and since when."""

    snapshot: int
    at: datetime


@dataclass(frozen=True)
class Lake:
    """Where a lake is. `catalog`: how to connect to its PostgreSQL database, as libpq takes it; `files`: the folder,
    or the URL such as s3://bucket/prefix, of its Parquet files; `snapshot_days`: how long an older snapshot can be
    read.

    Everything raises LakeError and NotInstalledError.
    """

    catalog: str = field(repr=False)
    files: str
    snapshot_days: int = 7

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The one that settings name; None where the tables are in a file."""
        if settings.warehouse is None:
            return None
        return cls(settings.warehouse, settings.warehouse_files, settings.snapshot_days)

    # ------------------------------------------------------------ how it is opened

    @property
    def path(self) -> str:
        """By which DuckDB opens the lake."""
        return f"{LAKE_SCHEME}{_url(self._parts())}"

    @property
    def name(self) -> str:
        """What DuckDB and dbt call a lake that they open by its path."""
        return str(self._parts()["dbname"])

    def _parts(self) -> dict[str, Any]:
        psycopg = _psycopg()
        try:
            parts = dict(psycopg.conninfo.conninfo_to_dict(self.catalog))
        except psycopg.ProgrammingError:
            raise LakeError("KOBRA_WAREHOUSE does not say how to connect as libpq takes it") from None
        if not _is_plain(str(parts.get("dbname", ""))):
            raise LakeError(
                "KOBRA_WAREHOUSE has to name a database of small letters, digits and '_', as in dbname=lake"
            )
        return parts

    def secrets(self) -> list[dict[str, str]]:
        """How DuckDB finds the credentials of an object store, as options of a secret: in the environment or by the
        machine's role, where the client of the raw store finds them, too."""
        if not self.files.startswith("s3://"):
            return []
        options = {"type": "s3", "provider": "credential_chain", "scope": self.files}
        if address := os.environ.get("AWS_ENDPOINT_URL"):
            parts = urlsplit(address)
            is_safe = str(parts.scheme == "https").lower()
            options |= {"endpoint": parts.netloc, "url_style": "path", "use_ssl": is_safe}
        if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
            options |= {"region": region}
        return [options]

    @contextmanager
    def working(self, config: dict[str, Any], extensions: Path) -> Iterator["DuckDBPyConnection"]:
        """The newest state, to be written to. `config`: of DuckDB, which looks for extensions in that folder."""
        import duckdb  # noqa: PLC0415 - a run with nothing to do never gets here

        _link(extensions)
        self._make()
        with _told():
            connection = duckdb.connect(self.path, config=config)
        with connection:
            connection.execute(f"set ducklake_max_retry_count = {RETRIES}")
            for secret in self.secrets():
                connection.execute(_secret(secret))
            yield connection

    def _make(self) -> None:
        """Make the lake where there is none, and see that its files are where they were."""
        with self._attached("made", data_path=self.files) as connection:
            options = "select count(*) from made.options() where option_name = 'data_inlining_row_limit'"
            if connection.execute(options).fetchone() != (0,):
                return
            # What the catalogue itself keeps would outlive an erasure: rows, and what PostgreSQL samples of the least
            # and greatest values of columns.
            with self.postgres() as session:
                for table, column in session.execute(_VALUES).fetchall():
                    session.execute(f"alter table {table} alter column {column} set statistics 0".encode())
            connection.execute("call made.set_option('data_inlining_row_limit', 0)")

    def read(self, snapshot: int, alias: str) -> "DuckDBPyConnection":
        """One snapshot, read-only, under an alias. Where access to files is shut off, its own stay open."""
        connection = self._attached(alias, read_only="true", snapshot_version=str(snapshot))
        connection.execute(f"set allowed_directories = [{literal(f'{self.files}/')}]")
        return connection

    def statements(self, snapshot: int) -> Iterator[str]:
        """By which anybody attaches a snapshot, read-only. Passwords are left to whoever uses them."""
        yield from map(_secret, self.secrets())
        path = f"{LAKE_SCHEME}{_url({name: value for name, value in self._parts().items() if name != 'password'})}"
        yield _attach(path, self.name, read_only="true", snapshot_version=str(snapshot))

    def _attached(self, alias: str, **options: str) -> "DuckDBPyConnection":
        import duckdb  # noqa: PLC0415

        connection = duckdb.connect()
        with _told():
            for extension in _EXTENSIONS:
                connection.execute(f"load {literal(str(_file_of(extension)))}")
            for statement in (*map(_secret, self.secrets()), _attach(self.path, alias, **options)):
                connection.execute(statement)
        return connection

    @contextmanager
    def postgres(self) -> Iterator["psycopg.Connection"]:
        """A session in the database of the catalogue, whose statements are transactions of their own."""
        psycopg = _psycopg()
        try:
            connection = psycopg.connect(**self._parts(), autocommit=True, connect_timeout=_PATIENCE_S)
        except psycopg.Error:
            raise LakeError(
                "the lake's PostgreSQL does not answer as KOBRA_WAREHOUSE says: try psql with it"
            ) from None
        try:
            with connection:
                yield connection
        except psycopg.Error as why:
            raise LakeError(
                f"the lake's PostgreSQL refused a statement or ended the session ({type(why).__name__}): see its "
                "log, and what the user in KOBRA_WAREHOUSE may do"
            ) from None

    def is_begun(self) -> bool:
        """Whether anything was ever loaded, or a load begun."""
        with self.postgres() as session:
            return _is_made(session) and session.execute(_BEGUN).fetchone() == (True,)

    # ------------------------------------------------------------ what readers see

    def published(self) -> Published | None:
        """The newest snapshot that was published; None before the first."""
        with self.postgres() as session:
            found = session.execute(_NEWEST, [_PUBLISHED]).fetchone() if _is_made(session) else None
        return Published(*found) if found else None

    def publish(self, connection: "DuckDBPyConnection") -> None:
        """Have readers see everything as it is now."""
        self._note(connection, _PUBLISHED)

    def _note(self, connection: "DuckDBPyConnection", message: str) -> None:
        """Commit with a message. A commit has to change something: a row is written again as it was."""
        with transaction.whole(connection):
            connection.execute("update meta.build set as_of = as_of")
            connection.execute(f"call {self.name}.set_commit_message('kobra', {literal(message)})")

    # ------------------------------------------------------------ what becomes of older snapshots

    def tend(self, connection: "DuckDBPyConnection") -> None:
        """Once a day: let go of snapshots that are older than they are kept, and of their files; merge small files.
        Nobody else may load or build meanwhile."""
        snapshots = f"{self.name}.snapshots()"
        lately = connection.execute(
            f"select count(*) from {snapshots} where commit_message = ? and snapshot_time > now() - interval 1 day",
            [_TENDED],
        ).fetchone()
        if lately != (0,):
            return
        published = self.published()
        old = connection.execute(
            f"select snapshot_id from {snapshots} where snapshot_time < now() - to_days(?) and snapshot_id <> ?",
            [self.snapshot_days, published.snapshot if published else -1],
        ).fetchall()
        if old:
            versions = ", ".join(str(snapshot) for (snapshot,) in old)
            self._call(connection, "expire_snapshots", f"versions => [{versions}]")
        self._call(connection, "merge_adjacent_files")
        self._call(connection, "rewrite_data_files")
        # A query that is under way may be reading a file that has just been merged into another.
        for clean in ("cleanup_old_files", "delete_orphaned_files"):
            self._call(connection, clean, "older_than => now() - interval 1 day")
        self._note(connection, _TENDED)

    def rewrite(self, connection: "DuckDBPyConnection") -> None:
        """Write every table again: a row that is deleted stays in its file, and the catalogue keeps the least and the
        greatest value that a column ever had."""
        tables = connection.execute(
            "select schema_name, table_name, comment from duckdb_tables() where database_name = current_database()"
        ).fetchall()
        for schema, table, comment in tables:
            place = f"{quoting.name(schema)}.{quoting.name(table)}"
            columns = connection.execute(
                "select column_name, comment from duckdb_columns() where database_name = current_database()"
                " and schema_name = ? and table_name = ? and comment is not null",
                [schema, table],
            ).fetchall()
            with transaction.whole(connection):
                connection.execute(f"create or replace table {place} as from {place}")
                if comment is not None:
                    connection.execute(f"comment on table {place} is {literal(comment)}")
                for column, about in columns:
                    connection.execute(f"comment on column {place}.{quoting.name(column)} is {literal(about)}")

    def purge(self, connection: "DuckDBPyConnection") -> None:
        """Leave nothing of any snapshot but the newest: no file, no row of the catalogue. Nobody else may load or
        build meanwhile."""
        self._call(connection, "expire_snapshots", "older_than => now()")
        self._call(connection, "cleanup_old_files", "cleanup_all => true")
        self._call(connection, "delete_orphaned_files", "cleanup_all => true")
        with self.postgres() as session:  # what is deleted there stays in its files until then
            for (table,) in session.execute(_OF_CATALOGUE).fetchall():
                session.execute(f"vacuum full {table}".encode())

    def _call(self, connection: "DuckDBPyConnection", function: str, *options: str) -> None:
        connection.execute(f"call ducklake_{function}({', '.join([literal(self.name), *options])})")


# The tables of a catalogue are part of DuckLake's specification.
_BEGUN = "select exists (select from ducklake_table where table_name = '_dlt_loads' and end_snapshot is null)"
_NEWEST = """
select snapshot_id, snapshot_time from ducklake_snapshot_changes join ducklake_snapshot using (snapshot_id)
where commit_message = %s order by snapshot_id desc limit 1
"""
_VALUES = """
select format('%I.%I', table_schema, table_name), column_name from information_schema.columns
where starts_with(table_name, 'ducklake_') and column_name in ('min_value', 'max_value', 'extra_stats')
"""
_OF_CATALOGUE = """
select format('%I.%I', schemaname, tablename) from pg_tables where starts_with(tablename, 'ducklake_')
"""

# ---------------------------------------------------------------- statements


def _is_made(session: "psycopg.Connection") -> bool:
    return session.execute("select to_regclass('ducklake_table')").fetchone() != (None,)


def _attach(path: str, alias: str, **options: str) -> str:
    told = ", ".join(f"{option} {literal(value)}" for option, value in options.items())
    return f"attach {literal(path)} as {alias} ({told})"


def _secret(options: dict[str, str]) -> str:
    told = ", ".join(f"{option} {literal(value)}" for option, value in options.items())
    return f"create or replace secret kobra_files ({told})"


def _url(parts: dict[str, Any]) -> str:
    """A connection as libpq takes it, in the form from which DuckDB and dbt take the same name."""
    others = {name: value for name, value in parts.items() if name != "dbname"}
    return f"postgresql:///{parts['dbname']}?{urlencode(others, quote_via=quote)}"


@contextmanager
def _told() -> Iterator[None]:
    import duckdb  # noqa: PLC0415

    try:
        yield
    except duckdb.Error as why:
        raise LakeError(
            f"the lake cannot be opened ({type(why).__name__}): see that PostgreSQL answers as KOBRA_WAREHOUSE says, "
            "that the lake was made with the same KOBRA_WAREHOUSE_FILES, and that there are credentials for both"
        ) from None  # its text may quote a password


# ---------------------------------------------------------------- what is installed


def _link(folder: Path) -> None:
    """Have a folder in which DuckDB finds the extensions by itself."""
    import duckdb  # noqa: PLC0415

    query = "select library_version, (select platform from pragma_platform()) from pragma_version()"
    version, platform = duckdb.execute(query).fetchall()[0]
    for file in map(_file_of, _EXTENSIONS):
        place = folder / version / platform / file.name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # a link to what is not there any more
            place.symlink_to(file)


def _file_of(extension: str) -> Path:
    """An extension comes in a package of its own: nothing is fetched."""
    package = find_spec(f"duckdb_extension_{extension}")
    if package is None or package.origin is None:
        raise NotInstalledError(_NOT_INSTALLED)
    return next(Path(package.origin).parent.rglob("*.duckdb_extension"))


def _psycopg() -> ModuleType:
    try:
        import psycopg  # noqa: PLC0415 - whoever has no lake needs no client
    except ModuleNotFoundError:
        raise NotInstalledError(_NOT_INSTALLED) from None
    return psycopg
