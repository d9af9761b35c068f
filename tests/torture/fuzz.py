"""The raw store's reader, on files as nobody ever wrote them: it never fails, gives back every whole record exactly
and nothing else, tells damage where there is some, and stays small.

The files are thought up by coverage: see `tests.torture.fuzz_target`, which runs in a process of its own.
"""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.torture.running import PROJECT
from tests.torture.table import CannotRunHereError, Row, Trial

MUTANTS = ("read-without-checksum", "trust-every-frame", "give-up-the-line")
MUTANT_SECONDS = 30  # each is caught within two


def prove(seconds: int, folder: Path) -> Row:
    """So many seconds of files."""
    if find_spec("atheris") is None:
        raise CannotRunHereError("needs atheris, of which there is no build for this Python")
    honest, files = _read(folder / "sound", seconds)
    mutants = {name: _read(folder / name, MUTANT_SECONDS, name)[0] for name in MUTANTS}
    return Row("any bytes at all", f"{files:,} files in {seconds} s", honest, mutants, counts_deliveries=False)


def _read(folder: Path, seconds: int, *mutant: str) -> tuple[Trial, int]:
    """What was found, and after how many files."""
    folder.mkdir()
    target = [sys.executable, "-m", "tests.torture.fuzz_target", str(folder), str(seconds), *mutant]
    # By way of a shell: libFuzzer takes for the target's own memory what the process had that started it.
    command = ["sh", "-c", '"$@"; exit $?', "sh", *target]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode(errors="replace")
    tried = re.search(r"^Done (\d+) runs", said, re.M)
    trial = Trial()
    trial.expect(done.returncode == 0 and tried is not None, _last_error(said) or f"it ended with {done.returncode}")
    return trial, int(tried[1]) if tried else 0


def _last_error(said: str) -> str:
    raised = re.findall(r"^\w*(?:Error|Exception|Exit|Interrupt)\b.*", said, re.M)
    errors = raised or re.findall(r"^==\d+== ?(?:ERROR|libFuzzer)\b.*", said, re.M)
    return errors[-1][:100] if errors else ""
