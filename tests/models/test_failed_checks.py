"""A build that went wrong is not published, and says what a person can do about it without quoting anybody's data."""

import re
import shlex
import subprocess
from pathlib import Path

import duckdb
import pytest
from built_home import CANARIES, CODES, BuiltHome, own_project, settled, visit

LOST = """
insert into landed.deliveries by name
select * replace ('ghost' as delivery_id, 'ghost' as visit_id) from landed.deliveries
where visit_id is not null order by delivery_id limit 1
"""
CANNOT_BE_BUILT = "select cast(client_name as integer) as number from {{ ref('visits') }} where visit_id = 'Z'"
OWN_CHECK = """
-- No day has been looked at.

select "check", local_date -- a reserved word
from {{ ref('data_quality') }} where "check" = 'gps_missing'
"""


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> BuiltHome:
    return settled(tmp_path_factory).copy(tmp_path / "a home & of mine")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the models to change."""
    return own_project(tmp_path, monkeypatch)


def failed_rows(told: str) -> list[list[tuple[object, ...]]]:
    """What the commands in a message answer."""
    found = []
    for part in told.split("See them with:\n")[1:]:
        program, readonly, database, query, *_ = shlex.split(part.partition("\nkobra: ")[0])
        assert (program, readonly) == ("duckdb", "-readonly")
        with duckdb.connect(database, read_only=True) as connection:
            found.append(connection.execute(query).fetchall())
    return found


def test_a_check_that_fails_is_named_with_its_rows_and_nothing_is_published_until_it_is_mended(
    home: BuiltHome,
) -> None:
    before = home.files.published.read_bytes()
    home.working(LOST)
    home.land(visit("new", 6))
    done = home.kobra("run")
    assert (done.returncode, done.stdout) == (1, "")
    assert "check always_true_reconciliation_is_balanced of reconciliation failed for 1 row(s)" in done.stderr
    assert done.stderr.endswith("\nkobra: nothing is published; what people read stays as it was\n")
    ((row,),) = failed_rows(done.stderr)
    assert row[0] == "lender_a"
    assert home.files.published.read_bytes() == before

    done = home.kobra("publish")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "kobra build" in done.stderr
    assert home.files.published.read_bytes() == before

    home.working("delete from landed.deliveries where delivery_id = 'ghost'")
    assert home.here("run") == 0
    assert home.values("select count(*) from w.marts.visits where visit_id = 'new'") == [1]


def test_a_row_that_is_there_twice_stops_a_build_that_looks_at_nothing_but_what_came_in(home: BuiltHome) -> None:
    home.land(visit("new", 6))
    assert home.here("load") == 0
    home.working("insert into landed.visits from landed.visits where visit_id = 'new'")
    done = home.kobra("build")
    assert done.returncode == 1
    assert (
        "check grain_int_visit_checklists_source__visit_id of int_visit_checklists failed for 1 row(s)" in done.stderr
    )
    assert failed_rows(done.stderr) == [[("lender_a", "new", "2 rows with this key")]]


def test_a_row_left_behind_under_another_agent_stops_a_build_of_the_visits_it_speaks_of(home: BuiltHome) -> None:
    home.land(visit("new", 6), visit("gone", 7))
    assert home.here("run") == 0
    home.working(
        "insert into marts.visit_quality select * replace ('nobody' as agent_key) from marts.visit_quality"
        " where visit_id in ('new', 'gone')"
    )
    home.working("delete from marts.visit_quality where visit_id = 'gone' and agent_key <> 'nobody'")
    for table in ("visits", "deliveries"):
        home.working(f"delete from landed.{table} where visit_id = 'gone'")
    home.working("insert into meta.visits_changed values ('lender_a', 'gone')")
    home.land(visit("new", 8))
    assert home.here("load") == 0
    done = home.kobra("build")
    assert done.returncode == 1
    assert "check grain_visit_quality_source__visit_id__ref_int_visits_ of visit_quality failed" in done.stderr
    (rows,) = failed_rows(done.stderr)
    assert set(rows) == {
        ("lender_a", "new", "2 rows with this key"), ("lender_a", "gone", "no row with this key in int_visits"),
    }  # fmt: skip


def test_a_code_that_nobody_knows_stops_a_build(
    home: BuiltHome, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = project / "models" / "intermediate" / "_intermediate.yml"
    about.write_text(about.read_text().replace("state: [completed, ", "state: ["))
    assert home.here("run") == 1
    told = capsys.readouterr().err
    assert "check codes_int_visits_" in told
    (rows,) = failed_rows(told)
    assert rows
    assert all("completed" in row for row in rows)


@pytest.mark.slow
def test_a_model_that_cannot_be_built_and_a_check_of_ones_own_are_told_without_a_word_of_the_data(
    home: BuiltHome, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "models" / "intermediate" / "own.sql").write_text(CANNOT_BE_BUILT)
    (project / "tests" / "nothing_missing.sql").write_text(OWN_CHECK)
    before = home.files.published.read_bytes()
    assert home.here("run") == 1
    told = capsys.readouterr()
    (command,) = re.findall("model own cannot be built. See why with: (.*)", told.err)
    shown = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (shown.returncode, "Could not convert string" in shown.stdout) == (1, True)
    assert "check nothing_missing failed for 4 row(s)" in told.err
    (rows,) = failed_rows(told.err)
    assert {row[0] for row in rows} == {"gps_missing"}
    assert not [word for word in CANARIES.values() if word in told.err + told.out]
    assert home.files.published.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("mappings/answer_codes.csv", f"{CODES},tag,Mal,Not Snake\n", 'answer_codes.csv line 4: code "Not Snake"'),
        ("mappings/settings.csv", "key,value\nlate_hours,soon\n", "settings.csv line 2: "),
        ("inputs/payments.csv", "who,what\nEva,5\n", "payments.csv line 1: this is no header"),
        ("inputs/accounts.csv", "external_id\n110\n", "accounts.csv line 1: missing here: as_of_date"),
    ],
    ids=lambda value: value.partition(".")[0] if value.endswith(".csv") else "",
)
def test_a_file_that_cannot_be_used_stops_the_run_with_place_and_remedy(
    home: BuiltHome, capsys: pytest.CaptureFixture[str], name: str, text: str, says: str
) -> None:
    before = home.files.published.read_bytes()
    home.edit(name, text)
    assert home.here("run") == 1
    told = capsys.readouterr().err
    assert says in told
    assert told.endswith("\nkobra: nothing is published; what people read stays as it was\n")
    assert home.files.published.read_bytes() == before
