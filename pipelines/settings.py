"""What the operator decides about this program: the one place where its environment is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pipelines.errors import UsageError
from receiver import rawstore

LAKE_SCHEME = "ducklake:postgres:"


class SettingsError(UsageError):
    """A setting that cannot work. Its text is one sentence for the operator and never contains a key."""


@dataclass(frozen=True)
class Settings:
    """`raw`: the object store that receivers ship to, None for the folder in `home`; `warehouse`: how to connect to
    the PostgreSQL database of a lake, None for the files in `home`; `warehouse_files`: where its Parquet files are;
    `snapshot_days`: how long older snapshots of it are kept; `receiver_url`: whom to ask how the receiver does;
    `min_free_bytes`: its floor, None for the default."""

    home: Path = Path("kobra-data")
    raw: str | None = None
    warehouse: str | None = field(default=None, repr=False)
    warehouse_files: str = ""
    snapshot_days: int = 7
    receiver_url: str | None = None
    min_free_bytes: int | None = None
    sample_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """The settings of an environment; what is unset or empty takes its default. Raises SettingsError."""

        def given(name: str) -> str | None:
            return environ.get(name, "").strip() or None

        return cls(
            home=_home(given("KOBRA_HOME") or str(cls.home)),
            raw=_store_url(given("KOBRA_RAW")),
            warehouse=(warehouse := _lake(given("KOBRA_WAREHOUSE"))),
            warehouse_files=_lake_files(given("KOBRA_WAREHOUSE_FILES"), is_needed=warehouse is not None),
            snapshot_days=_whole("KOBRA_SNAPSHOT_DAYS", given("KOBRA_SNAPSHOT_DAYS")) or cls.snapshot_days,
            receiver_url=_url(given("KOBRA_RECEIVER_URL")),
            min_free_bytes=_whole("KOBRA_MIN_FREE_BYTES", given("KOBRA_MIN_FREE_BYTES")),
            sample_key=given("KOBRA_SAMPLE_KEY"),
        )


def _home(text: str) -> Path:
    home = Path(text).expanduser()
    if misread := rawstore.misread_in(home):
        raise SettingsError(
            f"the path of KOBRA_HOME has {misread} in it, which DuckDB, dlt or dbt misread: name another folder"
        )
    return home


def _store_url(text: str | None) -> str | None:
    if text is not None and not rawstore.is_store_url(text):
        raise SettingsError("KOBRA_RAW is not usable: name a bucket as in s3://bucket/prefix, or leave it out")
    return text and text.rstrip("/")


def _lake(text: str | None) -> str | None:
    """How to connect to the database of a lake's catalogue."""
    if text is None:
        return None
    if not text.startswith(LAKE_SCHEME) or not text.removeprefix(LAKE_SCHEME).strip():
        raise SettingsError(
            f"KOBRA_WAREHOUSE is not usable: write it as {LAKE_SCHEME}host=db.internal dbname=lake, or leave it out"
        )
    return text.removeprefix(LAKE_SCHEME).strip()


def _lake_files(text: str | None, *, is_needed: bool) -> str:
    """Where the Parquet files of a lake are, without a slash behind it."""
    if text is None:
        if is_needed:
            raise SettingsError(
                "KOBRA_WAREHOUSE_FILES is not set: say where the lake's files are, as in s3://bucket/lake, or name a "
                "folder that all machines share"
            )
        return ""
    if "://" in text and not rawstore.is_store_url(text):
        raise SettingsError("KOBRA_WAREHOUSE_FILES is not usable: name a bucket as in s3://bucket/lake, or a folder")
    return text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())


def _url(text: str | None) -> str | None:
    """A receiver's address without a path."""
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        is_usable = bool(parts.hostname) and parts.scheme in {"http", "https"} and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.username or parts.path not in {"", "/"} or parts.query:
        raise SettingsError("KOBRA_RECEIVER_URL is not usable: write it as in http://127.0.0.1:8000")
    return f"{parts.scheme}://{parts.netloc}"


def _whole(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise SettingsError(f"{name} is not usable: set it to a whole number.")
    return int(text)
