"""The wheel carries all that the commands need."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("pipelines", "receiver", "notebooks", "sql", "pyproject.toml", "README.md", "LICENSE")
IGNORED = shutil.ignore_patterns("__pycache__", "target", "logs")


@pytest.fixture(scope="module")
def kobra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a wheel, in an environment that has the libraries and not the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / "checkout" / part, ignore=IGNORED)
        else:
            shutil.copy(source, folder / "checkout" / part)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    alone = ["--no-deps", "--no-index"]
    subprocess.run(
        [*pip, "wheel", *alone, "--no-build-isolation", "-w", folder, folder / "checkout"], check=True, cwd=folder
    )
    shutil.rmtree(folder / "checkout")
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", *alone, wheel], check=True, cwd=folder)
    (packages,) = (folder / "venv" / "lib").glob("*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))  # a finder of a checkout is not read there
    return folder / "venv" / "bin" / "kobra"


def test_the_demo_runs_from_a_wheel_away_from_the_checkout(kobra: Path, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("KOBRA_", "PYTHON"))}
    done = subprocess.run(
        [kobra, "demo", "--count", "60"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "What came of them" in done.stdout
    assert (tmp_path / "kobra-demo" / "warehouse" / "analytics.duckdb").exists()
    doctor = subprocess.run(
        [kobra.with_name("python"), "-c", "import pipelines, notebooks; print(pipelines.__file__);"
         " from pathlib import Path; print(Path(notebooks.__file__).with_name('dashboard.css').exists())"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    place, has_style = doctor.stdout.split()
    assert (place.startswith(str(kobra.parents[1])), has_style) == (True, "True")
