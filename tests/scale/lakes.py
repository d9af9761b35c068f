"""Homes on a lake of a test's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import duckdb
from built_home import BuiltHome
from kobra_home import KOBRA, environ_of, kobra, settings_of
from postgres import Postgres

from pipelines.warehouse import home
from pipelines.warehouse.lake import Lake

_names = count(1)
_BROKEN = Path(__file__).with_name("broken_lake.py")


class LakeHome(BuiltHome):
    """A home whose tables are on a lake. `reading` opens what is published."""

    def __init__(self, path: Path, lake: Lake, settings: dict[str, str] | None = None) -> None:
        super().__init__(path)
        self.lake = lake
        path.mkdir(exist_ok=True)
        self.files = home.Home(path, (settings or {}).get("KOBRA_RAW"), lake)
        self.settings = (settings or {}) | {
            "KOBRA_WAREHOUSE": f"ducklake:postgres:{lake.catalog}",
            "KOBRA_WAREHOUSE_FILES": lake.files,
            "KOBRA_SNAPSHOT_DAYS": str(lake.snapshot_days),
        }

    def beside(self, path: Path, store: dict[str, str] | None = None) -> "LakeHome":
        """Another machine's home on the same lake, which may load from an object store."""
        return LakeHome(path, self.lake, store)

    def kobra(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return kobra(self.path, *arguments, **self.settings)

    def ran(self, *arguments: str | Path) -> str:
        done = self.kobra(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: str | Path, fault: str | None = None) -> subprocess.Popen[bytes]:
        """The command, begun; with a fault, what must be caught."""
        command = [sys.executable, _BROKEN, fault] if fault else [KOBRA]
        with (self.path / "run.log").open("ab") as log:
            return subprocess.Popen(
                [*command, *arguments], env=environ_of(self.path, self.settings), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def here(self, *arguments: str) -> int:
        with settings_of(self.settings):
            return super().here(*arguments)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        published = self.lake.published()
        assert published is not None
        with self.lake.read(published.snapshot, "w") as connection:
            connection.execute("set timezone = 'UTC'; use w.kobra")
            yield connection

    @contextmanager
    def newest(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The state that is there now, whether it is whole or not, as `w`."""
        with self.lake._attached("w", read_only="true") as connection:
            yield connection


def made(path: Path, server: Postgres, files: str, settings: dict[str, str] | None = None, days: int = 7) -> LakeHome:
    """A home on a new lake."""
    catalog = server.make(f"lake_{os.getpid()}_{next(_names)}")
    return LakeHome(path, Lake(catalog, files, days), settings)
