"""What the command answers, with which exit code, and what it does not even load."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from interruptions import Plan, finish
from kobra_home import KOBRA, Home, Post, encoded, later, loaded, small

from pipelines.contract import REJECTS
from pipelines.load import batches
from pipelines.load.parse import Reject, Visit, read_body
from pipelines.warehouse.lock import lock
from receiver import rawstore

NOTHING_NEW = """
import sys
from pipelines.cli import main
code = main(["run"])
print(code, sorted({"dlt", "duckdb", "pandas", "pyarrow", "numpy"} & set(sys.modules)))
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home where everything is loaded: two visits and two rejects."""
    return loaded(tmp_path_factory.mktemp("settled"), small("1"), small("2"), Post(b"", later(hours=1)), b"{SECRETO")


def damaged_copy(home: Home, path: Path) -> Home:
    """The same deliveries with one byte of one body flipped."""
    copy = Home(path)
    found = [item for segment in home.segments() for item in rawstore.read_segment(segment)]
    copy.land_records(item.delivery for item in found if isinstance(item, rawstore.Landed))
    (segment,) = copy.segments()
    content = bytearray(segment.read_bytes())
    content[content.index(b"productID")] ^= 1
    segment.write_bytes(content)
    return copy


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["nonsense"], ["run", "--every", "0s"], ["run", "--every", "soon"], ["sample", "x", "--count", "0"],
        ["sample", "x", "--count", "many"], ["import"], ["import", "--source", "a b", "file"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_called_in_a_way_that_cannot_work_exits_2(home: Home, arguments: list[str]) -> None:
    done = home.kobra(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: kobra" in done.stderr
    assert not home.path.exists()


@pytest.mark.parametrize("arguments", [["publish"], ["rejects"]], ids=" ".join)
def test_what_needs_a_load_says_so_before_the_first_one(home: Home, arguments: list[str]) -> None:
    done = home.kobra(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("kobra: ")


def test_the_first_run_of_an_empty_home_publishes_empty_tables_that_only_the_owner_can_read(home: Home) -> None:
    done = home.kobra("run")
    assert (done.returncode, done.stderr) == (0, "")
    assert home.values("select count(*) from visits") == [0]
    assert {path.stat().st_mode & 0o077 for path in home.path.rglob("*")} == {0}


def test_run_is_load_build_and_publish(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.land(small("1"), Post(b"{", later(seconds=1)))
    done = home.kobra("load")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 deliveries from 1 segment(s), 1 of them rejected\n"
    assert home.kobra("publish").returncode == 2
    assert not home.files.published.exists()
    assert home.kobra("build").returncode == home.kobra("publish").returncode == 0
    assert home.values("select visit_id from visits") == ["1"]
    assert home.kobra("run").returncode == 0


def test_a_run_with_nothing_new_loads_neither_dlt_nor_duckdb_and_leaves_the_file_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.land(small("1"))
    assert home.kobra("run").returncode == 0
    before = home.files.published.stat()
    environ = os.environ | {"KOBRA_HOME": str(home.path)}
    answer = subprocess.check_output([sys.executable, "-c", NOTHING_NEW], env=environ, text=True)
    assert answer == "0 []\n"
    assert home.files.published.stat() == before
    home.land(small("2"))
    answer = subprocess.check_output([sys.executable, "-c", NOTHING_NEW], env=environ, text=True)
    assert answer.splitlines()[-1].startswith("0 ['dlt', 'duckdb'")
    assert home.values("select count(*) from visits") == [2]


@pytest.mark.parametrize("command", ["run", "load", "publish", "import"])
def test_while_another_run_holds_the_lock_a_command_exits_75_at_once(tmp_path: Path, command: str) -> None:
    home = Home(tmp_path)
    home.land(small("1"))
    with lock(home.files):
        done = home.kobra(command, *(["--source", "a", tmp_path / "x"] if command == "import" else []))
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == "kobra: another run holds the lock; this one changed nothing\n"


def test_status_and_rejects_need_no_lock(settled: Home) -> None:
    with lock(settled.files):
        assert settled.kobra("status").returncode == settled.kobra("rejects").returncode == 0


def test_status_says_what_landed_waits_is_loaded_and_was_rejected(settled: Home) -> None:
    done = settled.kobra("status", "--json")
    figures = json.loads(done.stdout)
    assert done.returncode == 0
    expected = {
        "segments_closed": 1, "segments_waiting": 0, "deliveries": 4, "new_versions": 2, "duplicates": 0,
        "rejected": 2, "visits": 2, "damaged_records": 0, "rejected_by_reason": {"empty": 1, "not_json": 1},
        "torn_files": 0, "faults": [],
    }  # fmt: skip
    assert {name: figures[name] for name in expected} == expected
    assert "rejected" in settled.kobra("status").stdout


def test_status_exits_1_while_nothing_is_published(home: Home) -> None:
    home.land(small("1"))
    done = home.kobra("status")
    assert done.returncode == 1
    assert "! nothing is published yet" in done.stdout


def test_status_of_an_empty_home_is_fine(home: Home) -> None:
    assert home.kobra("status").returncode == 0


def test_status_exits_1_when_segments_wait_too_long(tmp_path: Path) -> None:
    home = loaded(tmp_path, small("1"))
    home.land(small("2"))
    os.utime(home.segments()[-1], (1_600_000_000, 1_600_000_000))
    done = home.kobra("status", "--json")
    assert (done.returncode, json.loads(done.stdout)["segments_waiting"]) == (1, 1)


def test_damage_is_skipped_counted_and_told_by_run_status_and_verify(settled: Home, tmp_path: Path) -> None:
    home = damaged_copy(settled, tmp_path)
    done = home.kobra("run")
    assert done.returncode == 0
    assert "1 damaged" in done.stdout
    assert "damage at offset 0" in done.stderr
    assert home.values("select visit_id from visits") == ["2"]
    assert home.rows("select lines, damaged from segments") == [{"lines": 3, "damaged": 1}]
    status, verify = home.kobra("status"), home.kobra("verify")
    assert (status.returncode, verify.returncode) == (1, 1)
    assert "damaged" in status.stdout
    assert "1 damaged record(s) at offset 0" in verify.stdout
    assert verify.stdout.splitlines()[-1] == "1 segments, 3 sound records, 1 damaged"


def test_verify_of_a_sound_store_exits_0(settled: Home) -> None:
    done = settled.kobra("verify")
    assert (done.returncode, done.stdout) == (0, "1 segments, 4 sound records, 0 damaged\n")


def test_segments_of_past_days_are_compressed_by_the_run_and_stay_the_same_segments(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.land(Post(encoded(small("1"))), Post(encoded(small("2")), datetime.now(UTC)))
    (old, today) = (rawstore.identity(path) for path in home.segments())
    home.run()
    assert [path.name for path in home.segments()] == [f"{old}.jsonl.zst", f"{today}.jsonl"]
    assert home.run().deliveries == 0
    home.files.working.unlink()
    assert home.run().new == 2
    assert home.values("select segment from segments order by all") == [old, today]


def leave_half_open(home: Home) -> None:
    """As a receiver does that dies while it writes its second record."""
    home.land(small("1"), small("2"))
    (segment,) = home.segments()
    half = segment.read_bytes()[:-20]
    segment.unlink()
    segment.with_name(segment.name + ".open").write_bytes(half)


def test_a_segment_whose_writer_is_gone_is_loaded_up_to_its_last_whole_record(tmp_path: Path) -> None:
    home = Home(tmp_path)
    leave_half_open(home)
    done = home.kobra("run")
    assert (done.returncode, home.values("select visit_id from visits")) == (0, ["1"])
    assert "set aside" in done.stderr
    assert len(list(home.raw.glob("*/*.torn"))) == 1


def test_a_loader_that_waits_for_writers_who_are_gone_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    leave_half_open(home)
    monkeypatch.setattr(rawstore, "recover", lambda _: [])
    home.run()
    assert home.values("select visit_id from visits") == []


def test_rejects_lists_each_with_its_reason_and_nothing_of_its_content(settled: Home) -> None:
    text, lines = settled.kobra("rejects"), settled.kobra("rejects", "--json")
    assert (text.returncode, lines.returncode) == (0, 0)
    rows = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [row["reason"] for row in rows] == ["not_json", "empty"]
    assert {row["reason"] for row in rows} <= REJECTS.keys()
    assert "2 rejected" in text.stdout
    assert "SECRETO" not in text.stdout + lines.stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_who_looks_away_is_no_error(settled: Home, unbuffered: str) -> None:
    command = f"{KOBRA} status | true"
    environ = os.environ | {"KOBRA_HOME": str(settled.path), "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], env=environ, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_sample_is_the_same_for_a_seed_and_can_be_brought_in(home: Home, tmp_path: Path) -> None:
    def sample(name: str, *arguments: str) -> bytes:
        assert home.kobra("sample", tmp_path / name, "--count", "60", *arguments).returncode == 0
        return (tmp_path / name / "sample.ndjson").read_bytes()

    first, again, other = sample("a"), sample("b"), sample("c", "--seed", "2")
    assert first == again != other
    assert first.count(b"\n") == 60
    done = home.kobra("import", tmp_path / "a" / "sample.ndjson")
    assert done.stdout.startswith("60 deliveries read, 60 landed, 0 known already\n")


def test_sending_a_sample_without_a_key_exits_2(home: Home) -> None:
    done = home.kobra("sample", "http://127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--key" in done.stderr


# ---------------------------------------------------------------- rejects that a fix made readable


def read_none_of_them(delivery: rawstore.Delivery) -> list[Visit | Reject]:
    """A reader with a fault: it cannot read what says `difícil`."""
    return [Reject("too_deep", "Not understood yet.")] if "difícil" in delivery.body else read_body(delivery)


def put_the_fault_in() -> None:
    batches.read_body = read_none_of_them


@pytest.fixture
def faulty(tmp_path: Path) -> Home:
    """A home whose first load was done by a reader with a fault."""
    home = Home(tmp_path)
    home.land(
        Post(encoded(small("1", comment="fácil")), later(seconds=0)),
        Post(encoded(small("1", comment="difícil", checklist=[{"answers": [{"value": "a"}]}])), later(seconds=1)),
        Post(encoded(small("2", comment="difícil", phones=["1"])), later(seconds=2)),
        Post(encoded(small("2", comment="difícil", phones=["1"])), later(seconds=3)),
        Post(b"{", later(seconds=4)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "read_body", read_none_of_them)
        home.run()
    assert home.rows("select visit_id, comment, versions from visits") == [
        {"visit_id": "1", "comment": "fácil", "versions": 1}
    ]
    assert len(home.values("from rejects")) == 4
    return home


def assert_all_read(home: Home) -> None:
    assert home.rows("select visit_id, comment, versions from visits order by all") == [
        {"visit_id": "1", "comment": "difícil", "versions": 2},
        {"visit_id": "2", "comment": "difícil", "versions": 1},
    ]
    assert home.values("select reason from rejects") == ["not_json"]
    assert home.values("select outcome from deliveries order by delivery_id") == [
        "new", "new", "new", "duplicate", "rejected",
    ]  # fmt: skip
    assert home.values("select value from answers") == ["a"]
    assert home.values("select value from phones") == ["1"]
    assert home.values("select count(*) from segments") == [1]


def test_after_a_fix_the_rejects_are_read_again_and_become_visits(faulty: Home) -> None:
    assert faulty.run().deliveries == 0
    assert len(faulty.values("from rejects")) == 4
    done = faulty.kobra("load", "--retry-rejects")
    assert (done.returncode, done.stderr) == (0, "")
    assert faulty.kobra("run").returncode == 0
    assert_all_read(faulty)


@pytest.mark.parametrize("number", [18, 21])
def test_reading_the_rejects_again_may_be_cut_short_and_repeated(faulty: Home, number: int) -> None:
    retry = ("load", "--retry-rejects")
    finish(faulty.path, Plan(dies_in_query=number, arguments=retry))
    assert finish(faulty.path, Plan(arguments=retry)) == 0
    assert finish(faulty.path, Plan()) == 0
    assert_all_read(faulty)
