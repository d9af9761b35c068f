"""Whatever form a documented field takes one day: no row is lost, and the other fields do not mind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kobra_home import Home, encoded, example, loaded

from pipelines.contract import FIELDS, Field, Type
from pipelines.load import batches
from pipelines.load.parse import Reject, Visit, read_body
from receiver.rawstore import Delivery

NESTED = json.loads("[" * 200 + "]" * 200)
FORMS: dict[str, Any] = {
    "absent": ..., "null": None, "text": "texto", "number": 7, "bool": True, "list": [1, "dos"],
    "object": {"clave": "valor", "a": None}, "huge": "ñ" * 100_000, "nested": NESTED,
}  # fmt: skip
SPELLINGS = [(field, spelling) for field in FIELDS for spelling in field.spellings]
LISTS = ("checklist", "phones", "emails")
QUESTION_FIELDS = {"questionID": "question_id", "questionName": "question_name", "order": "question_order"}
ANSWER_FIELDS = {
    "answerID": "answer_id", "answerTypeID": "answer_type_id", "answerName": "answer_name", "order": "answer_order",
    "value": "value",
}  # fmt: skip
OWN = {"visit_id", "content_hash", "delivery_id", "extra"}


def put(payload: dict[str, Any], name: str, form: Any) -> dict[str, Any]:
    if form is ...:
        return {key: value for key, value in payload.items() if key != name}
    return payload | {name: form}


def visit(visit_id: str) -> dict[str, Any]:
    return example(visitID=visit_id)


def with_field(visit_id: str, name: str, form: Any) -> dict[str, Any]:
    payload = visit(visit_id)
    if name in ("Ing", "long"):
        del payload["lng"]
    return put(payload, name, form)


def with_question(visit_id: str, name: str, form: Any) -> dict[str, Any]:
    payload = visit(visit_id)
    payload["checklist"][0] = put(payload["checklist"][0], name, form)
    return payload


def with_answer(visit_id: str, name: str, form: Any) -> dict[str, Any]:
    payload = visit(visit_id)
    answers = payload["checklist"][0]["answers"]
    answers[0] = put(answers[0], name, form)
    return payload


CASES = {
    **{f"{name} {form}": with_field for _, name in SPELLINGS for form in FORMS},
    **{f"{name} {form}": with_field for name in LISTS for form in FORMS},
    **{f"question.{name} {form}": with_question for name in (*QUESTION_FIELDS, "answers") for form in FORMS},
    **{f"answer.{name} {form}": with_answer for name in ANSWER_FIELDS for form in FORMS},
}


def everything() -> Iterator[bytes]:
    """Every case, and the visit as documented."""
    yield encoded(visit("as documented"))
    for case, build in CASES.items():
        name, form = case.split(".")[-1].split()
        yield encoded(build(case, name, FORMS[form]))


@pytest.fixture(scope="module")
def kobra(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return loaded(tmp_path_factory.mktemp("drift"), *everything())


@pytest.fixture(scope="module")
def visits(kobra: Home) -> dict[str, dict[str, Any]]:
    return kobra.visits()


@pytest.fixture(scope="module")
def children(kobra: Home) -> dict[str, dict[str, list[dict[str, Any]]]]:
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for table in ("questions", "answers", "phones", "emails"):
        rows = found[table] = {case: [] for case in (*CASES, "as documented")}
        for row in kobra.rows(f"select * exclude (source) from {table} order by all"):
            rows[row.pop("visit_id")].append({k: v for k, v in row.items() if not k.startswith("_dlt")})
    return found


def as_text(form: Any) -> str | None:
    """A form as the text that a text column holds: text exactly, anything else as JSON."""
    if form is ... or form is None:
        return None
    return form if isinstance(form, str) else encoded_tightly(form)


def encoded_tightly(form: Any) -> str:
    return json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def as_column(field: Field, form: str) -> Any:
    """What the reading rules make of each of FORMS, by the type of the column."""
    by_type: dict[Type, Any] = {
        Type.TEXT: as_text(FORMS[form]),
        Type.INT: 7 if form == "number" else None,
        Type.DOUBLE: 7.0 if form == "number" else None,
        Type.BOOL: True if form == "bool" else None,
    }
    return by_type.get(field.type)


def test_no_row_is_lost(kobra: Home, visits: dict[str, Any]) -> None:
    assert visits.keys() == {*CASES, "as documented"}
    assert kobra.values("select distinct outcome from deliveries") == ["new"]


@pytest.mark.slow
def test_a_reader_that_takes_only_what_is_documented_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strict(delivery: Delivery) -> list[Visit | Reject]:
        payload = json.loads(delivery.body)
        is_documented = all(isinstance(payload.get(name, []), list) for name in LISTS)
        return read_body(delivery) if is_documented else [Reject("not_an_object", "a list is no list")]

    monkeypatch.setattr(batches, "read_body", strict)
    home = loaded(tmp_path, *everything())
    with pytest.raises(AssertionError):
        test_no_row_is_lost(home, home.visits())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("field", "name"), SPELLINGS, ids=[name for _, name in SPELLINGS])
def test_a_field_lands_or_is_null_and_the_others_stay(
    visits: dict[str, Any], field: Field, name: str, form: str
) -> None:
    found, normal = visits[f"{name} {form}"], visits["as documented"]
    expected = {column: value for column, value in normal.items() if column not in OWN}
    expected[field.column] = as_column(field, form)
    if field.column in ("lat", "lng") and form != "number":
        expected["lat"] = expected["lng"] = None
    assert {column: found[column] for column in expected} == expected
    is_unread = FORMS[form] not in (..., None) and as_column(field, form) is None and field.type is not Type.TEXT
    extra = {field.spellings[0]: as_text(FORMS[form])} if is_unread else None
    assert (found["extra"] and json.loads(found["extra"])) == extra


@pytest.mark.parametrize("name", [name for _, name in SPELLINGS])
def test_the_checklist_does_not_mind_a_field(children: dict[str, Any], name: str) -> None:
    for form in FORMS:
        for table in ("questions", "answers"):
            assert children[table][f"{name} {form}"] == children[table]["as documented"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LISTS)
def test_a_list_lands_and_the_fields_stay(
    visits: dict[str, Any], children: dict[str, Any], name: str, form: str
) -> None:
    found, normal = visits[f"{name} {form}"], visits["as documented"]
    assert {k: v for k, v in found.items() if k not in OWN} == {k: v for k, v in normal.items() if k not in OWN}
    table = "questions" if name == "checklist" else name
    rows = children[table][f"{name} {form}"]
    if form in ("absent", "null"):
        assert (rows, found["extra"]) == ([], None)
    elif form in ("list", "nested"):
        assert [row.get("pos", row.get("question_pos")) for row in rows] == list(range(1, len(FORMS[form]) + 1))
    elif name == "checklist":  # one question
        (row,) = rows
        assert row["question_name"] == (None if form == "object" else as_text(FORMS[form]))
        assert row["extra"] == (encoded_tightly(FORMS[form]) if form == "object" else None)
    else:  # one phone, one address
        (row,) = rows
        assert row["value"] == (None if form == "object" else as_text(FORMS[form]))
        assert row["extra"] == (encoded_tightly(FORMS[form]) if form == "object" else None)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*QUESTION_FIELDS, "answers"])
def test_a_question_s_field_lands_and_the_others_stay(children: dict[str, Any], name: str, form: str) -> None:
    case = f"question.{name} {form}"
    rows, normal = children["questions"][case], children["questions"]["as documented"]
    expected = dict(normal[0])
    if name in QUESTION_FIELDS:
        number = 7 if form == "number" else None
        expected[QUESTION_FIELDS[name]] = number if name == "order" else as_text(FORMS[form])
        expected["extra"] = unread_order(name, form)
    assert rows == [expected, *normal[1:]]
    answers, usual = children["answers"][case], children["answers"]["as documented"]
    if name != "answers":
        assert answers == usual
        return
    assert answers[-13:] == usual[1:]
    values = {
        "list": ["1", "dos"],
        "nested": [as_text(FORMS["nested"][0])],
        "object": [None],
        "absent": [],
        "null": [],
    }
    assert [row["value"] for row in answers[:-13]] == values.get(form, [as_text(FORMS[form])])
    if form == "object":
        assert answers[0]["extra"] == encoded_tightly(FORMS[form])


def unread_order(name: str, form: str) -> str | None:
    """What is left over of an order that is no number."""
    is_left = name == "order" and FORMS[form] not in (..., None) and form != "number"
    return encoded_tightly({"order": FORMS[form]}) if is_left else None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ANSWER_FIELDS)
def test_an_answer_s_field_lands_and_the_others_stay(children: dict[str, Any], name: str, form: str) -> None:
    answers, usual = children["answers"][f"answer.{name} {form}"], children["answers"]["as documented"]
    assert answers[1:] == usual[1:]
    found, expected = answers[0], dict(usual[0])
    text = as_text(FORMS[form])
    expected[ANSWER_FIELDS[name]] = (7 if form == "number" else None) if name == "order" else text
    expected["extra"] = unread_order(name, form)
    if name == "answerTypeID":  # no switch any more
        expected |= {"value_bool": None, "value_text": "false"}
    if name == "value":  # a switch: a boolean, or text
        truth = True if form == "bool" else None
        expected |= {"value_bool": truth, "value_text": None if truth else text}
        expected["parse_ok"] = None if text is None else True
    assert found == expected
