"""A build that was killed is made good by the next one, and a build of what changed is as good as one of all."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from built_home import BuiltHome, differences, own_project, promise, settled, visit
from interruptions import DIED, Plan, finish

KILLS = int(os.environ.get("KOBRA_KILLS", "2"))  # 60 for a long look
AS_OF = "2026-04-20"
RUN = ("run", "--as-of", AS_OF)
OF_ALL_VERSIONS, OF_CURRENT_ONES = "{{ source('landed', 'visits') }}", "{{ ref('kobra_visits') }}"


def move(home: BuiltHome) -> None:
    """New versions that take visits to another agent, day and account; a new visit; a point of reference."""
    home.land(
        promise("P", 12, externalID="140", agentID="A2"),
        visit("R", 13, externalID="120", agentID="A3", cancelled=True),
        visit("N", 4, externalID="110", agentID="A1", tagName="Prometió"),
        visit("new", 14, agentID="A2", externalID="140"),
    )
    home.place(("900", 20.5, -99.1332))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    """A home that has been built, in which several visits have changed since."""
    home = settled(tmp_path_factory).copy(tmp_path_factory.mktemp("before") / "home")
    move(home)
    return home


@pytest.fixture(scope="module")
def undisturbed(before: BuiltHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is published after a build of everything."""
    home = before.copy(tmp_path_factory.mktemp("undisturbed") / "home")
    assert home.here(*RUN, "--full-refresh") == 0
    return home.files.published


@pytest.fixture
def home(before: BuiltHome, tmp_path: Path) -> BuiltHome:
    return before.copy(tmp_path / "home")


# ---------------------------------------------------------------- what changed, and nothing else


def test_a_visit_that_moved_is_gone_from_where_it_was_and_all_tables_are_as_if_built_at_once(
    home: BuiltHome, undisturbed: Path
) -> None:
    assert home.values("select agent_key from w.marts.agent_days where local_date = '2026-03-02'") == ["A1"]
    assert home.here(*RUN) == 0
    assert home.runs()[0]["is_full"] is False
    assert home.values("from w.marts.agent_days where local_date = '2026-03-02'") == []
    assert differences(home.files.published, undisturbed) == {}


@pytest.mark.slow
def test_a_build_that_forgets_where_visits_were_before_is_caught(
    undisturbed: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = own_project(tmp_path, monkeypatch) / "models" / "intermediate" / "int_changed_keys.sql"
    text = model.read_text()
    assert OF_ALL_VERSIONS in text
    model.write_text(text.replace(OF_ALL_VERSIONS, OF_CURRENT_ONES))
    home = settled(tmp_path_factory).copy(tmp_path / "home")
    home.build()
    move(home)
    assert home.here(*RUN) == 1  # a visit is in visit_quality twice, which its check tells
    assert "marts.agent_days" in differences(home.files.working, undisturbed, "marts")


# ---------------------------------------------------------------- killed


def before_statements(do: Callable[[int], None]) -> None:
    """Do something before every statement that dbt sends, which are counted."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # noqa: PLC0415

    add_query, numbers = DuckDBConnectionManager.add_query, count(1)

    def counted(self: Any, *arguments: Any, **more: Any) -> Any:
        do(next(numbers))
        return add_query(self, *arguments, **more)

    DuckDBConnectionManager.add_query = counted


def note_statement(file: Path, number: int) -> None:
    file.write_text(str(number))


def die_in_statement(last: int, number: int) -> None:
    """Die before the nth statement that dbt sends."""
    if number >= last:
        os._exit(DIED)


@pytest.fixture(scope="module")
def statements(before: BuiltHome, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many statements dbt sends in the build that is killed."""
    folder = tmp_path_factory.mktemp("counted")
    home, file = before.copy(folder / "home"), folder / "statements"
    noted = partial(before_statements, partial(note_statement, file))
    assert finish(home.path, Plan(patch=noted, arguments=RUN, builds=True)) == 0
    return int(file.read_text())


@contextmanager
def still_readable(home: BuiltHome) -> Iterator[None]:
    """What people read is, byte by byte, what it was."""
    published = home.files.published.read_bytes()
    yield
    assert home.files.published.read_bytes() == published
    assert home.values("select count(*) from w.marts.visits") == [4]
    assert not home.files.published.with_suffix(".duckdb.wal").exists()


def assert_made_good(home: BuiltHome, undisturbed: Path) -> None:
    assert home.here(*RUN) == 0
    assert differences(home.files.published, undisturbed) == {}
    assert {path.name for path in home.files.warehouse.iterdir() if path.name.startswith((".p", "load"))} == set()


@pytest.mark.parametrize("seed", range((KILLS + 1) // 2))
def test_killed_twice_between_any_two_statements_then_run_is_as_if_nothing_had_happened(
    home: BuiltHome, undisturbed: Path, statements: int, seed: int
) -> None:
    step = statements // (KILLS + 1)
    for number in (statements - step * (2 * seed + 1), statements - step * (2 * seed + 2)):
        with still_readable(home):
            dies = partial(before_statements, partial(die_in_statement, max(1, number)))
            plan = Plan(patch=dies, arguments=RUN, builds=True)
            assert finish(home.path, plan) == DIED
    assert_made_good(home, undisturbed)


# The more that is asked for, the more of them.
@pytest.mark.parametrize(
    "moment",
    [
        ("pipelines.build.inputs", "write", 1),
        ("pipelines.build.wide", "build", 1),
        ("pipelines.warehouse.state", "settle", 1),
        ("pipelines.warehouse.state", "note_run", 1),
    ][: (KILLS + 1) // 2],
    ids=lambda moment: moment[1],
)
@pytest.mark.slow
def test_killed_at_a_turning_point_then_run_is_as_if_nothing_had_happened(
    home: BuiltHome, undisturbed: Path, moment: tuple[str, str, int]
) -> None:
    with still_readable(home):
        assert finish(home.path, Plan(dies_after=moment, arguments=RUN, builds=True)) == DIED
    assert_made_good(home, undisturbed)


@pytest.mark.slow
def test_two_builds_cut_short_with_a_move_in_between_leave_no_trace_of_where_a_visit_was(
    home: BuiltHome, tmp_path: Path, statements: int
) -> None:
    died = [("pipelines.build.wide", "build", 1), None]
    for day, moment in zip((15, 16), died, strict=True):
        home.land(visit("wanders", day, agentID=f"A{day}"))
        die = None if moment else partial(before_statements, partial(die_in_statement, statements // 2))
        assert finish(home.path, Plan(dies_after=moment, patch=die, arguments=RUN, builds=True)) == DIED
    assert home.here(*RUN) == 0
    at_once = home.copy(tmp_path / "at-once")
    assert at_once.here(*RUN, "--full-refresh") == 0
    assert differences(home.files.published, at_once.files.published) == {}
