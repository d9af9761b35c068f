"""The contract in docs/openapi.yaml is that of the code, complete, and shown only where somebody asked for it."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import RunningReceiver

from pipelines import contract
from receiver import openapi
from receiver.json_check import REASONS, reason_of

FILE = Path(__file__).parents[2] / "docs" / "openapi.yaml"
DESCRIBED: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
WEBHOOK = DESCRIBED["paths"]["/webhooks/visits"]["post"]


def test_the_file_is_what_the_code_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "openapi.yaml"
    monkeypatch.setattr("sys.argv", ["", str(written)])
    openapi.main()
    assert written.read_text(encoding="utf-8") == FILE.read_text(encoding="utf-8"), "run `make docs`"


def keys_in(value: object) -> Iterator[str]:
    """The keys of all objects within a JSON value."""
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_in(item)


def test_every_field_of_a_visit_is_described_in_every_spelling() -> None:
    visit = DESCRIBED["components"]["schemas"]["Visit"]
    assert visit["properties"].keys() == contract.TOP_LEVEL
    assert all(field["description"] and field["examples"] for field in visit["properties"].values())
    (example,) = visit["examples"]
    assert set(keys_in(example["checklist"])) == {*contract.QUESTION, contract.ANSWERS, *contract.ANSWER}
    for kind in contract.ANSWER_TYPES.items():
        assert " ".join(kind) in visit["properties"]["checklist"]["description"]
    assert reason_of(json.dumps(example).encode()) is None


def codes_in(value: object) -> set[str]:
    """The codes that a part of the description lists."""
    if isinstance(value, dict):
        return set(value.get("enum", ())).union(*map(codes_in, value.values()))
    return set().union(*map(codes_in, value)) if isinstance(value, list) else set()


def test_every_status_and_code_is_described() -> None:
    described = {(int(status), code) for status, answer in WEBHOOK["responses"].items() for code in codes_in(answer)}
    assert described == {(each.start["status"], each.code) for each in openapi.PROBLEMS}
    assert codes_in(DESCRIBED["components"]["schemas"]["Kept"]) == set(REASONS)
    assert set(WEBHOOK["responses"]) == {"200", "415"} | {str(each.start["status"]) for each in openapi.PROBLEMS}
    assert DESCRIBED["components"]["securitySchemes"]["api-key"]["name"] == "api-key"
    assert WEBHOOK["security"] == [{"api-key": []}]


def test_the_description_is_served_only_on_request_and_loads_nothing(
    receiver_start: Callable[..., RunningReceiver],
) -> None:
    silent, open_ = receiver_start(), receiver_start(KOBRA_API_DOCS="1")
    for path in ("/docs", "/openapi.json", "/redoc"):
        assert silent.request("GET", path).status == 404
    assert open_.request("GET", "/openapi.json").json == DESCRIBED
    shown = open_.request("GET", "/docs")
    assert (shown.status, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert shown.headers["content-security-policy"].startswith("default-src 'none'")
    text = shown.body.decode()
    assert not re.search(r"(?i)<(script|link|img|iframe)|https?://|src=|url\(", text)
    assert all(f"<code>{name}</code>" in text for name in (*contract.TOP_LEVEL, *WEBHOOK["responses"], "api-key"))
