"""What a payload holds does nothing on a terminal, and any terminal and any home will do."""

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import first_of
from kobra_home import KOBRA, Home, asked, small

from pipelines.terminal import shown

EVIL = "\x1b[2J\x1b]0;owned\x07rm -rf\n\rnext\u202etxt\u0085" + "x" * 5000


def test_control_characters_and_line_breaks_are_escaped_and_long_texts_are_cut() -> None:
    told = shown(EVIL)
    assert told.isprintable()
    assert "\\x1b[2J" in told
    assert "\\u202e" in told
    assert len(told) < 200
    assert shown("Cliente ya pagó 👍") == "Cliente ya pagó 👍"


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("terminal") / "home")
    home.land(
        small("1", tagName=EVIL),
        asked("2", {"answerTypeID": 1, "value": EVIL, "answerName": EVIL}, tagName="¿Ñandú? 👍"),
    )
    assert home.kobra("run").returncode == 0
    return home


def status(home: Home, **environ: str) -> subprocess.CompletedProcess[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KOBRA_", "LC_", "LANG"))}
    environ = clean | {"KOBRA_HOME": str(home.path)} | environ
    return subprocess.run([KOBRA, "status"], env=environ, capture_output=True, check=False)


def test_status_shows_nothing_that_a_terminal_obeys(evil: Home) -> None:
    done = status(evil, PYTHONIOENCODING="utf-8")
    assert b"\x1b" not in done.stdout
    assert max(map(len, done.stdout.decode().splitlines())) < 400
    assert "¿Ñandú? 👍" in done.stdout.decode()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_status_shows_its_screen_whatever_the_terminal_can_write(evil: Home, encoding: str) -> None:
    done = status(evil, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"raw store" in done.stdout


@pytest.mark.parametrize("name", first_of(["a b;c&ünï", "ünï\\b"]))
def test_a_home_of_any_name_works(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    home.land(small("1", externalID="7"))
    for command in (("run",), ("status",), ("export", "visits", "--format", "csv"), ("verify",)):
        done = home.kobra(*command)
        assert done.returncode == 0, done.stderr
    assert home.kobra("forget", "--yes", "--source", "lender_a", "--account", "7").returncode == 0
    assert list((home.path / "exports").iterdir())


@pytest.mark.parametrize("name", ["a?b", "100%", "a#b", "{{ x }}", "it's", '"q"', "c*", "[d]"])
def test_a_home_whose_name_cannot_work_is_refused_at_once(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    for command in (("run",), ("import", "x"), ("status",)):
        done = home.kobra(*command)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "name another" in done.stderr
    assert not home.path.exists()


@pytest.mark.slow
def test_doctor_does_not_mind_files_that_go_away_while_it_looks(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.land(small("1"))
    assert home.kobra("run").returncode == 0
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            folder = home.path / "exports" / f"{number % 50}"
            folder.mkdir(parents=True, exist_ok=True)
            for name in range(20):
                (folder / f"{name}").touch(mode=0o600)
            shutil.rmtree(folder)
            number += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(3):
            done = home.kobra("doctor")
            assert "failed with" not in done.stderr
            assert "leftovers" in done.stdout
    finally:
        stop.set()
        thread.join()
