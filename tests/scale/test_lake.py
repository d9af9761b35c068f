"""A lake holds the same tables as a file, for many machines at a time."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import duckdb
import pytest
from built_home import CANARIES, BuiltHome, telling, visit
from kobra_home import Post, kobra, later, settings_of
from lakes import LakeHome, made
from parity import apart
from postgres import Postgres, programs, serving
from s3 import Bucket, Way
from test_object_store import Site

from notebooks import published
from pipelines.publish import publish as publishing
from pipelines.sample.visits import deliveries
from pipelines.warehouse import database, lock
from pipelines.warehouse.home import Home
from pipelines.warehouse.lake import LakeError

VISITS = 400
KILLS = int(os.environ.get("KOBRA_KILLS", "4"))  # 60 for a long look
DAYS = range(2, 12)
TURN = (lock._TURN, lock._LOAD)
RUN = ("run", "--as-of", "2026-03-15")


@pytest.fixture
def lake(tmp_path: Path, postgres: Postgres) -> LakeHome:
    return made(tmp_path / "home", postgres, str(tmp_path / "files"))


@pytest.fixture
def far_lake(
    tmp_path: Path, postgres: Postgres, bucket: Bucket, way: Way, monkeypatch: pytest.MonkeyPatch
) -> LakeHome:
    """One whose files are on S3, by a way that can be cut."""
    settings = {name: value for name, value in bucket.through(way.port).items() if name != "KOBRA_RAW"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return made(tmp_path / "home", postgres, bucket.url.replace("/raw", "/lake"), settings)


@pytest.fixture(scope="module")
def visits() -> list[Post]:
    """Visits with everything in them that may be wrong."""
    return [Post(sent.body, sent.at, "demo") for sent in deliveries(VISITS)]


def assert_as_in_a_file(lake: LakeHome, tmp_path: Path) -> None:
    """What is published is what a file has that loads the same raw store at once."""
    shutil.copytree(lake.raw, tmp_path / "file" / "raw")
    file = BuiltHome(tmp_path / "file")
    assert file.here(*RUN) == 0
    with lake.reading() as connection:
        connection.execute(f"attach '{file.files.published}' as file (read_only)")
        assert apart(connection, "w", "file") == {}


def test_in_several_loads_all_tables_are_those_of_a_file(lake: LakeHome, visits: list[Post], tmp_path: Path) -> None:
    for posts in (visits[: VISITS // 2], visits[VISITS // 2 :]):
        lake.land(*posts)
        assert lake.here(*RUN) == 0
    assert_as_in_a_file(lake, tmp_path)


# ---------------------------------------------------------------- readers


@pytest.mark.slow
def test_readers_see_one_snapshot_whatever_runs(lake: LakeHome, visits: list[Post]) -> None:
    """Tables of one snapshot agree. Those of the newest state do not always: they are made one after the other."""
    published, newest = list[bool](), list[bool]()
    lake.land(*visits[:100])
    lake.ran(*RUN)
    for start in (100, 200):
        lake.land(*visits[start : start + 100])
        running = lake.start(*RUN)
        while running.poll() is None:
            with lake.reading() as connection:
                published.append(agree(connection))
            with lake.newest() as connection:
                newest.append(agree(connection))
        assert running.returncode == 0
    assert all(published)
    assert not all(newest)


def agree(connection: duckdb.DuckDBPyConnection) -> bool:
    rows = connection.execute("""
        select (select count(*) from w.kobra.visits), (select count(*) from w.marts.visits),
            (select sum(visits_open + visits_cancelled + visits_completed) from w.marts.outcomes_daily)
    """).fetchone()
    assert rows is not None
    return len(set(rows)) == 1


@pytest.mark.slow
def test_anybody_attaches_what_is_published_by_the_statements_that_connect_prints(lake: LakeHome) -> None:
    assert lake.kobra("connect").stderr == "kobra: nothing is published yet: run `kobra run` first\n"
    lake.land(visit("A"))
    lake.ran(*RUN)
    with duckdb.connect(config=database.config(lake.files)) as connection:
        connection.execute(lake.ran("connect"))
        assert connection.execute(f"select visit_id from {lake.lake.name}.marts.visits").fetchall() == [("A",)]
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute(f"drop table {lake.lake.name}.marts.visits")


@pytest.mark.slow
def test_the_dashboard_and_exports_follow_what_is_published(lake: LakeHome, tmp_path: Path) -> None:
    with settings_of(lake.settings):
        place = published.SHARED.at(published.place())
    assert place.stamp() is None
    for number, visit_id in enumerate("AB", 1):
        lake.land(visit(visit_id))
        lake.ran(*RUN)
        assert place.now().row("select count(*) as visits from visits") == {"visits": number}
    lake.ran("export", "visits", "--to", str(tmp_path / "out"))
    assert duckdb.sql(f"select visit_id from '{tmp_path}/out/visits.parquet' order by all").fetchall() == [
        ("A",),
        ("B",),
    ]


# ---------------------------------------------------------------- several machines


@pytest.mark.slow
def test_a_day_that_another_machine_loads_is_left_to_it(lake: LakeHome, tmp_path: Path) -> None:
    lake.land(visit("first", 2))
    lake.ran("load")
    lake.land(visit("theirs", 3), visit("mine", 4))
    other = lake.beside(tmp_path / "other")
    with lock.loading(other.files, alone=False) as claim:
        assert claim(later(days=3).date())
        assert "1 deliveries from 1 segment(s)" in lake.ran("load")
    assert "1 deliveries from 1 segment(s)" in lake.ran("load")


@pytest.mark.slow
@pytest.mark.parametrize("fault", [None, "claims"])
def test_what_machines_load_at_the_same_time_is_loaded_once(
    lake: LakeHome, tmp_path: Path, bucket: Bucket, fault: str | None
) -> None:
    site = Site(tmp_path / "site", bucket)
    homes = [lake.beside(tmp_path / name, bucket.settings) for name in ("one", "two")]
    site.ship(*(visit(f"{day}-1", day) for day in DAYS))
    homes[0].ran("load")  # makes the tables
    site.ship(*(visit(f"{day}-{number}", day) for day in DAYS for number in range(2, 20)))
    loading = [home.start("load", fault=fault) for home in homes]
    assert [process.wait() for process in loading] == [0, 0]
    homes[0].ran(*RUN)
    with homes[0].reading() as connection:
        loaded = connection.execute("select delivery_id from w.landed.deliveries").fetchall()
    assert len(set(loaded)) == 19 * len(DAYS)
    assert (len(loaded) == len(set(loaded))) is (fault is None)


@pytest.mark.slow
def test_while_a_lake_is_published_no_load_begins(lake: LakeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """What clears away files that no snapshot has would take those of a load that is under way."""
    could_begin = list[bool]()
    publish = publishing.publish

    def watched(files: Home) -> None:
        with lake.lake.postgres() as session:
            could_begin.extend(row[0] for row in session.execute("select pg_try_advisory_lock_shared(%s, %s)", TURN))
        publish(files)

    lake.land(visit("A"))
    lake.ran("load")
    lake.ran("build")
    monkeypatch.setattr(publishing, "publish", watched)
    assert lake.here("publish") == 0
    assert could_begin == [False]


@pytest.mark.slow
def test_rejects_are_read_again_when_nobody_builds(lake: LakeHome) -> None:
    lake.land(visit("A"), Post(b"{"))
    lake.ran("load")
    with lock.alone(lake.files):
        load = lake.start("load", "--retry-rejects")
        wait_until_it_waits(lake, load)
        with lake.newest() as connection:
            assert connection.execute("select count(*) from w.landed.rejects").fetchall() == [(1,)]
    assert load.wait() == 0


@pytest.mark.slow
def test_a_run_waits_for_loads_and_loads_wait_for_a_build(lake: LakeHome) -> None:
    lake.land(visit("A"))
    with lock.loading(lake.files, alone=False):
        run = lake.start(*RUN)
        wait_until_it_waits(lake, run)
    assert run.wait() == 0
    with lock.alone(lake.files):
        load = lake.start("load")
        wait_until_it_waits(lake, load)
    assert load.wait() == 0


def wait_until_it_waits(lake: LakeHome, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process waits for its turn on the lake; it must not end first."""
    waiting = """
        select count(*) from pg_locks join pg_database on pg_database.oid = pg_locks.database
        where locktype = 'advisory' and not granted and datname = current_database()
    """
    with lake.lake.postgres() as connection:
        while connection.execute(waiting).fetchone() == (0,):
            assert process.poll() is None, "it did not wait for its turn"
            time.sleep(0.05)


