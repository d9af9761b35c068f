"""The operator's page is followed as written, on folders of a test's own: keys, curl, rotation, backup, restore."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pytest
from conftest import RunningReceiver

from receiver import rawstore

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^## ([^\n]+)\n|^```sh ?([^\n]*)\n(.*?)^```$", PAGE, re.M | re.S)
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("curl", "openssl", "rsync"))), reason="needs curl, openssl and rsync"
)


def blocks(section: str) -> list[str]:
    """The blocks of a section that are marked as tested."""
    found, here = [], ""
    for title, mark, text in BLOCKS:
        here = title or here
        if here == section and mark.startswith("tested"):
            found.append(text)
    return found


class Machine:
    """A machine with folders of a test's own, on which an operator types."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.etc, self.backup = (folder / name for name in ("home", "etc", "backup"))
        self.port = 1  # nobody, until a receiver is there
        for path in (self.home, self.etc, self.backup, folder / "bin"):
            path.mkdir(mode=0o700)
        (self.etc / "kobra.env").write_text(self._here((ROOT / "deploy" / "kobra.env").read_text()))
        wrapper = self._here((ROOT / "deploy" / "kobra").read_text())
        self._command("kobra", wrapper.replace("/opt/kobra-visits/.venv/bin", str(BIN)))
        # Here is neither the user kobra nor the right to become it.
        self._command("id", "#!/bin/sh\necho kobra\n")
        self._command("chown", "#!/bin/sh\n")

    def _command(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def _here(self, text: str) -> str:
        places = {
            "/var/lib/kobra": str(self.home),
            "/etc/kobra": str(self.etc),
            "/mnt/backup": str(self.backup),
            "/root/": f"{self.folder}/",
            "https://visits.example.com": f"http://127.0.0.1:{self.port}",
            "http://127.0.0.1:8000": f"http://127.0.0.1:{self.port}",
        }
        for there, here in places.items():
            text = text.replace(there, here)
        return text

    def type(self, text: str) -> str:
        """Type a block; nothing of it may fail."""
        (self.etc / "kobra.env").write_text(self._here((ROOT / "deploy" / "kobra.env").read_text()))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
        environ["PATH"] = f"{self.folder / 'bin'}:{environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._here(text)],
            env=environ, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done
        return done.stdout

    @property
    def keys(self) -> list[str]:
        lines = (self.etc / "keys").read_text().split()
        assert {line.partition(":")[0] for line in lines} == {"lender_a"}
        return [line.partition(":")[2] for line in lines]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_page_has_blocks_to_test() -> None:
    tested = [title for title in re.findall(r"^## (.+)$", PAGE, re.M) if blocks(title)]
    assert tested == ["Install", "What to hand over to Kobra", "Rotating a key", "Backing up", "Restoring"]


def test_an_operator_goes_live_rotates_the_key_and_restores_on_a_new_machine(
    machine: Machine, receiver_start: Callable[..., RunningReceiver]
) -> None:
    (make_key,) = blocks("Install")
    said = machine.type(make_key)
    assert "WRONG" not in said.replace("WRONG file system", "")
    (old,) = machine.keys
    assert (machine.etc / "keys").stat().st_mode & 0o777 == 0o640
    assert old not in said

    receiver = receiver_start(
        KOBRA_HOME=str(machine.home), KOBRA_API_KEYS="", KOBRA_API_KEYS_FILE=str(machine.etc / "keys")
    )
    machine.port = receiver.port
    (try_it,) = blocks("What to hand over to Kobra")
    said = machine.type(try_it)
    assert json.loads(re.search(r"^\{.*?\}", said, re.M)[0])["status"] == "stored"  # type: ignore[index]
    assert f"ready at http://127.0.0.1:{receiver.port}" in said
    assert not (machine.folder / "kobra-header").exists()

    begin, end = blocks("Rotating a key")
    assert "lender_a (2)" in machine.type(begin)
    time.sleep(1.1)
    _, new = machine.keys
    assert [receiver.post(b'{"visitID":"2"}', api_key=key).status for key in (old, new)] == [200, 200]
    assert 'outcome="stored"} 3.0' in machine.type(end)
    time.sleep(1.1)
    assert machine.keys == [new]
    assert [receiver.post(b'{"visitID":"3"}', api_key=key).status for key in (old, new)] == [401, 200]

    assert receiver.stop() == 0
    (machine.home / "mappings").mkdir(mode=0o700)
    shutil.copy(ROOT / "sql" / "seeds" / "settings.csv", machine.home / "mappings")
    # While it is backed up, something is being written.
    left = machine.home / "raw" / "received_date=2026-03-01"
    left.mkdir(mode=0o700)
    (left / "20260301T120000000000Z.jsonl.open").write_bytes(b"half")
    (back_up,) = blocks("Backing up")
    machine.type(back_up)
    assert {path.name for path in (machine.backup / "kobra").iterdir()} == {"raw", "mappings"}
    assert list(machine.backup.rglob("*.open")) == []

    shutil.rmtree(machine.home)
    (restore,) = blocks("Restoring")
    machine.port = receiver_start(
        KOBRA_HOME=str(machine.folder / "other"), KOBRA_API_KEYS="", KOBRA_API_KEYS_FILE=str(machine.etc / "keys")
    ).port
    assert "0 damaged" in machine.type(restore)
    assert visits(machine) == [("2", "lender_a"), ("3", "lender_a"), ("TEST-1", "lender_a")]
    assert (machine.home / "mappings" / "settings.csv").exists()


def visits(machine: Machine) -> list[tuple[str, str]]:
    with duckdb.connect() as connection:
        connection.execute(f"attach '{machine.home}/warehouse/analytics.duckdb' as w (read_only)")
        return connection.execute("select visit_id, source from w.marts.visits order by all").fetchall()


def test_an_older_half_open_copy_never_takes_the_place_of_the_closed_segment(tmp_path: Path) -> None:
    """Of a backup that also took in what was being written, and took nothing away."""
    writer = rawstore.Landing(tmp_path)
    day = date(2026, 3, 1)
    came = "2026-03-01T12:00:00.000000Z"
    records = [rawstore.delivery(rawstore.delivery_id(n, n), came, "a", b"{}") for n in range(3)]
    writer.append(day, [rawstore.encode(record) for record in records])
    writer.close()
    (closed,) = rawstore.closed(tmp_path).values()
    whole = closed.read_bytes()
    for compress in (False, True):
        stale = closed.with_name(rawstore.identity(closed) + rawstore.OPEN)
        stale.write_bytes(whole[: len(whole) // 2])
        if compress:
            rawstore.compress_segment(closed)
        rawstore.recover(tmp_path)
        (path,) = rawstore.closed(tmp_path).values()
        assert [item.delivery for item in rawstore.read_segment(path) if isinstance(item, rawstore.Landed)] == records
        assert rawstore.open_in(path.parent) == []
        assert path.with_name(rawstore.identity(path) + rawstore.TORN).read_bytes() == whole[: len(whole) // 2]
