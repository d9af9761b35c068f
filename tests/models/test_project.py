"""dbt keeps what it parsed in the home, and that never hides a change of the project or of what it reads."""

from pathlib import Path

import pytest
from built_home import BuiltHome, own_project, settled

NAMED_OUTSIDE = "{{ config(alias=env_var('NAMED_OUTSIDE')) }}\nselect 1 as one\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project."""
    return own_project(tmp_path, monkeypatch)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> BuiltHome:
    return settled(tmp_path_factory).copy(tmp_path / "home")


def parsed(home: BuiltHome) -> Path:
    """What dbt keeps of its parsing."""
    return home.files.warehouse / "dbt" / "partial_parse.msgpack"


def test_a_model_that_came_or_is_another_now_is_in_the_next_build(home: BuiltHome, project: Path) -> None:
    own = project / "models" / "intermediate" / "own.sql"
    for number in (1, 2):
        own.write_text(f"select {number} as one")
        home.build()
        assert home.working("from staging.own") == [(number,)]
        assert home.runs()[0]["is_full"] is True


@pytest.mark.slow
def test_a_model_that_reads_the_environment_sees_that_of_each_build(
    home: BuiltHome, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "models" / "intermediate" / "own.sql").write_text(NAMED_OUTSIDE)
    for name in ("one_name", "another_name"):
        monkeypatch.setenv("NAMED_OUTSIDE", name)
        home.build()
        assert home.working(f"from staging.{name}") == [(1,)]


@pytest.mark.slow
@pytest.mark.parametrize("length", [0, 31, 100_000])
def test_what_was_kept_in_part_is_parsed_again(home: BuiltHome, length: int) -> None:
    whole = parsed(home).stat().st_size
    with parsed(home).open("r+b") as kept:
        kept.truncate(length)
    home.build()
    assert home.runs()[0]["is_full"] is False
    assert parsed(home).stat().st_size > 0.9 * whole