def test_a_second_run_on_the_same_lake_says_so_and_changes_nothing(lake: LakeHome, tmp_path: Path) -> None:
    other = lake.beside(tmp_path / "other")
    with lock.lock(other.files):
        done = lake.kobra("run")
    assert (done.returncode, done.stderr) == (
        75, "kobra: on another machine, another run holds the lock; this one changed nothing\n"
    )  # fmt: skip


def test_a_run_keeps_its_turn_where_postgres_ends_idle_sessions(lake: LakeHome, tmp_path: Path) -> None:
    with lake.lake.postgres() as session:
        session.execute(f"alter database {lake.lake.name} set idle_session_timeout = '500ms'".encode())
    other = lake.beside(tmp_path / "other")
    with lock.lock(lake.files):
        time.sleep(1.5)
        with pytest.raises(lock.BusyError), lock.lock(other.files):
            pass


def test_where_postgres_ends_a_session_the_error_says_so(lake: LakeHome) -> None:
    with pytest.raises(LakeError, match="ended the session"), lake.lake.postgres() as session:
        session.execute("select pg_terminate_backend(pg_backend_pid())")


FORGET = ("forget", "--source", "lender_a", "--account", "1", "--yes")


@pytest.mark.slow
def test_once_persons_were_erased_no_other_home_builds_until_it_takes_over(lake: LakeHome, tmp_path: Path) -> None:
    lake.land(visit("A"), visit("B", externalID="1"))
    lake.ran(*RUN)
    other = lake.beside(tmp_path / "other")
    other.land(visit("C", 3))
    other.ran(*RUN)
    lake.ran(*FORGET)
    before = lake.lake.published()
    other.land(visit("D", 4, externalID="1"))
    for command in (RUN, ("build",), ("publish",), FORGET, ("retain", "--raw-days", "1")):
        done = other.kobra(*command)
        assert (done.returncode, f":{lake.path} knows who was erased" in done.stderr) == (2, True), command
    other.ran("load")
    assert lake.lake.published() == before
    shutil.copytree(lake.path / "erasure", other.path / "erasure", dirs_exist_ok=True)
    other.ran(*RUN, "--take-over")
    with other.reading() as connection:
        assert connection.execute("select visit_id from visits order by all").fetchall() == [("A",), ("C",)]
    assert f":{other.path} knows who was erased" in lake.kobra(*RUN).stderr


