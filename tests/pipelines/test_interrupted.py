"""A load that is killed anywhere is made good by the next one: the tables of an undisturbed run."""

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from interruptions import DIED, Plan, finish, start
from kobra_home import Home, Post, encoded, later, small

from pipelines.sample.visits import deliveries
from pipelines.warehouse.lock import lock
from receiver import rawstore

KILLS = int(os.environ.get("KOBRA_KILLS", "8"))  # 60 for a long look
SEGMENTS, DELIVERIES = 3, 200
QUERIES = 17  # statements that dlt sends for a load, about
Rows = dict[str, Counter[tuple[Any, ...]]]


def everything(database: Path) -> Rows:
    """All rows of all tables; not when they were loaded, nor dlt's own columns."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{database}' as w (read_only); set timezone = 'UTC'")
        columns: dict[str, list[str]] = {}
        for table, column in connection.execute(
            """
            select table_name, column_name from duckdb_columns()
            where database_name = 'w' and schema_name = 'kobra' and column_name <> 'loaded_at'
                and not starts_with(column_name, '_dlt') and not starts_with(table_name, '_dlt')
            order by all
            """
        ).fetchall():
            columns.setdefault(table, []).append(column)
        return {
            table: Counter(connection.execute(f"select {', '.join(names)} from w.kobra.{table}").fetchall())
            for table, names in columns.items()
        }


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which many visits come again, changed or not, in other segments and out of order."""
    home = Home(tmp_path_factory.mktemp("raw"))
    posts = [
        Post(sent.body, later(seconds=n)) for n, sent in enumerate(islice(deliveries(DELIVERIES, seed=3), DELIVERIES))
    ]
    posts += [
        Post(encoded(small(f"v{n % 30}", comment=f"c{n % 4}", phones=[str(n)] * (n % 3))), later(minutes=n))
        for n in range(160)
    ]
    posts += [Post(b"", later(hours=3)), Post(b"{", later(hours=4))]
    Random(5).shuffle(posts)
    for first in range(SEGMENTS):
        home.land(*posts[first::SEGMENTS])
    return home.raw


@pytest.fixture(scope="module")
def undisturbed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    path = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(raw, path / "raw")
    assert finish(path, Plan()) == 0
    return everything(path / "warehouse" / "analytics.duckdb")


@pytest.fixture
def home(raw: Path, tmp_path: Path) -> Home:
    shutil.copytree(raw, tmp_path / "raw")
    return Home(tmp_path)


def assert_made_good(home: Home, undisturbed: Rows) -> None:
    assert finish(home.path, Plan()) == 0
    assert differences(everything(home.files.published), undisturbed) == {}
    assert not list(home.files.warehouse.glob(".publishing*"))


def differences(found: Rows, expected: Rows) -> dict[str, list[Any]]:
    """By table some rows that are in one only."""
    assert found.keys() == expected.keys()
    return {
        table: [*(found[table] - expected[table]).items(), *(expected[table] - found[table]).items()][:4]
        for table in expected
        if found[table] != expected[table]
    }


def test_the_undisturbed_run_takes_several_pages_and_all_kinds_of_outcomes(undisturbed: Rows) -> None:
    assert sum(undisturbed["segments"].values()) == SEGMENTS
    assert sum(undisturbed["deliveries"].values()) == DELIVERIES + 162
    assert all(undisturbed.values())


@pytest.mark.parametrize("seed", range((KILLS + 1) // 2))
def test_killed_twice_at_any_moment_then_run_once_is_as_if_nothing_had_happened(
    home: Home, undisturbed: Rows, seed: int
) -> None:
    chance = Random(seed * 7919 + KILLS)
    for _ in range(2):
        process = start(home.path, Plan())
        time.sleep(chance.uniform(0.05, 1.6))
        with suppress(ProcessLookupError):
            os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        process.close()
    assert_made_good(home, undisturbed)


# Spread over the statements of the second page, where there is something to spoil.
@pytest.mark.parametrize("number", range(QUERIES + 4, 2 * QUERIES + 4, max(1, QUERIES * 2 // KILLS)))
def test_killed_between_the_commits_of_two_tables_then_run_is_as_if_nothing_had_happened(
    home: Home, undisturbed: Rows, number: int
) -> None:
    assert finish(home.path, Plan(dies_in_query=number)) == DIED
    assert_made_good(home, undisturbed)


@pytest.mark.parametrize(
    "moment",
    [
        ("pipelines.load.load", "_check_arrived", 2),
        ("pipelines.publish.publish", "_sync", 1),
        ("receiver.rawstore", "compress_segment", 1),
    ],
    ids=lambda moment: moment[1],
)
def test_killed_at_a_turning_point_then_run_is_as_if_nothing_had_happened(
    home: Home, undisturbed: Rows, moment: tuple[str, str, int]
) -> None:
    assert finish(home.path, Plan(dies_after=moment)) == DIED
    assert_made_good(home, undisturbed)


def believe_every_segment() -> None:
    """A loader that takes a segment for loaded as soon as its row is there."""
    from pipelines.load import load  # noqa: PLC0415
    from pipelines.warehouse import database  # noqa: PLC0415

    def taken(connection: Any) -> dict[rawstore.Key, str]:
        if not database.has(connection, "landed", "segments"):
            return {}
        found = connection.execute("select segment, received_date from landed.segments").fetchall()
        return {rawstore.key_of(*each): each[0] for each in found}

    load.taken = taken
    load.clean_up, load.leftovers = lambda *_: None, lambda _: []


@pytest.mark.slow
def test_a_loader_that_believes_what_an_unfinished_load_wrote_is_caught(
    raw: Path, undisturbed: Rows, tmp_path: Path
) -> None:
    for number in range(2 * QUERIES + 3, QUERIES, -1):
        home = Home(tmp_path / str(number))
        shutil.copytree(raw, home.raw)
        assert finish(home.path, Plan(dies_in_query=number)) == DIED
        assert finish(home.path, Plan(patch=believe_every_segment)) == 0
        if differences(everything(home.files.published), undisturbed):
            return
    pytest.fail("no moment of death told the broken loader from a sound one")


def load_at_once(home: Home, many: int, patch: Callable[[], None] | None = None) -> list[int]:
    """The exit codes of so many runs that begin together, in order."""
    processes = [start(home.path, Plan(patch=patch)) for _ in range(many)]
    for process in processes:
        process.join()
    return sorted(process.exitcode or 0 for process in processes)


def test_of_eight_loads_at_once_one_works_and_the_others_say_so_and_change_nothing(
    home: Home, undisturbed: Rows
) -> None:
    with lock(home.files):
        before = {path.name for path in home.files.warehouse.iterdir()}
        began = time.monotonic()
        assert load_at_once(home, 7) == [75] * 7
        assert time.monotonic() - began < 5
        assert {path.name for path in home.files.warehouse.iterdir()} == before == {".lock"}
        assert "another run holds the lock" in (home.path / "run.log").read_text()
    assert load_at_once(home, 8) == [0, *[75] * 7]
    assert differences(everything(home.files.published), undisturbed) == {}


def lock_nobody_out() -> None:
    """A loader that takes nobody's word for it that somebody is at work."""
    from pipelines import cli  # noqa: PLC0415

    cli.lock = lambda home, *_: nullcontext(home.make_warehouse())


def test_loaders_that_do_not_lock_each_other_out_are_caught(home: Home) -> None:
    assert load_at_once(home, 8, lock_nobody_out) != [0, *[75] * 7]
