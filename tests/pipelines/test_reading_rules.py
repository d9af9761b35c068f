"""How every documented field reads, in all the forms in which it was seen; everything here is loaded once."""

import json
import unicodedata
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from kobra_home import Home, asked, encoded, loaded, small

from pipelines.load import flatten

YES = (
    "true",
    "TRUE",
    "True",
    "1",
    "si",
    "SI",
    "Si",
    "sí",
    "SÍ",
    "Sí",
    "s",
    "S",
    "yes",
    "YES",
    "verdadero",
    "on",
    "ON",
)
NO = ("false", "FALSE", "False", "0", "no", "NO", "No", "n", "N", "falso", "FALSO", "off", "Off")
NEITHER = ("quizá", "2", "-1", "", "null", "verdad", "t", "f", "y", "sii", "síno", "01", "?", "1,0", "true false")
NFD_YES = tuple(unicodedata.normalize("NFD", text) for text in ("sí", "SÍ", "Sí"))

# ---------------------------------------------------------------- fields of a visit: (sent, expected columns)

BOOLEANS = [
    *((value, True) for value in (*YES, *NFD_YES, True, 1)),
    *((value, False) for value in (*NO, False, 0)),
    *((value, None) for value in (*NEITHER, None, 2, -1, 1.5, [], [True], {}, {"value": True})),
]
LOCAL_TIMES = [
    ("2020-03-17 13:56:49", datetime(2020, 3, 17, 13, 56, 49)),
    ("2020-03-17T13:56:49", datetime(2020, 3, 17, 13, 56, 49)),
    ("2020-03-17 13:56", datetime(2020, 3, 17, 13, 56)),
    ("2020-03-17T13:56:49Z", datetime(2020, 3, 17, 7, 56, 49)),  # on the wall clock in Mexico City
    ("2020-03-17T13:56:49-06:00", datetime(2020, 3, 17, 13, 56, 49)),
    ("2020-03-17 13:56+0200", datetime(2020, 3, 17, 5, 56)),
    ("17/03/2020 13:56:49", datetime(2020, 3, 17, 13, 56, 49)),
    ("7/3/2020 9:05", datetime(2020, 3, 7, 9, 5)),
    ("\t2020-03-17 13:56:49\u00a0\n", datetime(2020, 3, 17, 13, 56, 49)),
    ("2020-03-17T00:00", datetime(2020, 3, 17)),
    ("2020-03-17 13:56:49.5", datetime(2020, 3, 17, 13, 56, 49, 500_000)),
    ("2020-03-17T13:56:49.123", datetime(2020, 3, 17, 13, 56, 49, 123_000)),
    ("2024-02-29 23:59:59", datetime(2024, 2, 29, 23, 59, 59)),
    *(
        (text, None)
        for text in (
            "0000-00-00 00:00:00", "2020-00-17 13:56:49", "2020-02-30 10:00:00", "2023-02-29 10:00:00",
            "2020-03-17", "13:56:49", "2020-03-17 24:00:00", "2020-03-17 13:60:00", "2020-03-17 13:56:60",
            "2020-03-17 1:56:49", "20-03-17 13:56:49", "2020/03/17 13:56:49", "32/03/2020 13:56:49",
            "9999-12-31 00:00:00", "0001-01-01 00:00:00", "1899-12-31T23:00:00Z", "2020-03-17 13:56:49 PM",
            "2020-03-17  13:56:49",
            "ayer", "", "null", "infinity", "epoch", 1584453409, 0, True, [], {}, None,
        )
    ),
]  # fmt: skip
FIXES = [
    (("19.4326", "-99.1332"), (19.4326, -99.1332)),
    ((19.4326, -99.1332), (19.4326, -99.1332)),
    ((90, 180), (90.0, 180.0)),
    (("-90", "-180.0"), (-90.0, -180.0)),
    ((0, 12.5), (0.0, 12.5)),
    ((12.5, 0), (12.5, 0.0)),
    (("37.421998", "-122.084"), (37.421998, -122.084)),
    *(
        (fix, (None, None))
        for fix in (
            (0, 0), ("0", "0"), ("0.0", "-0.0"), (90.0001, 10), (-90.0001, 10), (10, 180.0001), (10, -180.0001),
            ("19.4326", None), (None, "-99.1332"), ("", ""), ("19.4326", ""), ("nan", "nan"), ("NaN", "-99.1"),
            ("inf", "10"), ("10", "-Infinity"), ("norte", "oeste"), ("19,4326", "-99,1332"), (True, False),
            ([19.4], [-99.1]), ({"lat": 19.4}, {"lng": -99.1}), ("19.4 N", "99.1 W"),
        )
    ),
]  # fmt: skip
IDS = [
    (110105499609, "110105499609"),
    (110105499609.0, "110105499609"),
    ("110105499609", "110105499609"),
    ("00110", "00110"),
    ("110", "110"),
    (110, "110"),
    (0, "0"),
    (9007199254740993, "9007199254740993"),
    (1234567890123456789012345, "1234567890123456789012345"),
    ("1.10105499609E11", "1.10105499609E11"),
    ("110.0", "110"),
    (" 110 ", "110"),
    ("\u00a0110\t\n", "110"),
    ("1.10105499609E+11", "110105499609"),
    ("1.1E+11", "1.1E+11"),
    ("ÑANDÚ-7", "ÑANDÚ-7"),
    ("", ""),
    (None, None),
]
TEXTS = [
    *(
        (text, text)
        for text in ("Titular", "", " ", "  dos  espacios ", "línea\nnueva\ttab", "=1+1", "a'b\"c\\d/", "👍🏽")
    ),
    ("null", "null"),
    ("NULL", "NULL"),
    ("antes\0después", "antes\0después"),
    (unicodedata.normalize("NFD", "sí"), unicodedata.normalize("NFD", "sí")),
    (None, None),
]
PRODUCTS = [(1, 1), ("1", 1), ("3", 3), (2.0, 2), (99, 99), ("uno", None), ("", None), (None, None), ([1], None)]
INTERESTS = [(5, 5.0), ("5", 5.0), (2.5, 2.5), ("2.5", 2.5), (-1, -1.0), ("alto", None), ("", None), (None, None)]

