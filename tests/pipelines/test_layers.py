"""SQL names only tables, and a receiver loads nothing that it does not need. `make lint` says who may import whom."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES_IN_SQL = re.compile(
    r"\b(read_(csv|json|parquet|text|blob)\w*|glob|attach|copy|install)\b\s*[('\"]|from\s+'", re.I
)
HEAVY = {"dlt", "duckdb", "pandas", "pyarrow", "pipelines", "dbt", "numpy"}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_sql_names_only_tables_and_holds_no_python() -> None:
    assert sources("sql") == []
    models = {path.name: path.read_text() for path in (ROOT / "sql").rglob("*.sql")}
    assert "visits.sql" in models
    assert {name: found[0] for name, text in models.items() if (found := FILES_IN_SQL.search(text))} == {}


@pytest.mark.parametrize("module", ["receiver", "receiver.app", "receiver.server", "receiver.rawstore"])
def test_a_receiver_that_has_started_has_loaded_none_of_it(module: str) -> None:
    program = f"import sys, {module}; print(sorted(set(sys.modules) & {HEAVY!r}))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"
