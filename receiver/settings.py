"""What the operator decides: the one place where the environment is read, checked once, then frozen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from receiver import rawstore

MIB = 1 << 20


class SettingsError(ValueError):
    """A setting that cannot work. Its text is one sentence for the operator and never contains a key."""


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured; sizes in bytes, times in seconds."""

    home: Path = Path("kobra-data")
    api_keys: str = field(default="", repr=False)
    api_keys_file: Path | None = None
    max_body_bytes: int = MIB
    max_in_flight_bytes: int = 64 * MIB
    request_timeout_s: float = 10.0
    segment_max_bytes: int = 64 * MIB
    segment_max_age_s: float = 60.0
    min_free_bytes: int | None = None
    max_connections: int = 2048
    api_docs: bool = False
    raw: str | None = None
    raw_local_days: int = 7

    @property
    def raw_folder(self) -> Path:
        """Where deliveries are landed; with an object store in `raw`, what is closed there is shipped to it."""
        return self.home / "raw"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """The settings of an environment; what is unset or empty takes its default. Raises SettingsError."""
        given = {name: environ.get(_variable(name), "").strip() for name in _READERS}
        settings = cls(**{name: _READERS[name](_variable(name), text) for name, text in given.items() if text})
        if settings.max_in_flight_bytes < settings.max_body_bytes:
            raise SettingsError(
                "KOBRA_MAX_IN_FLIGHT_BYTES is smaller than KOBRA_MAX_BODY_BYTES: "
                "raise it, or no body of the permitted size could ever come in."
            )
        return settings


def _variable(name: str) -> str:
    return f"KOBRA_{name.upper()}"


def _whole(low: int, high: int) -> Callable[[str, str], int]:
    def read(variable: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text[:20]) <= high):
            raise SettingsError(f"{variable} is not usable: set it to a whole number from {low} to {high}.")
        return int(text)

    return read


def _seconds(low: float, high: float) -> Callable[[str, str], float]:
    def read(variable: str, text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not low <= seconds <= high:
            raise SettingsError(f"{variable} is not usable: set it to a number of seconds from {low:g} to {high:g}.")
        return seconds

    return read


def _flag(variable: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise SettingsError(f"{variable} is not usable: set it to 1 or 0.")
    return text == "1"


def _home(variable: str, text: str) -> Path:
    home = _path(variable, text)
    if misread := rawstore.misread_in(home):
        raise SettingsError(
            f"The path of {variable} has {misread} in it, which DuckDB, dlt or dbt misread: name another folder."
        )
    return home


def _path(_variable: str, text: str) -> Path:
    return Path(text).expanduser()


def _store_url(variable: str, text: str) -> str:
    if not rawstore.is_store_url(text):
        raise SettingsError(f"{variable} is not usable: name a bucket as in s3://bucket/prefix, or leave it out.")
    return text.rstrip("/")


def _text(_variable: str, text: str) -> str:
    return text


_READERS: dict[str, Callable[[str, str], Any]] = {
    "home": _home,
    "api_keys": _text,
    "api_keys_file": _path,
    "max_body_bytes": _whole(1, 64 * MIB),
    "max_in_flight_bytes": _whole(1, 1 << 40),
    "request_timeout_s": _seconds(0.1, 3600),
    "segment_max_bytes": _whole(1, 64 * MIB),
    "segment_max_age_s": _seconds(0.05, 86_400),
    "min_free_bytes": _whole(0, 1 << 60),
    "max_connections": _whole(1, 1_000_000),
    "api_docs": _flag,
    "raw": _store_url,
    "raw_local_days": _whole(0, 36_500),
}
