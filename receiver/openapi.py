"""The receiver's contract as OpenAPI: `python -m receiver.openapi FILE` writes it, `page` shows it."""

import json
import sys
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from receiver import responses
from receiver.json_check import REASONS
from receiver.responses import MALFORMED, Response
from receiver.settings import Settings
from receiver.webhook import PATH

Json = dict[str, Any]

SUMMARY = "Receives Kobra's visits. 200 means that the visit is on disk."

# Meaning and example of each field of a visit; Kobra's page and its example do not always spell them alike.
_FIELDS: dict[str, tuple[str, Any]] = {
    "visitID": ("Kobra's id of the visit.", "9A1190V5974"),
    "visitId": ("Another spelling of visitID.", "9A1190V5974"),
    "productID": ("1 DebtCollection, 2 Address validation, 3 Business validation.", 1),
    "agentID": ("The lender's own id of the agent.", 21559),
    "agent": ("Name of the agent who made the visit.", "ANA PRUEBA"),
    "externalID": ("The lender's own id of the account.", "110105499609"),
    "client": ("Name of the client to whom the visit was made.", "LUIS EJEMPLO"),
    "visitType": ("Name of the product or type of visit.", "Cobranza"),
    "lat": ("Latitude in degrees.", "19.432608"),
    "lng": ("Longitude in degrees.", "-99.133209"),
    "Ing": ("Another spelling of lng, with a capital i.", "-99.133209"),
    "long": ("Another spelling of lng.", "-99.133209"),
    "interest": ("Interest on the account.", 5),
    "rebound": ("Whether the agent moved the position of the address.", False),
    "tagName": ("Label that the agent chose for the result.", "Cliente ya pagó"),
    "finished": ("Whether the visit is finished.", True),
    "cancelled": ("Whether the visit is cancelled.", False),
    "cancellationReason": ("Why the visit was cancelled.", None),
    "startDate": ("Start on the wall clock of the place.", "2026-03-17 13:56:49"),
    "endDate": ("End on the wall clock of the place.", "2026-03-17 13:58:29"),
    "timeZone": ("Time zone of the place.", "America/Mexico_City"),
    "comment": ("What the agent wrote.", "Paga el viernes"),
    "checklist": (
        "Questions, each with its answers. answerTypeID: 1 text, 2 text-area, 3 numeric, 4 decimal, 5 datepicker, "
        "6 checkbox, 7 radio, 8 switch, 9 combo, 10 time.",
        [
            {
                "questionID": 11,
                "questionName": "¿Se realizó contacto?",
                "order": 1,
                "answers": [
                    {"answerID": 11, "answerTypeID": 8, "answerName": None, "order": 1, "value": "true"},
                ],
            }
        ],
    ),
    "phones": ("Phones that were collected.", ["5555550171"]),
    "emails": ("E-mail addresses that were collected.", ["luis@example.com"]),
}
_OTHER_SPELLINGS = ("visitId", "Ing", "long")

VISIT: Json = {
    "type": "object",
    "description": "One visit, or a list of them. Any object is stored; these fields are read.",
    "properties": {
        name: {"description": meaning, "examples": [example]} for name, (meaning, example) in _FIELDS.items()
    },
    "examples": [{name: example for name, (_, example) in _FIELDS.items() if name not in _OTHER_SPELLINGS}],
}

_FROM_WEBHOOK = (
    responses.UNAUTHORIZED,
    responses.ONLY_POST,
    responses.too_large(Settings.max_body_bytes),
    responses.UNEXPECTED,
    responses.NOT_STORED,
    responses.OVERLOADED,
)
_FROM_GUARD = (MALFORMED, responses.TOO_SLOW, responses.HEADERS_TOO_LARGE)
PROBLEMS = (*_FROM_WEBHOOK, *_FROM_GUARD)
"""Every error after which nothing is kept."""


def describe(operations: Json) -> Json:
    """The whole description, made of what FastAPI generates for health, readiness and metrics."""
    for path in operations["paths"].values():
        for operation in path.values():
            operation["responses"] = dict(sorted((operation["responses"] | _problems(_FROM_GUARD)).items()))
    operations["paths"] = {PATH: {"post": _webhook()}} | operations["paths"]
    operations["components"]["schemas"] |= {"Visit": VISIT, "Stored": _STORED, "Kept": _KEPT}
    operations["components"]["securitySchemes"] = {"api-key": _KEY}
    return operations


