"""A clock that is ahead makes nothing old: what is kept for so many days is reckoned from what came."""

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kobra_home import KOBRA, Home, encoded, small
from kobra_home import Post as Delivered

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
NOW = datetime.now(UTC).replace(microsecond=0)
needs_faketime = pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime")


def kobra(home: Home, *arguments: str, ahead_days: int = 0) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    if ahead_days:
        environ |= {
            "FAKETIME": f"+{ahead_days}d",
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    environ |= {"KOBRA_HOME": str(home.path)}
    return subprocess.run([KOBRA, *arguments], env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("clock") / "home")
    for days in (0, 5, 100):
        home.land(Delivered(encoded(small(f"v{days}", client="Ana")), NOW - timedelta(days=days)))
    assert kobra(home, "run").returncode == 0
    return home


@pytest.fixture
def home(built: Home, tmp_path: Path) -> Home:
    shutil.copytree(built.path, tmp_path / "home")
    return Home(tmp_path / "home")


def named(home: Home) -> list[str]:
    return home.values("select visit_id from visits where client_name is not null order by all")


@needs_faketime
def test_retain_under_a_clock_that_is_ahead_refuses_with_a_sentence_and_removes_nothing(home: Home) -> None:
    done = kobra(home, "retain", "--raw-days", "30", "--pii-days", "30", ahead_days=800)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "more than a day after the newest delivery and the last run" in done.stderr
    assert len(list(home.raw.iterdir())) == 3
    assert kobra(home, "run").returncode == 0
    assert named(home) == ["v0", "v100", "v5"]


@pytest.mark.slow
@needs_faketime
def test_after_a_run_under_that_clock_days_are_reckoned_from_the_newest_delivery(home: Home) -> None:
    assert kobra(home, "run", ahead_days=800).returncode == 0
    done = kobra(home, "retain", "--raw-days", "30", "--pii-days", "30", ahead_days=800)
    assert done.returncode == 0, done.stderr
    assert "1 raw partition(s)" in done.stdout
    assert named(home) == ["v0", "v5"]


@pytest.mark.slow
def test_under_a_clock_that_is_right_days_are_counted_as_ever(home: Home) -> None:
    done = kobra(home, "retain", "--raw-days", "3", "--pii-days", "3")
    assert "2 raw partition(s)" in done.stdout
    assert named(home) == ["v0"]


def test_retain_removes_a_partition_behind_a_symbolic_link(home: Home, tmp_path: Path) -> None:
    partition = min(home.raw.iterdir())
    shutil.move(partition, tmp_path / "elsewhere")
    partition.symlink_to(tmp_path / "elsewhere")
    done = kobra(home, "retain", "--raw-days", "30")
    assert done.returncode == 0, done.stderr
    assert "1 raw partition(s)" in done.stdout
    assert not partition.exists()
    assert not (tmp_path / "elsewhere").exists()
    assert kobra(home, "verify").returncode == 0
