"""Requests drawn from docs/openapi.yaml, sound and broken, with headers that nobody asked for: it answers
as described, and of what is wrong on its own side it knows 503 alone."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import schemathesis
import yaml
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

from tests.torture.running import receiver as broken_receiver

EXAMPLES = int(os.environ.get("KOBRA_EXAMPLES", "0"))  # 2000 for a long look, new ones every time
DESCRIBED = yaml.safe_load((Path(__file__).parents[2] / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
for path in DESCRIBED["paths"].values():
    for operation in path.values():
        operation["responses"].pop("500", None)  # that the receiver failed is no answer here
        operation["parameters"] = [
            {"name": "number", "in": "query", "schema": {"type": "integer"}}
        ]  # to be wrong about
OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(DESCRIBED).get_all_operations()]
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
        case.headers["api-key"] = RECEIVER_KEY
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
