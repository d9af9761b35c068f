"""People who read meet the old file or the new one, never something in between, and keep nobody waiting."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
from kobra_home import Home, Post, encoded, later, small

from pipelines import run
from pipelines.publish import publish
from pipelines.warehouse import database
from pipelines.warehouse import home as places

PUBLISHES = int(os.environ.get("KOBRA_PUBLISHES", "12"))  # 1000 for a long look
READERS = int(os.environ.get("KOBRA_READERS", "2"))
EACH = 5  # visits that a generation adds

# Reads in a loop: the marker says which generation the snapshot is, and so how many rows every table must have.
READER = f"""
import json, sys, time
from pathlib import Path
import duckdb

published, stop = sys.argv[1:]
reads, mixed, seen = 0, [], set()
print("ready", flush=True)
while not Path(stop).exists():
    with duckdb.connect() as connection:
        connection.execute(f"attach '{{published}}' as w (read_only)")
        marker = connection.execute("select comment::int from w.kobra.visits where visit_id = 'marker'")
        (generation,) = marker.fetchone()
        counts = connection.execute(
            "select (select count(*) from w.kobra.visits), (select count(*) from w.kobra.answers), "
            "(select count(*) from w.kobra.segments), (select count(*) from w.kobra.deliveries)"
        ).fetchone()
    reads += 1
    time.sleep(0.03)
    seen.add(generation)
    if counts != ({EACH} * generation + 1, {EACH} * generation, generation, ({EACH} + 1) * generation):
        mixed.append([generation, *counts])
    if Path(published + ".wal").exists():
        mixed.append("there is a .wal")
print(json.dumps({{"reads": reads, "mixed": mixed, "seen": sorted(seen)}}))
"""
LOCKED_OUT = """
import sys, duckdb
try:
    duckdb.connect(sys.argv[1])
except duckdb.IOException:
    print("locked out")
"""


def land_generation(home: Home, generation: int) -> None:
    checklist = [{"questionID": 1, "answers": [{"value": "x" * 500}]}]
    added = [small(f"{generation}-{n}", checklist=checklist) for n in range(EACH)]
    marker = small("marker", comment=str(generation))
    home.land(*(Post(encoded(payload), later(seconds=generation)) for payload in (*added, marker)))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    land_generation(home, 1)
    home.run()
    return home


@pytest.fixture
def readers(home: Home, tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-c", READER, home.files.published, tmp_path / "stop"]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(READERS)
    ]
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


class Seen(NamedTuple):
    """What a reader says of many publishes: how it ended, what was wrong, how often it looked and what it saw."""

    wrong: list[Any]
    reads: int
    generations: int


def publish_often(home: Home, readers: list[subprocess.Popen[str]], times: int) -> list[Seen]:
    """Publish generation after generation, as long as all readers read on."""
    assert [process.stdout and process.stdout.readline() for process in readers] == ["ready\n"] * READERS
    for generation in range(2, times + 2):
        land_generation(home, generation)
        home.run()
        if any(process.poll() is not None for process in readers):
            break
    (home.path / "stop").touch()
    return [seen_by(process) for process in readers]


def seen_by(process: subprocess.Popen[str]) -> Seen:
    out, err = process.communicate(timeout=30)
    if process.returncode:
        return Seen([f"exit code {process.returncode}: {err[-200:]}"], 0, 0)
    told = json.loads(out)
    return Seen(told["mixed"] + [err] * bool(err), told["reads"], len(told["seen"]))


def test_readers_in_a_loop_over_many_publishes_meet_no_error_and_nothing_mixed(
    home: Home, readers: list[subprocess.Popen[str]]
) -> None:
    for seen in publish_often(home, readers, PUBLISHES):
        assert seen.wrong == []
        assert seen.reads > PUBLISHES
        assert seen.generations > PUBLISHES // 2


@pytest.mark.slow
def test_a_publisher_that_writes_over_the_published_file_is_caught(
    home: Home, readers: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_over(home: places.Home) -> None:
        with database.working(home) as connection:
            connection.execute("checkpoint")
        subprocess.run(["cp", "--", home.working, home.published], check=True)

    monkeypatch.setattr(run.publishing, "publish", write_over)
    assert any(seen.wrong for seen in publish_often(home, readers, 200))


def test_somebody_who_keeps_the_published_file_open_stops_nobody_and_keeps_what_he_opened(home: Home) -> None:
    with duckdb.connect(str(home.files.published), read_only=True) as reader:
        land_generation(home, 2)
        assert home.run().new == EACH + 1
        assert home.values("select comment from visits where visit_id = 'marker'") == ["2"]
        old = reader.execute("select comment from kobra.visits where visit_id = 'marker'")
        assert old.fetchall() == [("1",)]
    assert home.kobra("load").returncode == 0


def test_publishing_leaves_the_writer_his_lock_on_the_working_file(home: Home) -> None:
    command = [sys.executable, "-c", LOCKED_OUT, home.files.working]
    with database.working(home.files):
        publish.publish(home.files)
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "locked out\n"
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_what_is_published_is_complete_without_the_working_file(home: Home) -> None:
    home.files.working.unlink()
    assert home.values("select count(*) from visits") == [EACH + 1]
    schemas = home.values("select schema_name from duckdb_schemas() where database_name = 'w' and not internal")
    assert sorted(schemas) == ["kobra", "landed", "meta", "staging"]


def test_a_warehouse_that_was_thrown_away_comes_back_from_the_raw_store(home: Home) -> None:
    land_generation(home, 2)
    home.run()
    before = home.rows("select * from visits order by all")
    for path in (home.files.working, home.files.published):
        path.unlink()
    home.run()
    assert home.rows("select * from visits order by all") == before


def test_a_publish_that_broke_off_leaves_no_trace_in_the_next_one(home: Home) -> None:
    for name in (".publishing.duckdb", ".publishing.duckdb.wal", "analytics.duckdb.new"):
        (home.files.warehouse / name).write_bytes(b"half a file")
    land_generation(home, 2)
    home.run()
    assert home.values("select comment from visits where visit_id = 'marker'") == ["2"]
    assert not list(home.files.warehouse.glob(".publishing*"))


def test_the_published_file_has_the_form_that_docs_name(tmp_path: Path) -> None:
    """docs/clients.md says who can open it: also after dbt wrote to it, and after it was written anew."""
    home = Home(tmp_path)
    home.land(small("1", externalID="a"), small("2"))
    for arguments in (["run"], ["forget", "--yes", "--source", "lender_a", "--account", "a"], ["run"]):
        assert home.kobra(*arguments).returncode == 0
        with duckdb.connect() as connection:
            connection.execute(f"attach '{home.files.published}' as w (read_only)")
            form = connection.execute(
                "select tags['storage_version'] from duckdb_databases() where database_name = 'w'"
            ).fetchone()
            assert form == ("v1.4.0+",)
