"""Who is named where: people only where docs/metrics.md says so, what they said only in schemas landed and kobra."""

from pathlib import Path

import pytest
from built_home import CANARIES, BuiltHome, holding, settled

# Columns of schema marts, by what may be found in them.
ALLOWED = {
    "client": {"visits.client_name", "accounts.client_name"},
    "agent": {"visits.agent_name", "agents.agent_name", "agent_days.agent_name"},
    "contact name": {"visits.contact_name"},
    "contact with": {"visits.contact_with"},
    "method": {"visits.payment_method"},
    "label": {"visits.tag_name", "label_mix.label", "label_mix.label_key"},
    "reason": {"visits.cancellation_reason"},
    "type": {"visits.visit_type"},
    "comment": set(),
    "extra": set(),
    "phone": set(),
    "e-mail": set(),
    "free text": set(),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    return settled(tmp_path_factory)


@pytest.mark.parametrize("what", CANARIES)
def test_schema_marts_holds_it_in_these_columns_and_no_others(home: BuiltHome, what: str) -> None:
    found = holding(home.files.published, CANARIES[what])
    assert {column for schema, column in found if schema == "marts"} == ALLOWED[what]
    assert "kobra" in {schema for schema, _ in found}, "it was never delivered: the test shows nothing"


@pytest.mark.parametrize("what", ["comment", "phone", "e-mail", "extra"])
def test_it_never_leaves_what_was_delivered(home: BuiltHome, what: str) -> None:
    assert {schema for schema, _ in holding(home.files.published, CANARIES[what])} == {"landed", "kobra"}


def test_free_text_is_in_the_answers_as_sent_and_in_the_wide_table_of_the_product(home: BuiltHome) -> None:
    found = holding(home.files.published, CANARIES["free text"])
    assert {schema for schema, _ in found} == {"landed", "kobra", "wide"}


def test_neither_what_dbt_leaves_behind_nor_what_the_run_prints_quotes_anybody(home: BuiltHome) -> None:
    folder = home.files.warehouse / "dbt"
    left = [path for path in folder.rglob("*") if path.is_file()] + [home.path / "printed"]
    assert len(left) > 50
    assert quoted(left) == []


def test_what_looks_for_canaries_finds_them(home: BuiltHome) -> None:
    assert quoted([home.files.published]) == [home.files.published]


def quoted(paths: list[Path]) -> list[Path]:
    """The files that hold a canary."""
    words = [word.lower().encode() for word in CANARIES.values()]
    return [path for path in paths if any(word in path.read_bytes().lower() for word in words)]