@pytest.mark.slow
def test_a_home_that_knows_of_fewer_persons_than_it_did_is_refused(lake: LakeHome) -> None:
    lake.land(visit("A"), visit("B", externalID="1"))
    lake.ran(*RUN)
    lake.ran(*FORGET)
    shutil.rmtree(lake.path / "erasure")
    lake.land(visit("C", 3, externalID="1"))
    done = lake.kobra(*RUN)
    assert (done.returncode, "fewer persons who were erased" in done.stderr) == (2, True)


@pytest.mark.slow
def test_a_home_that_builds_regardless_brings_back_who_was_erased(lake: LakeHome, tmp_path: Path) -> None:
    lake.land(visit("A"), visit("B", externalID="1"))
    lake.ran(*RUN)
    lake.ran(*FORGET)
    other = lake.beside(tmp_path / "other")
    other.land(visit("D", 4, externalID="1"))
    assert other.start(*RUN, fault="owners").wait() == 0
    with other.reading() as connection:
        assert connection.execute("select visit_id from visits order by all").fetchall() == [("A",), ("D",)]


def test_without_a_lake_there_is_nothing_to_take_over(tmp_path: Path) -> None:
    done = kobra(tmp_path, "run", "--take-over")
    assert (done.returncode, "KOBRA_WAREHOUSE names none" in done.stderr) == (2, True)


