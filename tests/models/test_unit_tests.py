"""The unit tests of the models, run as an analyst runs them; and that they can fail."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SQL = Path(__file__).parents[2] / "sql"
BIN = Path(sys.executable).parent

FAULTS = [  # a model, what stands there, what would be wrong, which test says so
    (
        "marts/promises.sql",
        "paid_amount >= promise_threshold * cast(promise_amount as decimal(28, 2))",
        "paid_amount > promise_threshold * cast(promise_amount as decimal(28, 2))",
        "promises.a_promise_is_kept_at_exactly_the_threshold",
    ),
    (
        "marts/recoveries.sql",
        "credited.paid_date - visits.local_date <= credited.recovery_days",
        "credited.paid_date - visits.local_date < credited.recovery_days",
        "recoveries.a_payment_is_credited_on_the_last_of_the_days_of_recovery_and_not_the_day_after",
    ),
    (
        "intermediate/int_visits.sql",
        "then contact_made and contact_class in ('right_party', 'guarantor')",
        "then contact_made and coalesce(contact_class in ('right_party', 'guarantor'), false)",
        "int_visits.unknown_contact_is_null_and_not_false",
    ),
    (
        "intermediate/int_visits.sql",
        "least(start_before, start_after)",
        "greatest(start_before, start_after)",
        "int_visits.a_start_in_an_overlap_is_the_earlier_instant",
    ),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a few visits, so that every table is there: dbt asks them for their columns."""
    path = tmp_path_factory.mktemp("home")
    for command in (["sample", path, "--count", "20"], ["import", path / "sample.ndjson"], ["run"]):
        subprocess.run([BIN / "kobra", *command], env=environment(path), check=True, capture_output=True)
    return path


def environment(home: Path) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("KOBRA_", "DBT_"))}
    return others | {"KOBRA_HOME": str(home)}


def dbt_test(project: Path, home: Path, target: Path, *selected: str) -> tuple[dict[str, str], str]:
    """By `model.test`, what became of the unit tests selected; and everything that dbt said."""
    paths = ("--target-path", target, "--log-path", target, "--profiles-dir", home / "warehouse" / "dbt")
    told = subprocess.run(
        [BIN / "dbt", "--quiet", "--no-use-colors", "test", "--select", *selected, *paths],
        cwd=project,
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    said = told.stdout + told.stderr
    results = target / "run_results.json"
    assert results.exists(), said
    states = {
        each["unique_id"].removeprefix("unit_test.kobra_visits."): each["status"]
        for each in json.loads(results.read_text())["results"]
    }
    assert (told.returncode == 0) == (set(states.values()) == {"pass"}), said
    return states, said


def test_every_unit_test_of_the_models_passes(home: Path, tmp_path: Path) -> None:
    states, said = dbt_test(SQL, home, tmp_path, "test_type:unit")
    assert len(states) > 100, said
    assert set(states.values()) == {"pass"}, said


@pytest.mark.slow
def test_a_model_that_is_wrong_fails_the_test_that_says_so(home: Path, tmp_path: Path) -> None:
    project = tmp_path / "sql"
    shutil.copytree(SQL, project, ignore=shutil.ignore_patterns("target", "logs"))
    for model, right, wrong, _ in FAULTS:
        path = project / "models" / model
        text = path.read_text()
        assert text.count(right) == 1, f"{model} has no longer: {right}"
        path.write_text(text.replace(right, wrong))
    caught = [name for *_, name in FAULTS]
    untouched = "int_visits.a_promise_needs_a_completed_visit_and_is_never_unknown"
    names = [name.partition(".")[2] for name in (*caught, untouched)]
    states, said = dbt_test(project, home, tmp_path / "target", *names)
    assert states == dict.fromkeys(caught, "fail") | {untouched: "pass"}, said
