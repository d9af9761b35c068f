"""On Spark the tables are those of the file, row for row; what is killed half-way is never seen and loses nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import spark_cluster
import spark_home
from kobra_home import Post, encoded, kobra, settings_of, small
from parity import apart
from s3 import Bucket
from spark_home import Both

from pipelines.spark.place import place
from receiver import rawstore

pytestmark = pytest.mark.slow
HERE = ("--master", "local[2]")
PATIENCE_S = 300


@pytest.fixture(scope="module", autouse=True)
def there_is_spark() -> None:
    if told := spark_cluster.missing():
        pytest.skip(told)


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


def ran(both: Both, *arguments: str, **more: str) -> str:
    done = spark_home.run(both.spark.path, *arguments, **more)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# ---------------------------------------------------------------- parity


def test_the_tables_are_those_of_the_file_row_for_row(both: Both) -> None:
    for posts in spark_home.batches():
        both.land(posts)
        both.build_file()
        ran(both, *HERE)
    assert both.differences() == {}


def test_exports_are_those_of_the_file_wherever_the_tables_are(both: Both, bucket: Bucket, tmp_path: Path) -> None:
    both.land(spark_home.batches(count=100)[0])
    both.build_file()
    ran(both, *HERE)
    tables = both.spark.path / "spark"
    for path in tables.rglob("*"):
        if path.is_file():
            bucket.put(f"tables/{path.relative_to(tables)}", path.read_bytes())
    exported(both, tmp_path / "of the file")
    for number, at in enumerate((str(tables), f"{bucket.url.replace('s3:', 's3a:')}/tables")):
        exported(both, tmp_path / f"{number}", "--spark-tables", at, **bucket.environ)
        assert differences_of_exports(tmp_path / "of the file", tmp_path / f"{number}") == {}


EXPORTED = ("marts.visits", "marts.promises", "marts.outcomes_daily", "kobra.answers", "wide.debt_collection")


def exported(both: Both, to: Path, *arguments: str, **more: str) -> None:
    home = both.spark if arguments else both.file
    done = kobra(home.path, "export", *arguments, "--to", to, *EXPORTED, **more)
    assert done.returncode == 0, done.stderr


def differences_of_exports(*folders: Path) -> dict[str, Any]:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for name, folder in zip(("one", "other"), folders, strict=True):
            connection.execute(f"attach ':memory:' as {name}")
            for table in EXPORTED:
                connection.execute(f"create schema if not exists {name}.{table.partition('.')[0]}")
                file = folder / f"{table.removeprefix('marts.')}.parquet"
                connection.execute(f"create table {name}.{table} as from read_parquet('{file}')")
        return apart(connection, "one", "other")


def test_an_export_of_spark_does_not_go_where_forget_writes_anew(both: Both) -> None:
    done = both.spark.kobra("export", "--spark-tables", str(both.spark.path / "spark"))
    assert (done.returncode, "name another folder with --to" in done.stderr) == (2, True)
    done = both.spark.kobra("export", "--spark-tables", str(both.spark.path / "spark"), "--to", str(both.spark.path))
    assert (done.returncode, "run `kobra spark run` first" in done.stderr) == (2, True)


def test_a_text_that_is_read_by_another_rule_is_caught(both: Both) -> None:
    both.land(spark_home.batches(count=100)[0])
    both.build_file()
    ran(both, *HERE, broken="another rule")
    assert "marts.label_mix" in both.differences()


def test_where_nothing_is_new_nothing_is_built(both: Both) -> None:
    both.land(spark_home.batches(count=20)[0])
    assert "built, tested and published" in ran(both, *HERE)
    before = place(str(both.spark.path / "spark")).published()
    assert "nothing to build" in ran(both, *HERE)
    assert place(str(both.spark.path / "spark")).published() == before


def test_of_a_file_that_an_error_cuts_short_nothing_is_there(bucket: Bucket, tmp_path: Path) -> None:
    with settings_of(bucket.environ):
        for where in map(place, (str(tmp_path), bucket.url.replace("s3:", "s3a:"))):
            with pytest.raises(InterruptedError), where.written("landed", "visits", "part-0.parquet") as stream:
                cut_short(stream)
            assert where.names("landed", "visits") == []
            with where.written("landed", "visits", "part-0.parquet") as stream:
                stream.write(b"whole")
            assert where.names("landed", "visits") == ["part-0.parquet"]
            where.write_table(pa.table({"a": [1, 2]}), "landed", "deliveries", "part-0.parquet")
            assert where.read_table("landed", "deliveries", "part-0.parquet").to_pydict() == {"a": [1, 2]}


def cut_short(stream: Any) -> None:
    stream.write(bytes(20_000_000))
    raise InterruptedError


def test_executors_read_segments_from_an_object_store(both: Both, bucket: Bucket) -> None:
    both.land(spark_home.batches(count=100)[0])
    both.build_file()
    for path in both.spark.segments():
        bucket.put(rawstore.place_of(path), rawstore.packed(path))
    shutil.rmtree(both.spark.raw)
    told = ran(both, *HERE, **bucket.settings)
    assert f"from {len(both.file.segments())} segment(s)" in told
    assert both.differences() == {}
    assert "0 deliveries from 0 segment(s)" in ran(both, *HERE, **bucket.settings)


def test_a_person_who_is_forgotten_is_in_no_table_any_more(both: Both) -> None:
    both.land(spark_home.batches(count=100)[0])
    both.build_file()
    ran(both, *HERE)
    assert theirs(both)
    share = ("export", "visits", "--spark-tables", both.spark.path / "spark", "--to", both.spark.path / "share")
    assert both.spark.kobra(*share).returncode == 0
    for home in (both.file, both.spark):
        done = home.kobra("forget", "--source", "lender_a", "--account", "110", "--yes")
        assert done.returncode == 0, done.stderr
    refused = both.spark.kobra(*share)
    assert (refused.returncode, "run `kobra spark run` first" in refused.stderr) == (2, True)
    both.build_file()
    ran(both, *HERE)
    assert both.spark.kobra(*share).returncode == 0
    assert not theirs(both)
    assert both.differences() == {}
    both.land([Post(visit("late", externalID=None)), Post(visit("other", externalID="777"))])
    ran(both, *HERE)
    both.land([Post(visit("late", externalID="110"))])  # only now it is known whose the first version is
    both.build_file()
    ran(both, *HERE)
    assert both.differences() == {}
    assert read_visits(both) == ["other"]


def test_spark_learns_of_whom_another_home_erases_from_the_object_store(both: Both, bucket: Bucket) -> None:
    both.land([Post(visit("theirs", externalID="110")), Post(visit("other", externalID="777"))])
    for path in both.spark.segments():
        bucket.put(rawstore.place_of(path), rawstore.packed(path))
    shutil.rmtree(both.spark.raw)
    shutil.rmtree(both.file.raw)
    ran(both, *HERE, **bucket.settings)
    done = kobra(both.file.path, "forget", "--source", "lender_a", "--account", "110", "--yes", **bucket.settings)
    assert done.returncode == 0, done.stderr
    ran(both, *HERE, **bucket.settings)
    assert read_visits(both) == ["other"]
    assert "0 deliveries from 0 segment(s)" in ran(both, *HERE, **bucket.settings)
    assert not theirs(both)
    both.spark.land(Post(visit("theirs", externalID="110")))
    for path in both.spark.segments():
        bucket.put(rawstore.place_of(path), rawstore.packed(path))
    shutil.rmtree(both.spark.raw)
    ran(both, *HERE, **bucket.settings)
    assert read_visits(both) == ["other", "theirs"]  # nobody has swept the store
    assert kobra(both.file.path, "run", **bucket.settings).returncode == 0
    ran(both, *HERE, **bucket.settings)
    assert read_visits(both) == ["other"]
    assert not theirs(both)


def read_visits(both: Both) -> list[str]:
    with spark_home.published(both.spark.path) as tables:
        found = tables.execute("select visit_id from kobra.visits where visit_id in ('late', 'other', 'theirs')")
        return sorted(visit_id for (visit_id,) in found.fetchall())


def visit(visit_id: str, **changes: Any) -> bytes:
    return encoded(small(visit_id) | changes)


def test_what_the_raw_store_has_no_more_stays_unless_its_loss_is_accepted(both: Both) -> None:
    both.land(spark_home.batches(count=20)[0])
    ran(both, *HERE)
    shutil.rmtree(min(both.spark.raw.glob("received_date=*")))
    refused = spark_home.run(both.spark.path, *HERE, "--reload")
    assert (refused.returncode, "put them back from a backup" in refused.stderr) == (2, True)
    assert "0 deliveries from 0 segment(s)" in ran(both, *HERE)
    told = ran(both, *HERE, "--reload", "--accept-loss")
    assert f"from {len(both.spark.segments())} segment(s)" in told


def theirs(both: Both) -> list[str]:
    """The files of Spark's tables that have the account 110 of lender_a."""
    paths = [
        *(both.spark.path / "spark").glob("landed/visits/*/*"),
        *(both.spark.path / "spark").glob("runs/**/visits/*.parquet"),
    ]
    is_theirs = "source = 'lender_a' and account_id = '110'"
    query = f"select distinct filename from read_parquet(?, filename = true) where {is_theirs}"
    return [name for path in paths for (name,) in duckdb.execute(query, [str(path)]).fetchall()]


