"""The notebooks run as scripts over what was published, and say what they found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dashboards import make_home

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.getbasetemp() / "dashboard" / "home")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("explore", "marts.outcomes_daily"),
        ("outcomes", "first_visit_resolution"),
        ("agents", "productive_rate"),
        ("dashboard", ""),
    ],
)
def test_a_notebook_runs_as_a_script(home: Path, name: str, says: str) -> None:
    done = subprocess.run(
        [sys.executable, NOTEBOOKS / f"{name}.py"],
        env=os.environ | {"KOBRA_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert says in done.stdout
