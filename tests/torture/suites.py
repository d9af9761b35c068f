"""What pytest proves about load and build, with many more tries: its own counts, as rows."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.torture.running import PROJECT
from tests.torture.table import Row, Trial


def prove_kills(times: int, folder: Path) -> Row:
    """Loads and builds that are killed, and eight loads at once; what is caught stands among the tests."""
    return _row("load or build killed anywhere; 8 at once", f"{times} kills each", folder, {"KOBRA_KILLS": times},
                "tests/pipelines/test_interrupted.py", "tests/models/test_build_killed.py")  # fmt: skip


def prove_order(times: int, folder: Path) -> Row:
    """Streams of versions, drawn at random."""
    return _row("any order, batching, resends", f"{times} random streams of 2 to 12 histories", folder,
                {"KOBRA_EXAMPLES": times}, "tests/pipelines/test_order_and_batching.py",
                "tests/pipelines/test_versions.py")  # fmt: skip


def prove_marts(times: int, folder: Path) -> Row:
    """Histories built run by run and at once; models that forget something stand among the tests."""
    return _row("tables built run by run", f"{times} random histories", folder, {"KOBRA_STREAMS": times},
                "tests/models/test_incremental.py")  # fmt: skip


def prove_requests(times: int, folder: Path) -> Row:
    """Requests drawn from a description of the receiver, with headers that nobody asked for."""
    return _row("odd requests", f"{times} of each of 8 kinds", folder, {"KOBRA_EXAMPLES": times},
                "tests/receiver/test_requests.py")  # fmt: skip


def prove_drift(_times: int, folder: Path) -> Row:
    """Every field in every wrong form."""
    return _row("schema drift", "every field in every wrong form", folder, {}, "tests/pipelines/test_drift.py")


def prove_poison(_times: int, folder: Path) -> Row:
    """Deliveries that nobody can read among a thousand that everybody can."""
    return _row("a poisonous delivery", "every kind, among good ones", folder, {}, "tests/pipelines/test_poison.py")


def prove_erasure(_times: int, folder: Path) -> Row:
    """A person who is forgotten, looked for in every file."""
    return _row("erasure", "raw store, warehouse and snapshot", folder, {}, "tests/pipelines/test_erasure.py")


def prove_publishing(times: int, folder: Path) -> Row:
    """Readers in a loop over many publishes."""
    return _row("readers during publishing", f"{times} publishes under 4 readers", folder,
                {"KOBRA_PUBLISHES": times, "KOBRA_READERS": 4}, "tests/pipelines/test_publish.py")  # fmt: skip


def _row(failure: str, tried: str, folder: Path, numbers: dict[str, int], *files: str) -> Row:
    """Run these tests with these numbers."""
    report = folder / "report.xml"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "slow or not slow",
            f"--junitxml={report}",
            f"--basetemp={folder / 'tmp'}",
            *files,
        ],
        cwd=PROJECT,
        env=clean | {name: str(number) for name, number in numbers.items()},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    trial, passed = _counted(report)
    caught = sum("_caught" in name for name in passed)
    note = f"mutants caught: {caught}" if caught else ""
    return Row(failure, f"{tried}: {len(passed)} tests", trial, counts_deliveries=False, note=note)


def _counted(report: Path) -> tuple[Trial, list[str]]:
    """The faults that pytest reports, and which tests passed. No test at all is a fault too."""
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    ended = [(case.get("name", ""), {child.tag for child in case}) for case in cases]
    passed = [name for name, tags in ended if not tags & {"failure", "error", "skipped"}]
    trial = Trial(faults=[f"{name} failed" for name, tags in ended if tags & {"failure", "error"}])
    trial.expect(bool(passed), "no test was run")
    return trial, passed