def _webhook() -> Json:
    answers = _problems(PROBLEMS)
    kept = "The body is on disk, and cannot be read; `error` is why."
    answers["200"] = _answer("The visit is on disk.", _ref("Stored"))
    answers["415"] = _answer(f"{kept} It came with a Content-Encoding.", _ref("Kept"))
    answers["400"] = _answer(f"{kept} {answers['400']['description']}", {"anyOf": [_ref("Kept"), _error(MALFORMED)]})
    return {
        "summary": "Deliver a visit",
        "description": "Whatever the answer to a body that was read, the body is on disk first. After a 5xx, or no "
        "answer, send it again: the same content twice is one visit. Any Content-Type; gzip or not.",
        "operationId": "deliver",
        "security": [{"api-key": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("Visit")}}},
        "responses": dict(sorted(answers.items())),
    }


_KEY = {"type": "apiKey", "in": "header", "name": "api-key", "description": "The key that was agreed on, once."}
_TEXT: Json = {"type": "string"}
_STORED: Json = {
    "type": "object",
    "required": ["status", "delivery_id"],
    "properties": {"status": {"const": "stored"}, "delivery_id": {"type": "string", "format": "uuid"}},
}
_KEPT: Json = {
    "type": "object",
    "required": ["error", "detail", "delivery_id"],
    "properties": {
        "error": {"enum": [*REASONS]},
        "detail": _TEXT,
        "delivery_id": {"type": "string", "format": "uuid"},
    },
}


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _problems(every: Iterable[Response]) -> Json:
    """The answers by their status."""
    by_status: dict[str, list[Response]] = {}
    for each in every:
        by_status.setdefault(str(each.start["status"]), []).append(each)
    return {
        status: _answer(" ".join(f"`{each.code}`: {each.detail}" for each in group), _error(*group))
        | _retry_after(*group)
        for status, group in by_status.items()
    }


def _error(*every: Response) -> Json:
    properties: Json = {"error": {"enum": [each.code for each in every]}, "detail": dict(_TEXT)}
    return {"type": "object", "required": ["error", "detail"], "properties": properties}


def _answer(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _retry_after(*every: Response) -> Json:
    if not any(name == b"retry-after" for each in every for name, _ in each.start["headers"]):
        return {}
    return {"headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}}


# ---------------------------------------------------------------- a page for people


def page(described: Json) -> str:
    """The description as HTML that loads nothing."""
    info = described["info"]
    parts = [f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(operation.get('description', ''))}</p>")
            if "security" in operation:
                keys = described["components"]["securitySchemes"].values()
                parts.append(_table("Header", {key["name"]: key["description"] for key in keys}))
            if "requestBody" in operation:
                fields = described["components"]["schemas"]["Visit"]["properties"]
                rows = {name: f"{field['description']} {field['examples']}" for name, field in fields.items()}
                parts.append(_table("Field of a visit", rows))
            answers = {status: answer["description"] for status, answer in sorted(operation["responses"].items())}
            parts.append(_table("Status", answers))
    style = "body{font:16px sans-serif;margin:2em auto;max-width:60em}td,th{text-align:left;padding:.2em 1em .2em 0}"
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
    return f"{head}<style>{style}</style>{''.join(parts)}</html>"


def _table(head: str, rows: Mapping[str, str]) -> str:
    cells = "".join(f"<tr><td><code>{escape(name)}</code><td>{escape(text)}" for name, text in rows.items())
    return f"<table><tr><th>{head}<th>{cells}</table>"


def main() -> int:
    """Write the description as YAML to the file that is named."""
    import yaml  # noqa: PLC0415 - a receiver needs none

    from receiver.app import create_app  # noqa: PLC0415 - which imports this module

    described = create_app(Settings(api_keys="docs:a-key-of-nobody-0000")).openapi()
    without_anchors = json.loads(json.dumps(described))
    text = yaml.safe_dump(without_anchors, sort_keys=False, allow_unicode=True, width=118)
    Path(sys.argv[1]).write_text(f"# Written by `make docs`: do not edit.\n{text}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
