"""Kobra's documented example, from its bytes to every column."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from kobra_home import EXAMPLE_BODY, NOON, Home, Post, loaded

from receiver import rawstore

FALSE = {"value": "false", "value_bool": False, "parse_ok": True}
NOTHING = {"value": None, "value_bool": None, "parse_ok": None}
PAID = {"value": "Cliente ya pagó", "value_bool": None, "value_text": "Cliente ya pagó", "parse_ok": True}
# As on the page: question, then for each answer its id, type, name, and what came of its value.
CHECKLIST = [
    ("11", "¿Se realizó contacto?", [("11", "8", None, FALSE)]),
    ("12", "¿Con quién se tuvo contacto?", [(None, "9", None, NOTHING)]),
    ("13", "Nombre de la persona", [(None, "1", None, NOTHING)]),
    ("14", "¿Se logró promesa de pago?", [("14", "8", None, FALSE)]),
    ("15", "Método de pago", [(None, "9", None, NOTHING)]),
    ("16", "Monto", [(None, "4", None, NOTHING)]),
    ("17", "Fecha", [(None, "5", None, NOTHING)]),
    ("18", "Volver a visitar", [("18", "8", None, FALSE)]),
    ("19", "Fecha para volver a visitar", [(None, "5", None, NOTHING)]),
    ("20", "Primer horario", [(None, "10", "Hora inicio", NOTHING), (None, "10", "Hora fin", NOTHING)]),
    ("21", "Segundo horario", [(None, "10", "Hora inicio", NOTHING), (None, "10", "Hora fin", NOTHING)]),
    ("22", "Etiqueta", [("24", "9", None, PAID)]),
]


@pytest.fixture(scope="module")
def kobra(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return loaded(tmp_path_factory.mktemp("example"), Post(EXAMPLE_BODY))


def test_the_documented_example_becomes_one_visit_with_every_column_as_the_page_says(kobra: Home) -> None:
    (visit,) = kobra.rows("from visits")
    (delivery,) = kobra.rows("from deliveries")
    assert visit == {
        "source": "lender_a",
        "visit_id": "9A1190V5974",
        "product_id": 1,
        "agent_id": "21559",
        "agent_name": "HERMES HECTOR ARREDONDO LUGO",
        "account_id": "110105499609",
        "client_name": "Q ROSALBA SALGADO TORRES",
        "visit_type": "Cobranza",
        "lat": 37.421998,
        "lng": -122.084,
        "interest": 5.0,
        "rebound": False,
        "tag_name": "Cliente ya pagó",
        "finished": True,
        "cancelled": False,
        "cancellation_reason": None,
        "start_local": datetime(2020, 3, 17, 13, 56, 49),
        "end_local": datetime(2020, 3, 17, 13, 58, 29),
        "time_zone_raw": "America/Los_Angeles",
        "comment": "asdasda I have to go to the store and get some rest",
        "content_hash": delivery["content_hash"],
        "received_at": NOON,
        "delivery_id": delivery["delivery_id"],
        "versions": 1,
        "extra": None,
    }


def test_its_twelve_questions_stand_in_the_order_of_delivery(kobra: Home) -> None:
    assert kobra.rows("from questions order by question_pos") == [
        {
            "source": "lender_a",
            "visit_id": "9A1190V5974",
            "question_pos": place,
            "question_id": question_id,
            "question_name": name,
            "question_order": place,
            "section": None,
            "extra": None,
        }
        for place, (question_id, name, _) in enumerate(CHECKLIST, 1)
    ]


def test_its_fourteen_answers_stand_under_their_questions(kobra: Home) -> None:
    typed = {"value_bool": None, "value_number": None, "value_date": None, "value_time": None, "value_text": None}
    assert kobra.rows("from answers order by question_pos, answer_pos") == [
        {
            "source": "lender_a",
            "visit_id": "9A1190V5974",
            "question_pos": question_pos,
            "answer_pos": answer_pos,
            "answer_id": answer_id,
            "answer_type_id": answer_type,
            "answer_name": name,
            "answer_order": answer_pos,
            **typed,
            **read,
            "extra": None,
        }
        for question_pos, (_, _, answers) in enumerate(CHECKLIST, 1)
        for answer_pos, (answer_id, answer_type, name, read) in enumerate(answers, 1)
    ]


def test_it_has_neither_phones_nor_emails_nor_rejects(kobra: Home) -> None:
    assert [kobra.rows(f"from {table}") for table in ("phones", "emails", "rejects")] == [[], [], []]


def test_its_delivery_segment_and_version_are_accounted_for(kobra: Home) -> None:
    (visit,) = kobra.rows("from visits")
    (segment,) = kobra.segments()
    name = rawstore.identity(segment)
    known = {"source": "lender_a", "visit_id": "9A1190V5974", "content_hash": visit["content_hash"]}
    assert kobra.rows("from deliveries") == [
        {
            **known,
            "delivery_id": visit["delivery_id"],
            "item": 1,
            "received_at": NOON,
            "outcome": "new",
            "segment": name,
            "line": 1,
            "bytes": len(EXAMPLE_BODY),
        }
    ]
    assert kobra.rows("select segment, received_date, lines, bytes, damaged from segments") == [
        {"segment": name, "received_date": NOON.date(), "lines": 1, "bytes": len(EXAMPLE_BODY), "damaged": 0}
    ]
    (loaded_at,) = kobra.values("select loaded_at from segments")
    assert abs((datetime.now(UTC) - loaded_at).total_seconds()) < 600
    assert kobra.rows("from visit_versions") == [
        {
            **known,
            "version_no": 1,
            "valid_from": NOON,
            "valid_to": None,
            "deliveries": 1,
            "is_current": True,
            "finished": True,
            "cancelled": False,
            "end_local": datetime(2020, 3, 17, 13, 58, 29),
            "delivery_id": visit["delivery_id"],
            "item": 1,
        }
    ]


def test_the_published_file_needs_no_other_file(kobra: Home, tmp_path: Path) -> None:
    assert not kobra.files.published.with_name("analytics.duckdb.wal").exists()
    elsewhere = Home(tmp_path)
    elsewhere.files.warehouse.mkdir()
    elsewhere.files.published.write_bytes(kobra.files.published.read_bytes())
    assert elsewhere.values("select visit_id from visits") == ["9A1190V5974"]
