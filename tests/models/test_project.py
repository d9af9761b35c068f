"""dbt parses the project once for all homes, and again when anything in it changed."""

import shutil
from pathlib import Path

import pytest
from built_home import BuiltHome, own_project, settled

KEPT = Path("target", "parsed_for_kobra.msgpack")
NAMED_OUTSIDE = "{{ config(alias=env_var('NAMED_OUTSIDE')) }}\nselect 1 as one\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project that was never parsed."""
    return own_project(tmp_path, monkeypatch)


def build_anew(home: BuiltHome, path: Path) -> BuiltHome:
    """Build in a copy of the home that dbt left nothing in."""
    new = home.copy(path)
    shutil.rmtree(new.warehouse.folder / "dbt", ignore_errors=True)
    new.build(full=True)
    return new


def was_parsed(home: BuiltHome) -> bool:
    """Whether the first build in this home parsed the project: then dbt kept that there."""
    return (home.warehouse.folder / "dbt" / "partial_parse.msgpack").exists()


def test_a_new_home_is_built_without_parsing_what_another_one_parsed(
    project: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    home = settled(tmp_path_factory)
    assert was_parsed(build_anew(home, tmp_path / "first"))
    second = build_anew(home, tmp_path / "second")
    assert not was_parsed(second)
    assert second.runs()[0]["is_full"] is True
    second.build()  # models ask dbt how the others are built
    assert second.runs()[0]["is_full"] is False
    (project / "models" / "staging" / "own.sql").write_text("select 1 as one")
    third = build_anew(home, tmp_path / "third")
    assert was_parsed(third)
    assert third.working("from staging.own") == [(1,)]


@pytest.mark.slow
def test_what_was_kept_in_part_is_parsed_again(
    project: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    home = settled(tmp_path_factory)
    build_anew(home, tmp_path / "first")
    whole = (project / KEPT).stat().st_size
    for length in (0, 31, 100_000):
        with (project / KEPT).open("r+b") as kept:
            kept.truncate(length)
        assert was_parsed(build_anew(home, tmp_path / f"after {length}"))
        assert (project / KEPT).stat().st_size == whole
    assert [path.name for path in (project / "target").iterdir()] == [KEPT.name]


def test_where_nothing_can_be_kept_each_home_parses(
    project: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    (project / "target").write_text("no folder")
    home = settled(tmp_path_factory)
    assert was_parsed(build_anew(home, tmp_path / "first"))
    assert was_parsed(build_anew(home, tmp_path / "second"))


def test_a_model_that_reads_the_environment_sees_that_of_each_build(
    project: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "models" / "staging" / "own.sql").write_text(NAMED_OUTSIDE)
    home = settled(tmp_path_factory)
    for name in ("one_name", "another_name"):
        monkeypatch.setenv("NAMED_OUTSIDE", name)
        assert build_anew(home, tmp_path / name).working(f"from staging.{name}") == [(1,)]
