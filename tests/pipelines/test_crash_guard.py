"""A delivery of which the reading process dies is found and put into quarantine, in the same run; all others load."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kobra_home import KOBRA, Home, later, small
from kobra_home import Post as Delivered
from kobra_home import encoded as body

# Stands for a fault in a library that reads bodies: every process that meets the word does what it says.
FAULTY_LIBRARY = """
import os, signal, sys, time
if not os.environ.get("SOUND"):
    import pipelines.load.parse as reading
    honest = reading._parse_usual
    def parse(text):
        if "SEGFAULT" in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "STANDSTILL" in text:
            time.sleep(1000)
        return honest(text)
    reading._parse_usual = parse
    import pipelines.load.crash_guard
    pipelines.load.crash_guard._PATIENCE_S = 5.0
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "faulty_library.py").write_text(FAULTY_LIBRARY)
    (folder / "sitecustomize.py").write_text("import faulty_library\n")
    return folder


def kobra(home: Home, library: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    environ |= {"KOBRA_HOME": str(home.path), "PYTHONPATH": str(library)} | more
    return subprocess.run([KOBRA, *arguments], env=environ, capture_output=True, text=True, check=False)


def land(home: Home, *deadly: int, of: int = 40) -> None:
    posts = [small(f"V{number}", comment="SEGFAULT" if number in deadly else "fine") for number in range(of)]
    for at in range(0, of, 10):  # several segments
        home.land(*(Delivered(body(post), later(seconds=at + n)) for n, post in enumerate(posts[at : at + 10])))


def outcomes(home: Home) -> dict[str, int]:
    found = home.rows("select outcome, count(*) as n from deliveries group by all")
    return {row["outcome"]: row["n"] for row in found}


def test_the_deadly_ones_are_rejected_with_a_reason_and_the_others_load_in_the_same_run(
    tmp_path: Path, library: Path
) -> None:
    home = Home(tmp_path / "home")
    land(home, 7, 23, 24)
    done = kobra(home, library, "run")
    assert done.returncode == 0, done.stderr
    assert outcomes(home) == {"new": 37, "rejected": 3}
    assert home.values("select distinct reason from rejects") == ["crashed_reader"]
    assert "SIGSEGV" in done.stderr
    assert "SEGFAULT" not in done.stderr


@pytest.mark.slow
def test_status_and_rejects_tell_it(tmp_path: Path, library: Path) -> None:
    home = Home(tmp_path / "home")
    land(home, 7)
    kobra(home, library, "run")
    status = kobra(home, library, "status")
    assert status.returncode == 1
    assert "crashed_reader 1" in status.stdout
    assert "ended the process that read" in status.stdout
    assert "crashed_reader" in kobra(home, library, "rejects").stdout


@pytest.mark.slow
def test_later_runs_do_not_die_of_it_again_and_a_library_that_was_mended_reads_it(
    tmp_path: Path, library: Path
) -> None:
    home = Home(tmp_path / "home")
    land(home, 7)
    kobra(home, library, "run")
    home.land(small("next"))
    done = kobra(home, library, "run")
    assert (done.returncode, "SIGSEGV" in done.stderr) == (0, False)
    assert kobra(home, library, "load", "--retry-rejects", SOUND="1").returncode == 0
    assert kobra(home, library, "run", SOUND="1").returncode == 0
    assert outcomes(home) == {"new": 41}


@pytest.mark.slow
def test_a_rebuild_finds_it_again(tmp_path: Path, library: Path) -> None:
    home = Home(tmp_path / "home")
    land(home, 7)
    kobra(home, library, "run")
    for path in home.files.warehouse.iterdir():
        if path.is_file():
            path.unlink()
    assert kobra(home, library, "run").returncode == 0
    assert outcomes(home) == {"new": 39, "rejected": 1}


@pytest.mark.slow
def test_forget_and_import_get_over_it(tmp_path: Path, library: Path) -> None:
    home = Home(tmp_path / "home")
    land(home, 7)
    home.land(small("theirs", externalID="110"))
    done = kobra(home, library, "forget", "--yes", "--source", "lender_a", "--account", "110")
    assert done.returncode == 0, done.stderr
    assert outcomes(home) == {"new": 39, "rejected": 1}
    lines = [
        json.dumps(small(f"W{n}", externalID="110" if n == 3 else "111", comment="SEGFAULT" * (n == 5)))
        for n in range(9)
    ]
    (tmp_path / "in.ndjson").write_text("\n".join(lines))
    done = kobra(home, library, "import", "--source", "lender_a", str(tmp_path / "in.ndjson"))
    assert done.returncode == 0, done.stderr
    assert kobra(home, library, "run").returncode == 0
    assert outcomes(home) == {"new": 46, "rejected": 2}
    assert home.values("select count(*) from visits where account_id = '110'") == [0]


@pytest.mark.slow
def test_a_delivery_at_which_the_reader_stands_still_is_found_once_that_process_was_ended(
    tmp_path: Path, library: Path
) -> None:
    home = Home(tmp_path / "home")
    home.land(small("good"), small("bad", comment="STANDSTILL"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    environ |= {"KOBRA_HOME": str(home.path), "PYTHONPATH": str(library)}
    with subprocess.Popen([KOBRA, "run"], env=environ) as process:
        while not (home.files.warehouse / "reading").exists() or not (home.files.warehouse / "reading").read_text():
            pass
        process.send_signal(signal.SIGKILL)
    assert kobra(home, library, "run").returncode == 0
    assert outcomes(home) == {"new": 1, "rejected": 1}


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_reads_rejects_nothing(tmp_path: Path, library: Path) -> None:
    home = Home(tmp_path / "home")
    land(home)
    home.files.warehouse.mkdir()
    (home.files.warehouse / "reading").write_text("".join(f"{json.dumps(str(path))}\n" for path in home.segments()))
    assert kobra(home, library, "run").returncode == 0
    assert outcomes(home) == {"new": 40}


def test_without_the_guard_every_run_dies_of_it(tmp_path: Path, library: Path) -> None:
    home = Home(tmp_path / "home")
    land(home, 7)
    unguarded = (
        "import sys; from pipelines import cli; from pipelines.load import crash_guard;"
        " crash_guard.examine = lambda _: None; sys.argv = ['kobra', 'run']; sys.exit(cli.entry())"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    environ |= {"KOBRA_HOME": str(home.path), "PYTHONPATH": str(library)}
    done = subprocess.run([sys.executable, "-c", unguarded], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "again and again" in done.stderr
