"""Requests drawn from a description of the receiver, sound and broken, with headers that nobody asked for: it answers
as described, and of what is wrong on its own side it knows 503 alone."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from conftest import RECEIVER_KEY, RunningReceiver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipelines.contract import FIELDS, VISIT_ID
from torture.running import receiver as broken_receiver

EXAMPLES = int(os.environ.get("KOBRA_EXAMPLES", "0"))  # 2000 for a long look, new ones every time
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
ANY = {name: {} for name in (VISIT_ID[0], "checklist", *(field.spellings[0] for field in FIELDS))}


def answers() -> dict[str, dict[str, Any]]:
    """The README's table of answers, as a description; but that the receiver failed is no answer here."""
    table = README.partition("| status | error | when |\n")[2].partition("\n\n")[0]
    described: dict[str, dict[str, Any]] = {}
    for status, errors in re.findall(r"^\| (\d{3}) \|([^|]*)\|", table, re.M):
        codes = re.findall(r"`(\w+)`", errors)
        wanted = (
            {"error": {"enum": codes}, "detail": {"type": "string"}} if codes else {"status": {"const": "stored"}}
        )
        schema = {"type": "object", "required": [*wanted], "properties": wanted}
        before = described.setdefault(status, {"description": "", "content": {"application/json": {"schema": {}}}})
        kinds = before["content"]["application/json"]["schema"].setdefault("anyOf", [])
        kinds.append(schema)
    return {status: answer for status, answer in described.items() if status != "500"}


def header(name: str, **schema: object) -> dict[str, object]:
    return {"name": name, "in": "header", "schema": {"type": "string"} | schema}


NUMBER = {"name": "number", "in": "query", "schema": {"type": "integer"}}
HOOK = {
    "parameters": [
        {"required": True} | header("api-key", const=RECEIVER_KEY),
        header("content-encoding"),
        NUMBER,
    ],
    "requestBody": {"content": {"application/json": {"schema": {"type": "object", "properties": ANY}}}},
    "responses": answers(),
}
OTHERS = {status: {"description": ""} for status in ("200", "400", "408", "431", "503")}
DESCRIPTION = schemathesis.openapi.from_dict(
    {
        "openapi": "3.1.0",
        "info": {"title": "receiver", "version": "0"},
        "paths": {"/webhooks/visits": {"post": HOOK}}
        | {
            path: {"get": {"parameters": [NUMBER], "responses": OTHERS}}
            for path in ("/healthz", "/readyz", "/metrics")
        },
    }
)
OPERATIONS = [found.ok() for found in DESCRIPTION.get_all_operations()]
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
HEARD = st.sampled_from(
    ["api-key", "connection", "content-encoding", "content-length", "expect", "transfer-encoding"]
)
USUAL = st.sampled_from(
    "accept content-type cookie date forwarded host keep-alive origin range te trailer upgrade via "
    "x-forwarded-for x-http-method-override".split()
)
NAMES = HEARD | USUAL | st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}", fullmatch=True)
TEXT = st.from_regex(r"[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,200}[\x21-\x7e\x80-\xff])?", fullmatch=True)
VALUES = TEXT | st.sampled_from(["", "0", "-1", "9" * 30, "chunked", "close", "100-continue", "h2c", "websocket"])


def ask_often(port: int, operation: APIOperation, mode: GenerationMode, examples: int) -> None:
    """Ask so many times, never the same twice; 0: a few times, always the same. Raises FailureGroup when an answer is
    not as described."""

    @settings(
        max_examples=examples or 100,
        derandomize=not examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(mode), st.dictionaries(NAMES, VALUES, max_size=4))
    def ask(case: Case, odd: dict[str, str]) -> None:
        case.headers.update({name: value.encode("latin-1") for name, value in odd.items()})
        answer = case.call(base_url=f"http://127.0.0.1:{port}")
        case.validate_response(answer, checks=CHECKS)

    ask()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_whatever_is_asked_is_answered_as_described(
    receiver_start: Callable[..., RunningReceiver], operation: APIOperation, mode: GenerationMode
) -> None:
    receiver = receiver_start(KOBRA_REQUEST_TIMEOUT_S="0.3")
    ask_often(receiver.port, operation, mode, EXAMPLES)
    assert receiver.process.poll() is None


def test_a_receiver_that_fails_at_an_odd_header_is_caught(tmp_path: Path) -> None:
    mutant = broken_receiver(
        tmp_path / "home", broken="every-key-is-ascii", KOBRA_API_KEYS=f"lender_a:{RECEIVER_KEY}"
    )
    with mutant as running, pytest.raises(FailureGroup, match="500"):
        ask_often(running.port, OPERATIONS[0], GenerationMode.POSITIVE, 2000)
