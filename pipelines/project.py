"""Where the dbt project lies: beside this package in a checkout, within it once it is installed from a wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
PROJECT = next(path for path in (_PACKAGE / "sql", _PACKAGE.parent / "sql") if path.is_dir())
