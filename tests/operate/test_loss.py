"""What is gone or damaged is noticed, said with the remedy, and never made worse by a rebuild."""

import os
import pty
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from conftest import first_of
from kobra_home import KOBRA, Home, encoded, later, small
from kobra_home import Post as Delivered


def fed(path: Path) -> Home:
    home = Home(path)
    for day in range(3):
        posts = (small(f"d{day}-{n}", externalID=str(n), comment="x" * 500) for n in range(50))
        home.land(*(Delivered(encoded(post), later(days=day, seconds=n)) for n, post in enumerate(posts)))
    return home


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = fed(tmp_path_factory.mktemp("loss") / "home")
    assert home.kobra("run").returncode == 0
    return home


@pytest.fixture
def home(built: Home, tmp_path: Path) -> Home:
    shutil.copytree(built.path, tmp_path / "home")
    return Home(tmp_path / "home")


def first(home: Home) -> Path:
    return home.segments()[0]


# ---------------------------------------------------------------- raw segments that are gone


GONE: dict[str, tuple[Callable[[Home], object], str]] = {
    "a segment": (lambda home: first(home).unlink(), "2026-03-01: 1 segment(s) with 50 deliveries"),
    "a day": (lambda home: shutil.rmtree(first(home).parent), "2026-03-01: 1 segment(s) with 50 deliveries"),
    "all of it": (lambda home: shutil.rmtree(home.raw), "2026-03-03: 1 segment(s) with 50 deliveries"),
}


@pytest.mark.parametrize("what", first_of(GONE))
def test_raw_segments_that_are_gone_are_told_by_every_command(home: Home, what: str) -> None:
    remove, told = GONE[what]
    remove(home)
    verify, status, doctor = home.kobra("verify"), home.kobra("status"), home.kobra("doctor")
    assert (verify.returncode, status.returncode, doctor.returncode) == (1, 1, 1)
    assert told in verify.stdout
    assert told in status.stdout
    assert told in doctor.stdout
    run = home.kobra("run")
    assert (run.returncode, told in run.stderr) == (0, True)
    assert home.values("select count(*) from visits") == [150]


