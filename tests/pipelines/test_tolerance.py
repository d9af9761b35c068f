"""What is plainly meant is read, and nothing that was sent is in no table."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from kobra_home import Home, Post, encoded, example, later, loaded, small

from pipelines.load import straighten

CONTACT = {"questionID": 11, "questionName": "¿Se realizó contacto?", "order": 1}
TRUE = {"answerID": 11, "answerTypeID": 8, "value": "true"}


def asked(**changes: Any) -> dict[str, Any]:
    return {"checklist": [CONTACT | changes]}


# Payloads in which one question gets one answer, true; what is left over of the question and of the answer.
READ_AS_ONE_ANSWER: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "as documented": (asked(answers=[TRUE]), None, None),
    "a list of text": (asked(answers=["true"]), None, None),
    "text": (asked(answers="true"), None, None),
    "a boolean": (asked(answers=True), None, None),
    "one object": (asked(answers=TRUE), None, None),
    "by position": (asked(answers={"3": TRUE}), None, None),
    "as JSON text": (asked(answers=json.dumps([TRUE])), None, None),
    "answer for answers": (asked(answer=TRUE), None, None),
    "the answer in the question": ({"checklist": [CONTACT | {"value": "true", "answerTypeID": 8}]}, None, None),
    "unknown keys": (
        asked(answers=[TRUE | {"photo": "https://x/1.jpg"}], comment="llamar"),
        {"comment": "llamar"}, {"photo": "https://x/1.jpg"},
    ),
    "other spellings": (
        {"Check_List": [{"questionId": 11, "question_name": CONTACT["questionName"], "ORDER": 1,
                         "Answers": [{"answerId": 11, "answer_type_id": 8, "Value": "true"}]}]}, None, None),
    "two names for one field": (
        asked(answers=[TRUE | {"Value": "no"}], questionname="¿Contacto?"), {"questionname": "¿Contacto?"},
        {"Value": "no"},
    ),
    "a blank name leaves it to the next": (asked(answers=[TRUE | {"value": " ", "Value": "true"}]), None, None),
    "a checklist by position": ({"checklist": {"1": CONTACT | {"answers": [TRUE]}}}, None, None),
    "a checklist of one object": ({"checklist": CONTACT | {"answers": [TRUE]}}, None, None),
    "a checklist as JSON text": ({"checklist": json.dumps([CONTACT | {"answers": [TRUE]}])}, None, None),
    "an order that is none": (asked(order="primera", answers=[TRUE]), {"order": "primera"}, None),
}  # fmt: skip


def rows_of(home: Home, visit_id: str) -> tuple[list[Any], list[Any]]:
    questions = home.rows("select question_name, section, extra from questions where visit_id = ?", visit_id)
    answers = home.rows("select value, extra from answers where visit_id = ? order by all", visit_id)
    return questions, answers


@pytest.fixture(scope="module")
def kobra(tmp_path_factory: pytest.TempPathFactory) -> Home:
    posts = [small(name, checklist=None) | payload for name, (payload, _, _) in READ_AS_ONE_ANSWER.items()]
    for post in posts:
        if "Check_List" in post:
            del post["checklist"]
    return loaded(tmp_path_factory.mktemp("tolerance"), *posts)


@pytest.mark.parametrize("form", READ_AS_ONE_ANSWER)
def test_one_question_and_its_answer_are_read_in_whatever_form_they_come(kobra: Home, form: str) -> None:
    _, of_question, of_answer = READ_AS_ONE_ANSWER[form]
    (question,), (answer,) = rows_of(kobra, form)
    assert question["question_name"] == CONTACT["questionName"]
    assert answer["value"] == "true"
    assert (question["extra"] and json.loads(question["extra"])) == of_question
    assert (answer["extra"] and json.loads(answer["extra"])) == of_answer
    assert kobra.values("select extra from visits where visit_id = ?", form) == [None]


def test_a_checklist_in_sections_keeps_their_names_and_what_else_they_say(tmp_path: Path) -> None:
    sections = [
        {"section": "A", "questions": [CONTACT | {"answers": ["sí"]}, {"questionName": "¿Otra?"}]},
        {"Name": "B", "color": "rojo", "questions": {"1": {"questionName": "¿Tercera?"}}},
    ]
    home = loaded(tmp_path, small("s", checklist=sections))
    assert home.rows("select question_name, section, extra from questions order by question_pos") == [
        {"question_name": "¿Se realizó contacto?", "section": "A", "extra": None},
        {"question_name": "¿Otra?", "section": "A", "extra": None},
        {"question_name": "¿Tercera?", "section": "B", "extra": '{"section":{"color":"rojo"}}'},
    ]


def test_a_checklist_of_text_is_questions(tmp_path: Path) -> None:
    home = loaded(tmp_path, small("t", checklist=["Contacto: sí", "Otra"]), small("u", checklist="Contacto: sí"))
    assert home.values("select question_name from questions order by visit_id, question_pos") == [
        "Contacto: sí", "Otra", "Contacto: sí",
    ]  # fmt: skip


ENVELOPES = {
    "a list": [small("a"), small("b")],
    "visits": {"visits": [small("a"), small("b")]},
    "data": {"Data": {"visits": [small("a"), small("b")]}},
    "a list of one list": [[small("a")], small("b")],
    "as JSON text": {"data": json.dumps([small("a"), small("b")])},
}


@pytest.mark.parametrize("form", ENVELOPES)
def test_several_visits_of_one_post_are_told_apart_by_item(tmp_path: Path, form: str) -> None:
    home = loaded(tmp_path, Post(encoded(ENVELOPES[form])))
    body = len(encoded(ENVELOPES[form]))
    assert home.rows("select visit_id, item, outcome, bytes from deliveries order by item") == [
        {"visit_id": "a", "item": 1, "outcome": "new", "bytes": body},
        {"visit_id": "b", "item": 2, "outcome": "new", "bytes": 0},
    ]
    assert home.values("select extra from visits") == [None, None]


def test_what_stands_round_a_visit_is_kept_with_it_and_what_is_none_is_rejected_alone(tmp_path: Path) -> None:
    home = loaded(tmp_path, {"data": [small("a"), 7, {"finished": True}], "sentAt": "hoy"})
    assert home.rows("select visit_id, extra from visits") == [
        {"visit_id": "a", "extra": '{"envelope":{"sentAt":"hoy"}}'}
    ]
    assert home.rows("select item, reason from rejects order by item") == [
        {"item": 2, "reason": "not_an_object"},
        {"item": 3, "reason": "no_visit_id"},
    ]


EMPTY = {
    "visits": ({"visits": []}, "no_visit_id"),
    "data": ({"data": [], "page": 1}, "no_visit_id"),
    "visits in data": ({"data": {"visits": []}}, "no_visit_id"),
    "as JSON text": ({"data": "[]"}, "no_visit_id"),
    "a list of an empty list": ({"data": [[]]}, "not_an_object"),
}


@pytest.mark.parametrize("form", EMPTY)
def test_an_envelope_without_a_visit_is_rejected_and_not_passed_over(tmp_path: Path, form: str) -> None:
    payload, reason = EMPTY[form]
    home = loaded(tmp_path, payload)
    assert home.rows("select item, outcome from deliveries") == [{"item": 1, "outcome": "rejected"}]
    assert home.values("select reason from rejects") == [reason]


def test_an_empty_envelope_leaves_it_to_the_next(tmp_path: Path) -> None:
    home = loaded(tmp_path, {"data": [], "visits": [small("a")]})
    assert home.rows("select visit_id, extra from visits") == [{"visit_id": "a", "extra": '{"envelope":{"data":[]}}'}]


def test_blanks_that_nobody_sees_are_no_part_of_an_id_and_no_value(tmp_path: Path) -> None:
    home = loaded(
        tmp_path,
        small("\u200ba\u2060", visitId="b", agentID="\ufeff7"),
        small("\u200b", visitId="\ufeffc"),
    )
    assert home.rows("select visit_id, agent_id from visits where agent_id is not null") == [
        {"visit_id": "a", "agent_id": "7"}
    ]
    assert home.values("select visit_id from visits order by all") == ["a", "c"]


def test_halves_of_emojis_make_two_contents_two_versions(tmp_path: Path) -> None:
    bodies = [b'{"visitID":"e","comment":"\\ud83d"}', b'{"visitID":"e","comment":"\\ude00"}']
    home = loaded(tmp_path, *(Post(body, later(seconds=n)) for n, body in enumerate(bodies)))
    assert home.values("select versions from visits") == [2]


@pytest.mark.parametrize("number", ["1.10", "1e2", "1234567890123456789012345", "-0.0", "9" * 4301])
def test_a_number_in_a_text_field_stays_as_it_was_sent(tmp_path: Path, number: str) -> None:
    body = (
        f'{{"visitID":"n","client":{number},"tagName":{number},"checklist":[{{"questionName":{number},'
        f'"answers":[{{"answerName":{number},"answerTypeID":1,"value":{number}}}]}}]}}'
    )
    home = loaded(tmp_path, Post(body.encode()))
    assert home.rows(
        "select client_name, tag_name, question_name, answer_name, value from visits"
        " join questions using (source, visit_id) join answers using (source, visit_id, question_pos)"
    ) == [dict.fromkeys(["client_name", "tag_name", "question_name", "answer_name", "value"], number)]


# ---------------------------------------------------------------- nothing is lost


MARKERS = int(os.environ.get("KOBRA_MARKERS", "400"))  # 10000 for a long look
WORD = "zq{}zq"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a payload where a value stands."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from places(item, (*path, at))


def marked(payload: dict[str, Any], chance: Random, word: str) -> dict[str, Any]:
    """The payload with the word at a random place: instead of a value, beside it, under a new key."""
    found = json.loads(json.dumps(payload))
    path = chance.choice([path for path in places(found) if path and path[-1] not in ("visitID", "data")])
    within = found
    for step in path[:-1]:
        within = within[step]
    form = chance.choice(
        [word, f" {word}\n", [word], {"x": word}, {word: 1}, [[word]], {"1": word}, [{"value": word}, None]]
    )
    if isinstance(within[path[-1]], dict) and chance.random() < 0.5:
        within[path[-1]][chance.choice(["otra", "Value_", "0", "order", "name", "section", "extra"])] = form
    else:
        within[path[-1]] = form
    return found


def base(chance: Random) -> dict[str, Any]:
    forms: list[dict[str, Any]] = [
        {},
        {"phones": ["55 1234 5678", {"phone": "5512345678", "type": "cel"}], "emails": {"1": "a@b.mx"}},
        {"checklist": [{"section": "A", "questions": [CONTACT | {"answers": TRUE}]}]},
        {"checklist": {"2": CONTACT | {"answers": {"1": TRUE, "2": "no"}}}, "zona": {"a": [1, {"b": None}]}},
    ]
    return chance.choice(forms)


def all_texts(home: Home) -> Iterator[str]:
    """Everything that stands in any column of text of schema landed."""
    for column in home.rows(
        "select table_name, column_name from duckdb_columns() where database_name = 'w' and schema_name = 'landed'"
        " and data_type in ('VARCHAR', 'JSON') and not starts_with(table_name, '_dlt')"
    ):
        name = column["column_name"]
        yield from home.values(f"select distinct {name}::varchar from w.landed.{column['table_name']}"
                               f" where {name} is not null")  # fmt: skip


def test_a_marker_anywhere_in_a_payload_is_found_in_some_column(tmp_path: Path) -> None:
    chance = Random(int(os.environ.get("KOBRA_SEED", "7")))
    payloads = []
    for number in range(MARKERS):
        payload = example(visitID=f"v{number}", lat=19.4, lng=-99.1) | base(chance)
        if chance.random() < 0.2:
            payload = {"data": payload, "sentAt": "hoy"}
        payloads.append(marked(payload, chance, WORD.format(number)))
    home = loaded(tmp_path, *(Post(encoded(payload), later(seconds=n)) for n, payload in enumerate(payloads)))
    assert home.values("select delivery_id from rejects") == []
    texts = list(all_texts(home))
    everything = "\n".join(texts)
    lost = [payload for number, payload in enumerate(payloads) if WORD.format(number) not in everything]
    assert lost == []


@pytest.mark.slow
def test_a_reader_that_drops_what_is_left_over_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(straighten, "_keep", lambda found, _left: found)
    with pytest.raises(AssertionError):
        test_a_marker_anywhere_in_a_payload_is_found_in_some_column(tmp_path)