def test_what_is_damaged_is_made_anew(both: Both) -> None:
    both.land(spark_home.batches(count=20)[0])
    both.build_file()
    (both.spark.path / "spark" / "landed" / "_dlt_loads").mkdir(parents=True)
    (both.spark.path / "spark" / "landed" / "_dlt_loads" / ".1.parquet.cut-short").touch()
    ran(both, *HERE)
    for damaged in both.spark.path.glob("spark/landed/segments/*/part-0.parquet"):
        damaged.write_bytes(bytes(damaged.stat().st_size))
    refused = spark_home.run(both.spark.path, *HERE)
    assert (refused.returncode, "--reload --accept-loss" in refused.stderr) == (1, True)
    ran(both, *HERE, "--reload", "--accept-loss")
    assert both.differences() == {}


SESSION = """
import json
from pipelines.spark.session import session
with session(None, {}, "scratch") as spark:
    told = dict(spark.sparkContext.getConf().getAll())
    print(json.dumps(told | {"partitions": spark.conf.get("spark.sql.shuffle.partitions")}))
"""
TOLD = {"spark.app.name": "mine", "spark.driver.memory": "900m", "spark.sql.shuffle.partitions": "37"}


@pytest.mark.parametrize("way", ["spark-submit", "spark-defaults.conf"])
def test_what_an_operator_tells_spark_is_heeded(tmp_path: Path, way: str) -> None:
    import pyspark  # noqa: PLC0415 - who has none skips

    (tmp_path / "session.py").write_text(SESSION)
    if way == "spark-submit":
        options = [part for name, value in TOLD.items() for part in ("--conf", f"{name}={value}")]
        command = [Path(pyspark.__file__).parent / "bin" / "spark-submit", "--master", "local[1]", *options]
    else:
        (tmp_path / way).write_text("".join(f"{name} {value}\n" for name, value in TOLD.items()))
        command = [Path(sys.executable)]
    environ = os.environ | {"SPARK_CONF_DIR": str(tmp_path), "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        [*command, tmp_path / "session.py"], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.items() >= TOLD.items()
    assert told["partitions"] == "37"
    assert told["spark.sql.session.timeZone"] == "UTC"
    assert ("spark.driver.host", "127.0.0.1") not in told.items() or way != "spark-submit"


# ---------------------------------------------------------------- the driver is killed


class Stages:
    """How far a run is, by what stands among the tables."""

    def __init__(self, both: Both) -> None:
        self._tables = both.spark.path / "spark"
        self._before = self._seen()

    def _seen(self) -> set[Path]:
        patterns = ("landed/*/*/part*", "landed/_dlt_loads/*.parquet", "runs/*/*", "runs/*/*/*")
        return {path for pattern in patterns for path in self._tables.glob(pattern)}

    def __getattr__(self, name: str) -> bool:
        new = [path.relative_to(self._tables).parts for path in self._seen() - self._before]
        return {
            "rows_are_written": any(parts[:2] == ("landed", "deliveries") for parts in new),
            "segments_are_noted": any(parts[:2] == ("landed", "segments") for parts in new),
            "loads_count": any(parts[:2] == ("landed", "_dlt_loads") for parts in new),
            "models_are_built": any(parts[0] == "runs" and parts[2:] == ("marts", "legs") for parts in new),
            "answers_are_turned": any(parts[0] == "runs" and parts[2:3] == ("wide",) for parts in new),
        }[name]


STAGES = ("rows_are_written", "loads_count", "models_are_built", "answers_are_turned")


def killed(both: Both, stage: str, broken: str = "") -> None:
    """Run, and kill -9 the driver at a stage."""
    stages = Stages(both)
    with spark_home.started(both.spark.path, *HERE, broken=broken) as process:
        until(lambda: getattr(stages, stage), process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    began = time.monotonic()
    while not is_so():
        if process.poll() is not None:
            pytest.fail(f"it ended first: {process.communicate()[1][-2000:]}")
        if time.monotonic() - began > PATIENCE_S:
            pytest.fail("it never got there")
        time.sleep(0.01)


def assert_kills_are_never_seen(both: Both, *stages: str, broken: str = "") -> None:
    first, second, _ = spark_home.batches(count=150)
    both.land(first)
    both.build_file()
    ran(both, *HERE)
    assert both.differences() == {}
    both.land(second)
    for stage in stages:
        killed(both, stage, broken)
        assert both.differences() == {}, f"people see something else after a kill when {stage}"
    both.build_file()
    ran(both, *HERE)
    assert both.differences() == {}


def test_a_driver_that_is_killed_changes_nothing_and_the_next_run_ends_as_an_undisturbed_one(both: Both) -> None:
    assert_kills_are_never_seen(both, *STAGES)


@pytest.mark.parametrize(
    ("stage", "broken"), [("models_are_built", "published first"), ("segments_are_noted", "counted first")]
)
def test_a_build_that_a_kill_leaves_half_done_is_caught(both: Both, stage: str, broken: str) -> None:
    with pytest.raises(AssertionError):
        assert_kills_are_never_seen(both, stage, broken=broken)


# ---------------------------------------------------------------- an executor is killed


def assert_an_executor_may_be_killed(both: Both, folder: Path, broken: str = "") -> None:
    both.land(spark_home.batches(count=1500)[0])
    both.build_file()
    stages = Stages(both)
    with spark_cluster.cluster(folder) as cluster:
        arguments = ("--master", cluster.url, "--conf", "spark.executor.memory=768m")
        with spark_home.started(both.spark.path, *arguments, broken=broken, **spark_cluster.LOCAL) as process:
            until(lambda: stages.rows_are_written, process)
            cluster.kill_an_executor()
            _, told = process.communicate()
        assert process.returncode == 0, told[-2000:]
    assert both.differences() == {}


def test_an_executor_that_is_killed_takes_and_doubles_nothing(both: Both, tmp_path: Path) -> None:
    assert_an_executor_may_be_killed(both, tmp_path / "cluster")


def test_rows_that_every_attempt_of_a_task_adds_are_caught(both: Both, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        assert_an_executor_may_be_killed(both, tmp_path / "cluster", broken="written by each attempt")
