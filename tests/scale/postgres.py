"""A real PostgreSQL server in a process of its own, that can be killed and started again."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from s3 import free_port


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, where it is installed."""
    found = shutil.which("postgres")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


class Postgres:
    """A server that keeps its data in a folder. It never runs as root."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.data = folder / "data"
        self.port = free_port()
        self._folder, self._programs = folder, programs
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", self.data, "-A", "trust", "-U", "kobra", "-E", "UTF8", "--no-locale", "--no-sync")
        self.start()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, "-p", str(self.port), "-k", self._folder,
                 "-c", "listen_addresses=127.0.0.1"],
                stdout=log, stderr=log, user=self._user, cwd=self._folder,
            )  # fmt: skip
        for _ in range(240):
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            try:
                psycopg.connect(self.connection("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError((self._folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """As when its machine dies: every process of it at once."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in [self._process.pid, *map(int, children)]:
            os.kill(pid, 9)
        self._process.wait()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def connection(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=kobra dbname={database}"

    def make(self, database: str) -> str:
        """A database, and how to connect to it."""
        with psycopg.connect(self.connection("postgres"), autocommit=True) as session:
            session.execute(f"create database {database}".encode())
        return self.connection(database)

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._programs / program, *arguments], check=True, capture_output=True, user=self._user, cwd=self._folder
        )


@contextmanager
def serving(programs: Path) -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="kobra-postgres-"))  # where another user than root can get to
    server = Postgres(folder, programs)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)
