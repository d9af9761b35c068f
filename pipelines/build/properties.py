"""dbt's properties of schemas `landed` and `kobra`: the files beside the models, rendered from the contract."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines.contract import KOBRA, LANDED, LOAD_ID, Column, Table
from pipelines.project import PROJECT

_MODELS = PROJECT / "models"
_NOTE = "Written by `make docs` from pipelines/contract.py: change it there."
_LANDED = (
    "What the loads appended, for history: every distinct content of a visit, once in each load that brought it. "
    "Schema `kobra` has the current version, each thing once."
)
# Nobody visits on a Sunday, and few over a long weekend.
_FRESHNESS = {"warn_after": {"count": 36, "period": "hour"}, "error_after": {"count": 4, "period": "day"}}
# Tables that dlt keeps of its own accord.
_OF_DLT = {
    "_dlt_loads": (
        "One row per load that completed (`load_id`). Rows of other tables whose load is not here do not count.",
        {
            "load_id": "Id of the load: the second at which it began, seconds since 1970.",
            "schema_name": "Name of dlt's schema, always `kobra`.",
            "status": "0: completed.",
            "inserted_at": "When it completed.",
            "schema_version_hash": "The version of dlt's schema with which it was written, as in `_dlt_version`.",
        },
    ),
    "_dlt_version": (
        "One row per version of dlt's schema (`version_hash`): how the tables of schema `landed` are made.",
        {
            "version": "Number of the version.",
            "engine_version": "Version of the form in which dlt writes schemas.",
            "inserted_at": "When this version came.",
            "schema_name": "Name of dlt's schema, always `kobra`.",
            "version_hash": "Fingerprint of the version.",
            "schema": "The version itself, JSON.",
        },
    ),
}


def files() -> dict[Path, str]:
    """The files by place, as they have to be."""
    return {
        _MODELS / "landed" / "_landed.yml": _yaml({"sources": [_landed()]}),
        _MODELS / "kobra" / "_kobra.yml": _yaml({"models": [_model(table) for table in KOBRA.values()]}),
        _MODELS / "kobra" / "_kobra.md": _blocks(KOBRA["visits"].columns),
    }


def write() -> None:
    """Write the files to their places."""
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def described(table: Table) -> str:
    """A table in a sentence, its grain first."""
    return f"One row per {table.grain} ({', '.join(f'`{column}`' for column in table.key)})."


def landed(table: Table) -> Table:
    """A landed table as it stands: what a load brings, its rows have the id of."""
    return table._replace(key=(*table.key, LOAD_ID.name), columns=(*table.columns, LOAD_ID))


def _landed() -> dict[str, Any]:
    ours = [_properties(table.name, described(table), table.columns) for table in map(landed, LANDED.values())]
    segments = next(table for table in ours if table["name"] == "segments")
    segments["config"] = {"loaded_at_field": "loaded_at", "freshness": _FRESHNESS}
    of_dlt = [
        {"name": name, "description": text,
         "columns": [{"name": column, "description": meaning} for column, meaning in columns.items()]}
        for name, (text, columns) in _OF_DLT.items()
    ]  # fmt: skip
    return {"name": "landed", "description": _LANDED, "tables": [*ours, *of_dlt]}


def _model(table: Table) -> dict[str, Any]:
    return _properties(f"kobra_{table.name}", described(table), table.columns)


def _properties(name: str, description: str, columns: Iterable[Column]) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "columns": [
            {"name": column.name, "data_type": column.type.lower(), "description": column.meaning}
            for column in columns
        ],
    }


def _blocks(columns: Iterable[Column]) -> str:
    """A doc block a column, for the models that take the column over."""
    blocks = (f"{{% docs {column.name} %}}\n{column.meaning}\n{{% enddocs %}}\n" for column in columns)
    return "\n".join((f"<!-- {_NOTE} -->\n", *blocks))


def _yaml(properties: dict[str, Any]) -> str:
    import yaml  # noqa: PLC0415 - comes with dbt

    text = yaml.safe_dump(properties, sort_keys=False, allow_unicode=True, width=116)
    return f"# {_NOTE}\n{text}"


if __name__ == "__main__":
    write()
