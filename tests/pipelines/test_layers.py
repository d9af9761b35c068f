"""One direction, no way back: who may import whom."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES_IN_SQL = re.compile(
    r"\b(read_(csv|json|parquet|text|blob)\w*|glob|attach|copy|install)\b\s*[('\"]|from\s+'", re.I
)
HEAVY = {"dlt", "duckdb", "pandas", "pyarrow", "pipelines", "dbt", "numpy"}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Full names of everything that a file imports, wherever in it."""
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            yield from (".".join([*above, *filter(None, [node.module]), name.name]) for name in node.names)


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", sources("receiver"), ids=lambda path: path.stem)
def test_the_receiver_imports_nothing_of_the_pipelines_nor_what_they_stand_on(path: Path) -> None:
    assert tops(path) & HEAVY == set()


@pytest.mark.parametrize("path", sources("pipelines"), ids=lambda path: path.stem)
def test_the_pipelines_know_only_the_raw_store_format_of_the_receiver(path: Path) -> None:
    known = {name for name in imports(path) if name.partition(".")[0] == "receiver"}
    assert {name for name in known if not name.startswith(("receiver.rawstore", "receiver.json_check"))} == set()


@pytest.mark.parametrize("folder", ["sql", "notebooks"])
def test_sql_and_notebooks_import_neither(folder: str) -> None:
    assert {path.name: found for path in sources(folder) if (found := tops(path) & {"receiver", "pipelines"})} == {}


def test_sql_names_only_tables_and_holds_no_python() -> None:
    assert sources("sql") == []
    models = {path.name: path.read_text() for path in (ROOT / "sql").rglob("*.sql")}
    assert "visits.sql" in models
    assert {name: found[0] for name, text in models.items() if (found := FILES_IN_SQL.search(text))} == {}


def test_the_raw_store_format_stands_on_no_other_part_of_the_receiver() -> None:
    known = {name for path in sources("receiver/rawstore") for name in imports(path)}
    assert {
        name for name in known if name.startswith("receiver") and not name.startswith("receiver.rawstore")
    } == set()


@pytest.mark.parametrize("module", ["receiver", "receiver.app", "receiver.server", "receiver.rawstore"])
def test_a_receiver_that_has_started_has_loaded_none_of_it(module: str) -> None:
    program = f"import sys, {module}; print(sorted(set(sys.modules) & {HEAVY!r}))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


def test_there_is_something_to_look_at() -> None:
    assert len(sources("receiver/rawstore")) > 3
    assert len(sources("notebooks")) > 3
    assert "receiver.rawstore.Delivery" in set(imports(ROOT / "pipelines" / "load" / "parse.py"))