COLUMNS = {  # field as sent, column
    "rebound": ("rebound", BOOLEANS), "finished": ("finished", BOOLEANS), "cancelled": ("cancelled", BOOLEANS),
    "startDate": ("start_local", LOCAL_TIMES), "endDate": ("end_local", LOCAL_TIMES),
    "externalID": ("account_id", IDS), "agentID": ("agent_id", IDS),
    "productID": ("product_id", PRODUCTS), "interest": ("interest", INTERESTS),
    **{
        name: (column, TEXTS)
        for name, column in {
            "agent": "agent_name", "client": "client_name", "visitType": "visit_type", "tagName": "tag_name",
            "cancellationReason": "cancellation_reason", "timeZone": "time_zone_raw", "comment": "comment",
        }.items()
    },
}  # fmt: skip
FIELD_CASES = [
    (name, sent, column, expected) for name, (column, cases) in COLUMNS.items() for sent, expected in cases
]

# ---------------------------------------------------------------- lists in all their forms

_QUESTION = {"questionID": 1, "questionName": "¿?", "order": 1, "answers": []}


def questions(*names: str) -> list[dict[str, Any]]:
    return [_QUESTION | {"questionName": name} for name in names]


def keyed(items: list[Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return dict(zip(keys, items, strict=True))


CHECKLISTS = [
    (questions("a", "b"), ["a", "b"]),
    (keyed(questions("a", "b"), ("0", "1")), ["a", "b"]),
    (keyed(questions("b", "a"), ("1", "0")), ["a", "b"]),
    (keyed(questions("diez", "nueve", "dos", "cien"), ("10", "9", "2", "100")), ["dos", "nueve", "diez", "cien"]),
    (keyed(questions("x"), ("7",)), ["x"]),
    (questions("igual", "igual"), ["igual", "igual"]),
    ([], []),
    ({}, []),
    (None, []),
    (..., []),
]
ANSWERS = [
    (sent, expected)
    for items in ([{"value": "a"}, {"value": "b"}],)
    for sent, expected in (
        (items, ["a", "b"]),
        ({"0": items[0], "1": items[1]}, ["a", "b"]),
        ({"10": items[0], "9": items[1]}, ["b", "a"]),
        ({"3": items[0], "100": items[1]}, ["a", "b"]),
        ([items[0], items[0]], ["a", "a"]),
        ([], []),
        ({}, []),
        (None, []),
        (..., []),
    )
]
PHONES = [
    (["55 5555 0100"], [("55 5555 0100", "5555550100", None)]),
    (["+52 (55) 5555-0101", "7"], [("+52 (55) 5555-0101", "+525555550101", None), ("7", "7", None)]),
    ({"10": "10", "9": "9"}, [("9", "9", None), ("10", "10", None)]),
    ([5555550100], [("5555550100", "5555550100", None)]),
    ([{"phone": "1", "kind": "casa"}], [("1", "1", {"kind": "casa"})]),
    ([{"number": "2"}], [("2", "2", None)]),
    ([{"telefono": "3"}], [("3", "3", None)]),
    ([{"tel": "4"}], [("4", "4", None)]),
    ([{"value": "5"}], [("5", "5", None)]),
    ([{"tel": "4", "value": "5"}], [("4", "4", {"value": "5"})]),
    ([{"value": "5", "phone": "1"}], [("1", "1", {"value": "5"})]),
    ([{"phone": None, "tel": "4"}], [("4", "4", {"phone": None})]),
    ([{"otra": "cosa"}], [(None, None, {"otra": "cosa"})]),
    (["sin número"], [("sin número", None, None)]),
    ([" +52 1 "], [(" +52 1 ", "+521", None)]),
    (["555", "555"], [("555", "555", None), ("555", "555", None)]),
    ([], []), ({}, []), (None, []), (..., []),
]  # fmt: skip
EMAILS = [
    (["Ana.Lopez@Example.COM"], [("Ana.Lopez@Example.COM", "ana.lopez@example.com", None)]),
    ({"10": "b@x.mx", "9": "a@x.mx"}, [("a@x.mx", "a@x.mx", None), ("b@x.mx", "b@x.mx", None)]),
    ([{"email": "A@x.mx", "de": "casa"}], [("A@x.mx", "a@x.mx", {"de": "casa"})]),
    ([{"correo": "a@x.mx"}], [("a@x.mx", "a@x.mx", None)]),
    ([{"mail": "a@x.mx"}], [("a@x.mx", "a@x.mx", None)]),
    ([{"value": "a@x.mx", "correo": "b@x.mx"}], [("b@x.mx", "b@x.mx", {"value": "a@x.mx"})]),
    ([{"phone": "1"}], [(None, None, {"phone": "1"})]),
    ([], []), ({}, []), (None, []), (..., []),
]  # fmt: skip

# ---------------------------------------------------------------- answers by type: (value, expected typed columns)

BAD = {"parse_ok": False}
MONEY = [
    *(
        (text, {"value_number": Decimal(number), "parse_ok": True})
        for text, number in (
            ("1500", "1500"), ("1500.5", "1500.5"), ("1,500.50", "1500.5"), ("$1,500.00", "1500"),
            ("MXN 1,500", "1500"), ("1,234.50 MXN", "1234.50"), ("MX$1,500", "1500"), ("0.500", "0.500"),
            ("\t1500\u2009", "1500"), ("MXN\u00a01,500.00", "1500"), ("$\u00a01,500", "1500"), ("0", "0"),
            ("0.00", "0"), ("12,345,678.90", "12345678.9"), ("850.00", "850"), ("00850", "850"),
            ("99999999999999.9999", "99999999999999.9999"), (1500, "1500"), (1500.5, "1500.5"), (0, "0"),
            ("0.0001", "0.0001"),
        )
    ),
    *(
        (value, BAD)
        for value in (
            "1.500,50", "12,5", "1e3", "-200", "mil", "", " ", "1,50", "1,5000", "1500,00", "1,500,50", ",500",
            "1,,500", "1.500.000", "0x10", "NaN", "Infinity", "850 o 900", "1500-", "(200)", "1'500", "1 500", "--",
            "$", "MXN", "0,500", "999999999999999", "9" * 400, True, [1500], {"monto": 1500}, -200, "USD 100",
        )
    ),
]  # fmt: skip
SWITCHES = [
    *((value, {"value_bool": True, "parse_ok": True}) for value in (*YES, *NFD_YES, True, 1)),
    *((value, {"value_bool": False, "parse_ok": True}) for value in (*NO, False, 0)),
    *((value, {"value_text": value, "parse_ok": True}) for value in NEITHER),
]
DATES = [
    *(
        (text, {"value_date": date.fromisoformat(day), "parse_ok": True})
        for text, day in (
            ("2026-03-01", "2026-03-01"), ("2024-02-29", "2024-02-29"), ("2026-03-01 23:59:59", "2026-03-01"),
            ("2026-03-01T00:00", "2026-03-01"), ("2026-03-01T10:00:00.000", "2026-03-01"),
            ("01/03/2026", "2026-03-01"), ("31-12-2026", "2026-12-31"), ("13/01/2026", "2026-01-13"),
            ("02/01/2026", "2026-01-02"),
        )
    ),
    *(
        (value, BAD)
        for value in (
            "2026-02-30", "2026-13-01", "0000-00-00", "0000-00-00 00:00:00", "31/02/2026", "12/31/2026", "2026/03/01",
            "20260301", "01-03-26", "mañana", "", "marzo 1", "2026-03-01 25:00:00", "2026-03-01T10:00:00Q",
            "2023-02-29T10:00:00Z", "infinity", 20260301, True, [],
        )
    ),
]  # fmt: skip
LOS_ANGELES, MEXICO, MADRID = "America/Los_Angeles", "America/Mexico_City", "Europe/Madrid"
INSTANTS = [  # (value, zone of the visit, date there)
    ("2026-03-01T07:59:59Z", LOS_ANGELES, "2026-02-28"),
    ("2026-03-01T08:00:00Z", LOS_ANGELES, "2026-03-01"),
    ("2026-07-01T06:59:59Z", LOS_ANGELES, "2026-06-30"),
    ("2026-07-01T07:00:00Z", LOS_ANGELES, "2026-07-01"),
    ("2026-02-28T23:30:00Z", MADRID, "2026-03-01"),
    ("2026-03-01T00:30:00+02:00", LOS_ANGELES, "2026-02-28"),
    ("2026-03-01 00:30:00+0200", LOS_ANGELES, "2026-02-28"),
    ("2026-02-28T20:00:00.500-06:00", MADRID, "2026-03-01"),
    ("2026-02-28T20:00-06", MADRID, "2026-03-01"),
    ("2026-03-01T05:30Z", MEXICO, "2026-02-28"),
    ("2026-03-01T06:00Z", MEXICO, "2026-03-01"),
    ("2026-07-01T05:59:59Z", MEXICO, "2026-06-30"),  # no summer time in Mexico since 2022
    ("2026-03-01T07:59:59Z", "america/los_angeles", "2026-02-28"),
    ("2026-03-01T00:00:00Z", "UTC", "2026-03-01"),
    *(
        (text, zone, day)
        for zone in ("CST", "PST", "EST", "America/Ciudad_Gotica", "Zona Centro", "", None, 5, "GMT-6")
        for text, day in (("2026-03-01T05:59:59Z", "2026-02-28"), ("2026-03-01T06:00:00Z", "2026-03-01"))
    ),
]
TIMES = [
    *(
        (text, {"value_time": time.fromisoformat(clock), "parse_ok": True})
        for text, clock in (
            ("9:00", "09:00"), ("09:00", "09:00"), ("0:00", "00:00"), ("23:59", "23:59"), ("13:30:00", "13:30"),
            ("7:05:59", "07:05:59"), ("9:00 pm", "21:00"), ("9:30 am", "09:30"), ("12:15 a. m.", "00:15"),
            ("07:05:59.5", "07:05:59.5"), ("\u00a09:00\n", "09:00"),
        )
    ),
    *(
        (value, BAD)
        for value in (
            "24:00", "25:00", "12:60", "12:00:60", "9 am", "13:00 pm", "0:30 am", "9h30", "9", "",
            "mediodía", "9:5", "-1:00",
            "2026-03-01 09:00", 900, True, [], "12:00Z",
        )
    ),
]  # fmt: skip
AS_TEXT = [
    *(
        (text, {"value_text": text, "parse_ok": True})
        for text in ("Titular", "", "true", "1500", "2026-03-01", " Sí ")
    ),
    (1500, {"value_text": "1500", "parse_ok": True}),
    (True, {"value_text": "true", "parse_ok": True}),
]
BY_TYPE = (
    *((answer_type, AS_TEXT) for answer_type in (1, 2, 7, 9, 11, 99, "firma", None)),
    (3, MONEY), (4, MONEY), (5, DATES), (6, SWITCHES), (8, SWITCHES), (10, TIMES),
    ("1", AS_TEXT[:1]), ("4", MONEY[:1]), ("5", DATES[:1]), ("8", SWITCHES[:1]), ("10", TIMES[:1]),
    (8.0, SWITCHES[:1]), (10.0, TIMES[:1]),
)  # fmt: skip
ANSWER_CASES = [
    (answer_type, value, expected)
    for answer_type, cases in BY_TYPE
    for value, expected in (*cases, (None, {"parse_ok": None}), (..., {"parse_ok": None}))
]
VALUE_COLUMNS = ("value_bool", "value_number", "value_date", "value_time", "value_text")

# ---------------------------------------------------------------- one load of everything


def given(**fields: object) -> dict[str, object]:
    """`...` stands for a field that was not sent."""
    return {name: value for name, value in fields.items() if value is not ...}


def as_sent(value: object) -> str | None:
    """A value as the text that was sent: text itself, anything else its JSON."""
    if value is None or value is ...:
        return None
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


SPELLINGS = {
    "lng": {"lat": "1", "lng": "2"},
    "Ing": {"lat": "1", "Ing": "2"},
    "long": {"lat": "1", "long": 2},
    "lng first": {"lat": "1", "lng": "2", "Ing": "3", "long": "4"},
    "Ing before long": {"lat": "1", "Ing": "2", "long": "4"},
    "null lng": {"lat": "1", "lng": None, "Ing": "2"},
    "blank lng": {"lat": "1", "lng": " ", "Ing": "2"},
    "longitude": {"latitude": "1", "Longitude": 2},
    "lon": {"LAT": "1", "lon": "2"},
}
# What says something else than the one that counts.
LEFT_OVER = {"lng first": '{"Ing":"3","long":"4"}', "Ing before long": '{"long":"4"}'}
VISIT_IDS = {
    "text": ({"visitID": "9A1190V5974"}, "9A1190V5974"),
    "other spelling": ({"visitId": "9A1190V5975"}, "9A1190V5975"),
    "leading zeros": ({"visitID": "007"}, "007"),
    "number": ({"visitID": 119005974}, "119005974"),
    "long number": ({"visitID": 12345678901234567890123}, "12345678901234567890123"),
    "number with .0": ({"visitID": 119005975.0}, "119005975"),
    "looks like a float": ({"visitID": "1E5"}, "1E5"),
    "blank, but the other spelling": ({"visitID": " ", "visitId": "B1"}, "B1"),
    "null, but the other spelling": ({"visitID": None, "visitId": "B2"}, "B2"),
    "accents": ({"visitID": "Ñ-1"}, "Ñ-1"),
    "in another case": ({"visitid": "C1"}, "C1"),
    "with an underscore": ({"Visit_ID": "C2"}, "C2"),
}
NO_VISIT_IDS = [
    {},
    {"visitID": None},
    {"visitID": ""},
    {"visitID": "   "},
    {"visitID": "\t\n"},
    {"id": 1},
]


@pytest.fixture(scope="module")
def kobra(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return loaded(
        tmp_path_factory.mktemp("rules"),
        *(small(f"field {at}", **{name: sent}) for at, (name, sent, _, _) in enumerate(FIELD_CASES)),
        *(small(f"fix {at}", lat=lat, lng=lng) for at, ((lat, lng), _) in enumerate(FIXES)),
        *(small(f"spelling {name}", **fields) for name, fields in SPELLINGS.items()),
        *(
            {"visitID": f"{field} {at}", **given(**{field: sent})}
            for field, cases in (("checklist", CHECKLISTS), ("phones", PHONES), ("emails", EMAILS))
            for at, (sent, _) in enumerate(cases)
        ),
        *(small(f"answers {at}", checklist=[given(answers=sent)]) for at, (sent, _) in enumerate(ANSWERS)),
        *(
            asked(f"answer {at}", given(answerID=at, answerTypeID=answer_type, answerName="n", order=1, value=value))
            for at, (answer_type, value, _) in enumerate(ANSWER_CASES)
        ),
        *(
            asked(f"instant {at}", {"answerTypeID": 5, "value": value}, timeZone=zone)
            for at, (value, zone, _) in enumerate(INSTANTS)
        ),
        *(encoded({"finished": True, "comment": name} | ids) for name, (ids, _) in VISIT_IDS.items()),
        *(encoded(ids | {"comment": f"none {at}"}) for at, ids in enumerate(NO_VISIT_IDS)),
    )


@pytest.fixture(scope="module")
def visits(kobra: Home) -> dict[str, dict[str, Any]]:
    return kobra.visits()


@pytest.fixture(scope="module")
def answers(kobra: Home) -> dict[str, list[dict[str, Any]]]:
    return grouped(kobra.rows("from answers order by question_pos, answer_pos"))


@pytest.fixture(scope="module")
def asked_questions(kobra: Home) -> dict[str, list[dict[str, Any]]]:
    return grouped(kobra.rows("from questions order by question_pos"))


@pytest.fixture(scope="module")
def contacts(kobra: Home) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return {table: grouped(kobra.rows(f"from {table} order by pos")) for table in ("phones", "emails")}


def grouped(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["visit_id"], []).append(row)
    return found


def name(value: object) -> str:
    """Short and printable, for a test's id."""
    return ascii(value)[:30]


# ---------------------------------------------------------------- the promises


@pytest.mark.parametrize(
    ("at", "column", "expected"),
    [pytest.param(at, *case[2:], id=f"{case[0]}={name(case[1])}") for at, case in enumerate(FIELD_CASES)],
)
def test_a_field_reads_as_the_rules_say(visits: dict[str, Any], at: int, column: str, expected: object) -> None:
    assert visits[f"field {at}"][column] == expected
    assert type(visits[f"field {at}"][column]) is type(expected)


@pytest.mark.parametrize(
    ("at", "fix"), [pytest.param(at, fix, id=name(sent)) for at, (sent, fix) in enumerate(FIXES)]
)
def test_coordinates_are_a_sound_pair_or_both_null(visits: dict[str, Any], at: int, fix: tuple[float, float]) -> None:
    visit = visits[f"fix {at}"]
    assert (visit["lat"], visit["lng"]) == fix


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_longitude_is_read_under_all_its_spellings(visits: dict[str, Any], spelling: str) -> None:
    visit = visits[f"spelling {spelling}"]
    assert (visit["lat"], visit["lng"]) == (1.0, 2.0)
    assert visit["extra"] == LEFT_OVER.get(spelling)


@pytest.mark.parametrize(("at", "names"), [(at, names) for at, (_, names) in enumerate(CHECKLISTS)])
def test_a_checklist_is_read_in_order_whatever_form_the_list_has(
    asked_questions: dict[str, Any], visits: dict[str, Any], at: int, names: list[str]
) -> None:
    found = asked_questions.get(f"checklist {at}", [])
    assert [row["question_name"] for row in found] == names
    assert [row["question_pos"] for row in found] == list(range(1, len(names) + 1))
    assert visits[f"checklist {at}"]["extra"] is None


@pytest.mark.parametrize(("at", "values"), [(at, values) for at, (_, values) in enumerate(ANSWERS)])
def test_answers_are_read_in_order_whatever_form_the_list_has(
    answers: dict[str, Any], asked_questions: dict[str, Any], at: int, values: list[str]
) -> None:
    found = answers.get(f"answers {at}", [])
    assert [row["value"] for row in found] == values
    assert [row["answer_pos"] for row in found] == list(range(1, len(values) + 1))
    assert len(asked_questions[f"answers {at}"]) == 1


@pytest.mark.parametrize(
    ("table", "at", "expected"),
    [
        pytest.param(table, at, rows, id=f"{table}={name(sent)}")
        for table, cases in (("phones", PHONES), ("emails", EMAILS))
        for at, (sent, rows) in enumerate(cases)
    ],
)
def test_phones_and_emails_are_read_in_order_whatever_form_list_and_items_have(
    contacts: dict[str, Any], table: str, at: int, expected: list[tuple[str, str, object]]
) -> None:
    found = contacts[table].get(f"{table} {at}", [])
    assert [(r["value"], r["normalised"], r["extra"] and json.loads(r["extra"])) for r in found] == expected
    assert [row["pos"] for row in found] == list(range(1, len(expected) + 1))


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        pytest.param(at, value, expected, id=f"{answer_type}={name(value)}")
        for at, (answer_type, value, expected) in enumerate(ANSWER_CASES)
    ],
)
def test_an_answer_reads_by_its_type_and_keeps_what_was_sent(
    answers: dict[str, Any], at: int, value: object, expected: dict[str, object]
) -> None:
    (answer,) = answers[f"answer {at}"]
    assert {column: answer[column] for column in (*VALUE_COLUMNS, "parse_ok")} == dict.fromkeys(
        VALUE_COLUMNS
    ) | expected
    assert answer["value"] == as_sent(value)
    assert (answer["answer_id"], answer["answer_name"], answer["answer_order"]) == (str(at), "n", 1)


@pytest.mark.parametrize(
    ("at", "day"), [pytest.param(at, day, id=f"{text} in {zone}") for at, (text, zone, day) in enumerate(INSTANTS)]
)
def test_an_instant_is_a_date_in_the_zone_of_the_visit(answers: dict[str, Any], at: int, day: str) -> None:
    (answer,) = answers[f"instant {at}"]
    assert (answer["value_date"], answer["parse_ok"]) == (date.fromisoformat(day), True)


def test_a_loader_that_believes_any_name_of_a_zone_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    believed = "insert into zones values ('america/ciudad_gotica', 'America/Ciudad_Gotica');"
    monkeypatch.setattr(flatten, "_ZONES", flatten._ZONES + believed)
    visit = asked("v", {"answerTypeID": 5, "value": "2026-03-01T05:00:00Z"}, timeZone="America/Ciudad_Gotica")
    with pytest.raises(PipelineStepFailed, match="Unknown TimeZone"):
        loaded(tmp_path, visit)


@pytest.mark.parametrize("spelling", VISIT_IDS)
def test_a_visit_id_is_text_under_both_spellings(visits: dict[str, Any], spelling: str) -> None:
    assert visits[VISIT_IDS[spelling][1]]["comment"] == spelling


def test_without_a_visit_id_a_delivery_is_rejected_as_such(kobra: Home) -> None:
    assert kobra.values("select reason from rejects") == ["no_visit_id"] * len(NO_VISIT_IDS)
    assert kobra.values("select count(*) from visits where comment like 'none %'") == [0]


def test_every_case_came_through_as_one_visit_of_its_own(kobra: Home, visits: dict[str, Any]) -> None:
    assert kobra.rows("select outcome, count(*) as n from deliveries group by all order by all") == [
        {"outcome": "new", "n": len(visits)},
        {"outcome": "rejected", "n": len(NO_VISIT_IDS)},
    ]


def test_an_account_with_leading_zeros_is_another_account(visits: dict[str, Any]) -> None:
    sent = {
        repr(sent): visits[f"field {at}"]["account_id"]
        for at, (field, sent, _, _) in enumerate(FIELD_CASES)
        if field == "externalID"
    }
    assert sent["'00110'"] != sent["'110'"] == sent["110"]
