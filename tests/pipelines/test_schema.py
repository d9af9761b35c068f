"""Every table and column is there from the first load on, under the public name and type."""

from pathlib import Path

import pytest
from kobra_home import Home, loaded

from pipelines import run
from pipelines.contract import KOBRA as TABLES
from pipelines.contract import LANDED
from pipelines.load import flatten
from pipelines.warehouse.lock import lock

# The public list: notebooks, dashboards and checks use these names as written.
PUBLIC = {
    "deliveries": {
        "delivery_id": "VARCHAR", "source": "VARCHAR", "received_at": "TIMESTAMP WITH TIME ZONE",
        "visit_id": "VARCHAR", "content_hash": "VARCHAR", "outcome": "VARCHAR", "segment": "VARCHAR",
        "line": "BIGINT", "bytes": "BIGINT", "item": "BIGINT",
    },
    "segments": {
        "segment": "VARCHAR", "received_date": "DATE", "lines": "BIGINT", "bytes": "BIGINT", "damaged": "BIGINT",
        "loaded_at": "TIMESTAMP WITH TIME ZONE",
    },
    "rejects": {
        "delivery_id": "VARCHAR", "source": "VARCHAR", "received_at": "TIMESTAMP WITH TIME ZONE",
        "reason": "VARCHAR", "detail": "VARCHAR", "segment": "VARCHAR", "line": "BIGINT", "item": "BIGINT",
    },
    "visits": {
        "source": "VARCHAR", "visit_id": "VARCHAR", "product_id": "INTEGER", "agent_id": "VARCHAR",
        "agent_name": "VARCHAR", "account_id": "VARCHAR", "client_name": "VARCHAR", "visit_type": "VARCHAR",
        "lat": "DOUBLE", "lng": "DOUBLE", "interest": "DOUBLE", "rebound": "BOOLEAN", "tag_name": "VARCHAR",
        "finished": "BOOLEAN", "cancelled": "BOOLEAN", "cancellation_reason": "VARCHAR",
        "start_local": "TIMESTAMP", "end_local": "TIMESTAMP", "time_zone_raw": "VARCHAR", "comment": "VARCHAR",
        "content_hash": "VARCHAR", "received_at": "TIMESTAMP WITH TIME ZONE", "delivery_id": "VARCHAR",
        "versions": "BIGINT", "extra": "JSON",
    },
    "visit_versions": {
        "source": "VARCHAR", "visit_id": "VARCHAR", "content_hash": "VARCHAR", "version_no": "BIGINT",
        "valid_from": "TIMESTAMP WITH TIME ZONE", "valid_to": "TIMESTAMP WITH TIME ZONE", "deliveries": "BIGINT",
        "is_current": "BOOLEAN", "finished": "BOOLEAN", "cancelled": "BOOLEAN", "end_local": "TIMESTAMP",
    },
    "questions": {
        "source": "VARCHAR", "visit_id": "VARCHAR", "question_pos": "BIGINT", "question_id": "VARCHAR",
        "question_name": "VARCHAR", "question_order": "BIGINT", "section": "VARCHAR", "extra": "JSON",
    },
    "answers": {
        "source": "VARCHAR", "visit_id": "VARCHAR", "question_pos": "BIGINT", "answer_pos": "BIGINT",
        "answer_id": "VARCHAR", "answer_type_id": "VARCHAR", "answer_name": "VARCHAR", "answer_order": "BIGINT",
        "value": "VARCHAR", "value_bool": "BOOLEAN", "value_number": "DECIMAL(18,4)", "value_date": "DATE",
        "value_time": "TIME", "value_text": "VARCHAR", "parse_ok": "BOOLEAN", "extra": "JSON",
    },
    "phones": {
        "source": "VARCHAR", "visit_id": "VARCHAR", "pos": "BIGINT", "value": "VARCHAR", "normalised": "VARCHAR",
        "e164": "VARCHAR", "extra": "JSON",
    },
    "emails": {
        "source": "VARCHAR", "visit_id": "VARCHAR", "pos": "BIGINT", "value": "VARCHAR", "normalised": "VARCHAR",
        "extra": "JSON",
    },
}  # fmt: skip
ONE_VISIT_ID_AND_NOTHING_ELSE = b'{"visitID":"1"}'


@pytest.fixture(scope="module", params=["an empty store", "one bare visit", "one reject"])
def columns(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    path = tmp_path_factory.mktemp("schema")
    bodies = {"an empty store": (), "one bare visit": (ONE_VISIT_ID_AND_NOTHING_ELSE,), "one reject": (b"",)}
    return columns_of(loaded(path, *bodies[request.param]))


def columns_of(home: Home) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in home.rows(
        "select table_name, column_name, data_type from duckdb_columns() "
        "where database_name = 'w' and schema_name = 'kobra' order by table_name, column_index"
    ):
        found.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
    return found


@pytest.mark.parametrize("table", PUBLIC)
def test_after_the_first_load_a_table_has_all_its_public_columns(
    columns: dict[str, dict[str, str]], table: str
) -> None:
    assert {name: columns[table].get(name) for name in PUBLIC[table]} == PUBLIC[table]


@pytest.mark.parametrize("table", PUBLIC)
def test_a_table_has_the_columns_of_the_contract_in_that_order(
    columns: dict[str, dict[str, str]], table: str
) -> None:
    assert list(columns[table]) == [column.name for column in TABLES[table].columns]


def test_the_contract_names_the_same_tables_as_the_public_list(columns: dict[str, dict[str, str]]) -> None:
    assert TABLES.keys() == PUBLIC.keys() == columns.keys()


@pytest.mark.parametrize("table", PUBLIC)
def test_the_contract_declares_every_public_column_with_its_type(table: str) -> None:
    declared = {column.name: str(column.type) for column in TABLES[table].columns}
    assert declared.items() >= PUBLIC[table].items()


@pytest.mark.parametrize("table", PUBLIC)
def test_what_the_contract_declares_says_what_it_means(table: str) -> None:
    assert TABLES[table].grain
    assert all(column.meaning for column in TABLES[table].columns)


def test_a_column_that_a_younger_version_added_is_added_to_an_old_warehouse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    home.land(ONE_VISIT_ID_AND_NOTHING_ELSE)
    visits = LANDED["visits"]
    older = visits._replace(columns=tuple(column for column in visits.columns if column.name != "comment"))
    with monkeypatch.context() as before, lock(home.files):
        before.setitem(LANDED, "visits", older)
        before.setitem(flatten.TABLES, "visits", older)
        run.load(home.files)
    home.land(b'{"visitID":"2","comment":"hola"}')
    home.run()
    assert home.rows("select visit_id, comment from visits order by all") == [
        {"visit_id": "1", "comment": None},
        {"visit_id": "2", "comment": "hola"},
    ]


def test_what_a_load_lands_has_the_types_of_the_contract(tmp_path: Path) -> None:
    home = loaded(tmp_path, ONE_VISIT_ID_AND_NOTHING_ELSE)
    found = home.rows(
        "select table_name, column_name, data_type from duckdb_columns() "
        "where database_name = 'w' and schema_name = 'landed' and not starts_with(column_name, '_dlt')"
        " and not starts_with(table_name, '_dlt') order by table_name, column_index"
    )
    declared = [
        {"table_name": table.name, "column_name": column.name, "data_type": str(column.type)}
        for table in sorted(LANDED.values())
        for column in table.columns
    ]
    assert found == declared
