"""Tell a database file that is damaged from everything else that may go wrong with it."""

from pathlib import Path

from pipelines.errors import FaultError, UsageError

# What DuckDB says of a file that was cut, or in which bits have changed: its blocks have checksums.
_SIGNS = (
    "Corrupt database file",
    "not a valid DuckDB database file",
    "Could not read enough bytes from file",
    "Failure while replaying WAL file",
    "Serialization Error",
    "Failed to deserialize",
)


class HeldError(UsageError):
    """Another program has a database file open to write."""


class DamagedError(FaultError):
    """A database file is damaged; the text has the command that mends it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is damaged (cut, or changed by something else than kobra): {_REMEDIES[path.stem]}")
        self.path = path


_REMEDIES = {
    "working": "`kobra run` makes it anew from the raw store",
    "analytics": "`kobra publish` puts a copy of the working file in its place",
}


def is_told(why: BaseException | str | None) -> bool:
    """Whether an error, or one that led to it, says that a database file is damaged."""
    if why is None or isinstance(why, str):
        return any(sign in (why or "") for sign in _SIGNS)
    return is_told(str(why)) or is_told(why.__cause__ or why.__context__)


def check(path: Path) -> None:
    """Read every block of a database file. Raises DamagedError, HeldError."""
    import duckdb  # noqa: PLC0415

    from pipelines import quoting  # noqa: PLC0415

    try:
        with duckdb.connect() as connection:
            connection.execute(f"attach {quoting.literal(str(path))} as checked (read_only)")
            tables = connection.execute(
                "select schema_name, table_name from duckdb_tables() where database_name = 'checked'"
            ).fetchall()
            for schema, table in tables:
                place = f"checked.{quoting.name(schema)}.{quoting.name(table)}"
                connection.execute(f"select bit_xor(hash(each)) from {place} as each").fetchall()
    except duckdb.Error as why:
        raise mended(why, path) from why


def mended(why: Exception, path: Path) -> Exception:
    """The error with which a command is to end that reads a database file and met this one."""
    if is_told(why):
        return DamagedError(path)
    if "Could not set lock" in str(why):
        return HeldError(f"{path} is open to write in another program: close it there; `kobra doctor` says in which")
    return why