@pytest.mark.slow
def test_all_that_is_there_is_not_missed_however_it_was_compressed_or_put_together(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    for n in range(40):
        home.land(Delivered(encoded(small(f"v{n}")), later(seconds=n)))
    assert home.kobra("run").returncode == 0
    assert len(home.segments()) == 1
    assert home.kobra("verify").returncode == 0
    assert home.kobra("run").returncode == 0
    assert "0 segments waiting" not in home.kobra("status").stdout
    home.files.working.unlink()
    assert home.kobra("run").returncode == 0
    assert home.values("select count(*) from visits") == [40]


def test_a_rebuild_that_would_have_less_says_so_and_is_not_done_unless_told(home: Home) -> None:
    first(home).unlink()
    home.files.working.unlink()
    done = home.kobra("run")
    assert done.returncode == 2
    assert "2026-03-01: 1 segment(s) with 50 deliveries" in done.stderr
    assert "--accept-loss" in done.stderr
    assert home.values("select count(*) from visits") == [150]
    assert home.kobra("load").returncode == 2
    assert home.kobra("run", "--accept-loss").returncode == 0
    assert home.values("select count(*) from visits") == [100]


def test_on_a_terminal_it_asks(home: Home) -> None:
    first(home).unlink()
    home.files.working.unlink()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    for answer, code, visits in ((b"n\n", 2, 150), (b"y\n", 0, 100)):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [KOBRA, "run"], env=environ | {"KOBRA_HOME": str(home.path)}, stdin=theirs, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            os.write(ours, answer)
            process.communicate(timeout=120)
        os.close(ours)
        os.close(theirs)
        assert process.returncode == code
        assert home.values("select count(*) from visits") == [visits]


@pytest.mark.slow
def test_days_that_retain_removed_are_not_missed_and_a_rebuild_without_them_is_asked_for(tmp_path: Path) -> None:
    home = fed(tmp_path / "home")
    home.land(Delivered(encoded(small("new")), later(days=200)))
    assert home.kobra("run").returncode == 0
    assert "3 raw partition(s)" in home.kobra("retain", "--raw-days", "30").stdout
    assert home.kobra("verify").returncode == 0
    assert "gone" not in home.kobra("status").stdout
    home.files.working.unlink()
    assert home.kobra("run").returncode == 2
    assert home.kobra("run", "--accept-loss").returncode == 0
    assert home.values("select visit_id from visits") == ["new"]


# ---------------------------------------------------------------- database files that are damaged


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def cut_to_nothing(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """One byte in the middle of each block of 256 KiB: whatever is read is damaged."""
    content = bytearray(path.read_bytes())
    for at in range(12_288 + 1000, len(content), 262_144):
        content[at] ^= 0x55
    path.write_bytes(content)


DAMAGES = (cut, cut_to_nothing, flip)


@pytest.mark.parametrize("damage", first_of(DAMAGES))
def test_a_damaged_working_file_is_made_anew_by_the_next_run(home: Home, damage: Callable[[Path], None]) -> None:
    damage(home.files.working)
    doctor = home.kobra("doctor")
    assert doctor.returncode == 1
    assert "working.duckdb is damaged" in doctor.stdout
    assert "`kobra run` makes it anew" in doctor.stdout
    home.land(small("after"))
    done = home.kobra("run")
    assert done.returncode == 0, done.stderr
    assert "working.duckdb is damaged" in done.stderr
    assert home.values("select count(*) from visits") == [151]
    assert not list(home.files.warehouse.glob("damaged*"))
    assert home.kobra("status").returncode == 0


@pytest.mark.parametrize("damage", first_of(DAMAGES))
def test_a_damaged_working_file_is_said_with_the_command_that_mends_it(
    home: Home, damage: Callable[[Path], None]
) -> None:
    damage(home.files.working)
    for command in (("build", "--full-refresh"), ("publish",)):
        done = home.kobra(*command)
        if done.returncode == 0:  # a publish that copied what it did not read
            continue
        assert done.returncode == 1
        assert "working.duckdb is damaged" in done.stderr
        assert "`kobra run`" in done.stderr


def test_where_the_raw_store_has_less_it_is_not_made_anew(home: Home) -> None:
    flip(home.files.working)
    first(home).unlink()
    home.land(small("after"))
    done = home.kobra("run")
    assert done.returncode == 2
    assert "--accept-loss" in done.stderr
    assert home.values("select count(*) from visits") == [150]
    status = home.kobra("status")
    assert status.returncode == 1
    assert "the last run failed" in status.stdout


@pytest.mark.parametrize("damage", first_of(DAMAGES))
def test_a_damaged_published_file_is_said_and_publishing_mends_it(home: Home, damage: Callable[[Path], None]) -> None:
    home.files.published.chmod(0o600)
    damage(home.files.published)
    status, doctor = home.kobra("status"), home.kobra("doctor")
    assert (status.returncode, doctor.returncode) == (1, 1)
    assert "`kobra publish`" in status.stdout
    assert home.kobra("publish").returncode == 0
    assert home.kobra("status").returncode == 0
    assert home.values("select count(*) from visits") == [150]


# ---------------------------------------------------------------- the published file and its readers


def test_it_is_published_for_reading_alone_and_nothing_stands_beside_it(home: Home) -> None:
    assert home.files.published.stat().st_mode & 0o777 == 0o400
    wal = home.files.published.with_name("analytics.duckdb.wal")
    wal.write_bytes(b"of another program")
    assert "kobra run removes it" in home.kobra("doctor").stdout
    assert home.kobra("run").returncode == 0
    assert not wal.exists()
    assert home.values("select count(*) from visits") == [150]


def test_a_published_path_that_is_a_symbolic_link_keeps_being_one(home: Home, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    shutil.move(home.files.published, shelf / "visits.duckdb")
    home.files.published.symlink_to(shelf / "visits.duckdb")
    home.land(small("new"))
    assert home.kobra("run").returncode == 0
    assert home.files.published.is_symlink()
    assert [each.name for each in shelf.iterdir()] == ["visits.duckdb"]
    with duckdb.connect(str(shelf / "visits.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from kobra.visits").fetchone() == (151,)


def test_doctor_says_who_holds_the_published_file(home: Home) -> None:
    with duckdb.connect(str(home.files.published), read_only=True):
        assert f"process {os.getpid()} " in home.kobra("doctor").stdout
    home.files.published.chmod(0o600)
    with duckdb.connect(str(home.files.published)):
        told = home.kobra("doctor").stdout
    assert f"process {os.getpid()} " in told
    assert "has it open to write" in told