# ---------------------------------------------------------------- what is cut short


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS))
def test_whatever_is_killed_the_next_run_ends_as_if_nothing_had_happened(
    lake: LakeHome, visits: list[Post], tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    lake.land(*visits[:200])
    lake.ran(*RUN)
    before = lake.lake.published()
    lake.land(*visits[200:])
    for _ in range(2):
        run = lake.start(*RUN)
        with suppress(subprocess.TimeoutExpired):
            run.wait(random.uniform(1, 12))
        with suppress(ProcessLookupError):  # it came to its end first
            os.killpg(run.pid, signal.SIGKILL)
        if run.wait() == 0:
            break
        assert lake.lake.published() == before
    lake.ran(*RUN)
    assert_as_in_a_file(lake, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.5, 4, 7])
def test_where_postgresql_dies_in_mid_run_the_next_one_ends_as_if_nothing_had_happened(
    visits: list[Post], tmp_path: Path, seconds: float
) -> None:
    with serving(programs()) as server:
        lake = made(tmp_path / "home", server, str(tmp_path / "files"))
        lake.land(*visits[:200])
        lake.ran(*RUN)
        lake.land(*visits[200:])
        run = lake.start(*RUN)
        time.sleep(seconds)
        server.kill()
        assert run.wait() == 1
        done = lake.kobra("run")
        assert done.returncode == 1
        assert "the lake" in done.stderr
        server.start()
        lake.ran(*RUN)
        assert_as_in_a_file(lake, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2, 6])
def test_where_the_object_store_goes_away_in_mid_run_the_next_one_ends_as_if_nothing_had_happened(
    far_lake: LakeHome, way: Way, visits: list[Post], tmp_path: Path, seconds: float
) -> None:
    far_lake.land(*visits[:200])
    far_lake.ran(*RUN)
    far_lake.land(*visits[200:])
    run = far_lake.start(*RUN)
    time.sleep(seconds)
    way.state = "cut"
    assert run.wait() == 1
    way.state = "open"
    far_lake.ran(*RUN)
    assert_as_in_a_file(far_lake, tmp_path)


# ---------------------------------------------------------------- what has to go


@pytest.mark.slow
@pytest.mark.parametrize("fault", [None, "keeps"])
def test_forget_leaves_no_trace_in_any_file_of_the_lake_or_of_its_catalogue(
    lake: LakeHome, postgres: Postgres, fault: str | None
) -> None:
    lake.land(telling(), visit("B", 6))
    lake.ran(*RUN)
    lake.land(visit("C", 7))
    lake.ran(*RUN)
    assert traces(lake, postgres) == {"files", "catalogue"}
    assert lake.start("forget", "--source", "lender_a", "--account", "900", "--yes", fault=fault).wait() == 0
    assert (traces(lake, postgres) == set()) is (fault is None)
    assert lake.values("select visit_id from w.marts.visits order by all") == ["B", "C"]
    with lake.reading() as connection:  # what a table means is still said
        marts = "select comment from duckdb_tables() where database_name = 'w' and schema_name = 'marts'"
        assert (None,) not in connection.execute(marts).fetchall()


def traces(lake: LakeHome, postgres: Postgres) -> set[str]:
    """Where any word of the telling visit is, byte by byte; Parquet's columns as they are read."""
    found = set()
    for file in Path(lake.lake.files).rglob("*.parquet"):
        rows = repr(duckdb.sql(f"from read_parquet('{file}')").fetchall()).encode() + file.read_bytes()
        found |= {"files" for word in CANARIES.values() if word.encode() in rows}
    with lake.lake.postgres() as session:
        session.execute("checkpoint")
        ((database,),) = session.execute("select oid::text from pg_database where datname = current_database()")
    for file in (postgres.data / "base" / database).iterdir():
        found |= {"catalogue" for word in CANARIES.values() if word.encode() in file.read_bytes()}
    return found


@pytest.mark.slow
def test_personal_data_older_than_the_policy_is_blanked_and_no_older_snapshot_has_it(
    lake: LakeHome, postgres: Postgres
) -> None:
    lake.land(telling(), visit("B", 30))
    lake.ran(*RUN)
    lake.ran("retain", "--pii-days", "10")
    assert lake.values("select client_name from kobra.visits order by visit_id") == ["Luis", None]
    assert CANARIES["client"] not in repr(
        [duckdb.sql(f"from read_parquet('{file}')").fetchall() for file in Path(lake.lake.files).rglob("*.parquet")]
    )


@pytest.mark.slow
def test_snapshots_go_when_they_are_older_than_they_are_kept_and_what_is_published_stays(lake: LakeHome) -> None:
    lake.land(visit("A"))
    lake.ran(*RUN)
    first = lake.lake.published()
    with lake.lake.postgres() as session:
        session.execute("update ducklake_snapshot set snapshot_time = snapshot_time - interval '30 days'")
        (before,) = session.execute("select count(*) from ducklake_snapshot").fetchone()
    lake.land(visit("B"))
    lake.ran(*RUN)
    with lake.lake.postgres() as session:
        kept = session.execute("select snapshot_id from ducklake_snapshot where snapshot_id <= %s", [first.snapshot])
        assert kept.fetchall() == [(first.snapshot,)]
    assert before > 20
    assert lake.values("select visit_id from w.marts.visits order by all") == ["A", "B"]


# ---------------------------------------------------------------- what is set up wrong


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"KOBRA_WAREHOUSE": "postgres:dbname=lake"}, 2, "KOBRA_WAREHOUSE is not usable"),
        ({"KOBRA_WAREHOUSE_FILES": ""}, 2, "KOBRA_WAREHOUSE_FILES is not set"),
        ({"KOBRA_WAREHOUSE_FILES": "ftp://lake"}, 2, "KOBRA_WAREHOUSE_FILES is not usable"),
        ({"KOBRA_WAREHOUSE": "ducklake:postgres:host=127.0.0.1"}, 1, "KOBRA_WAREHOUSE has to name a database"),
        ({"KOBRA_WAREHOUSE": "ducklake:postgres:password=geheim lake"}, 1, "as libpq takes it"),
        (
            {"KOBRA_WAREHOUSE": "ducklake:postgres:host=127.0.0.1 port=1 dbname=l password=geheim"},
            1,
            "does not answer",
        ),
    ],
)
def test_settings_that_cannot_work_are_told_in_a_sentence(
    tmp_path: Path, settings: dict[str, str], code: int, said: str
) -> None:
    usual = {"KOBRA_WAREHOUSE": "ducklake:postgres:host=127.0.0.1 dbname=lake", "KOBRA_WAREHOUSE_FILES": "/tmp/lake"}
    done = kobra(tmp_path, "run", **(usual | settings))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "geheim" not in done.stderr


def test_status_says_that_the_lake_is_away_and_all_else(lake: LakeHome) -> None:
    lake.settings["KOBRA_WAREHOUSE"] = "ducklake:postgres:host=127.0.0.1 port=1 dbname=lake password=geheim"
    done = lake.kobra("status")
    assert done.returncode == 1
    assert "! the lake's PostgreSQL does not answer" in done.stdout
    assert "published   nothing can be told of it" in done.stdout
    assert "raw store" in done.stdout
    assert "geheim" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_lake_that_was_made_with_other_files_is_refused(lake: LakeHome, tmp_path: Path) -> None:
    lake.land(visit("A"))
    lake.ran("load")
    lake.settings["KOBRA_WAREHOUSE_FILES"] = str(tmp_path / "elsewhere")
    done = lake.kobra("load")
    assert done.returncode == 1
    assert "the same KOBRA_WAREHOUSE_FILES" in done.stderr
