"""Every way in which a delivery strays from Kobra's example, one small function each.

A mess takes a completed collection visit, parsed and its own to change, and returns what is sent instead: another
payload, or the exact bytes. Its name is the function's. STRAY bodies are still visits: docs/metrics.md and
docs/data-dictionary.md say how they are read (or, without a visit id, refused). POISON is what a reader may choke on.
"""

import json
import unicodedata
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

Payload = dict[str, Any]
Chance = Callable[[], float]  # a uniform number in [0, 1): all that a sample's reproducibility rests on
Mess = Callable[[Payload, Chance], Payload | bytes]
T = TypeVar("T")

CONTACT, WITH, PROMISE, METHOD, AMOUNT, PROMISE_DATE = 11, 12, 14, 15, 16, 17
REVISIT, REVISIT_DATE, FIRST_SLOT, TAG = 18, 19, 20, 22

TRUE_SPELLINGS = ("true", "TRUE", "True", "1", 1, "si", "sí", "Sí", "SI", "s", "yes", "Verdadero", "on")
FALSE_SPELLINGS = ("false", "FALSE", "False", "0", 0, "no", "No", "NO", "n", "falso", "off")
UNREADABLE_BOOLEANS = ("quizá", "2", "", "verdad", "null", "?", -1)
UNREADABLE_AMOUNTS = ("1.500,50", "12,5", "mil", "-200", "1e3", "quinientos", "850 o 900", "")
MONEY_STYLES = ("1500", "1500.5", "1,500.50", "$1,500.00", "$1,200", "MXN 1,500", " 850.00 ")
ABBREVIATED_ZONES = ("CST", "PST", "MST", "EST", "GMT-6", "UTC-06:00", "Central Standard Time (Mexico)")
UNKNOWN_ZONES = ("America/Ciudad_Gotica", "Mexico/Centro", "Zona Centro", "America/", "null")


def php(value: object) -> str:
    """JSON as PHP's json_encode writes it: no spaces, `\\/` and `\\u00f3`."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/")


def draw(random: Chance, deck: Sequence[T]) -> T:
    """One of the deck, each place as likely as another."""
    return deck[int(random() * len(deck))]


def spoiled(mess: Mess, body: bytes, random: Chance) -> bytes:
    """What is sent instead of `body`."""
    sent = mess(json.loads(body), random)
    return sent if isinstance(sent, bytes) else php(sent).encode()


def replied(visit: Payload, question_id: int, *values: object) -> Payload:
    """The visit with other answers to one question."""
    question = next(q for q in visit["checklist"] if q["questionID"] == question_id)
    for answer, value in zip(question["answers"], values, strict=False):
        answer["answerID"], answer["value"] = question_id, value
    return visit


def promised(visit: Payload) -> Payload:
    """The visit with a promise of MXN 850 made by the account's holder."""
    for question_id, value in ((CONTACT, "true"), (WITH, "Titular"), (PROMISE, "true"), (METHOD, "Efectivo")):
        replied(visit, question_id, value)
    replied(visit, AMOUNT, "850.00")
    replied(visit, PROMISE_DATE, _later(visit, 5).isoformat())
    replied(visit, TAG, "Promesa de pago")
    return visit | {"tagName": "Promesa de pago"}


def _day(visit: Payload) -> date:
    return date.fromisoformat(visit["startDate"][:10])


def _later(visit: Payload, days: int) -> date:
    return _day(visit) + timedelta(days=days)


def _moved(visit: Payload, key: str, **by: float) -> str:
    return str(datetime.fromisoformat(visit[key]) + timedelta(**by))


def _by_position(items: Sequence[T], first: int = 0, step: int = 1) -> dict[str, T]:
    return {str(first + step * place): item for place, item in enumerate(items)}


# ---------------------------------------------------------------- ids


def visit_id_spelling(visit: Payload, random: Chance) -> Payload:
    # Kobra's table says "visitId", its example "visitID".
    return {"visitId": visit.pop("visitID")} | visit


def visit_id_blank(visit: Payload, random: Chance) -> Payload:
    return visit | {"visitID": draw(random, ("", "   "))}


def visit_id_null(visit: Payload, random: Chance) -> Payload:
    return visit | {"visitID": None}


def visit_id_missing(visit: Payload, random: Chance) -> Payload:
    del visit["visitID"]
    return visit


def visit_id_numeric(visit: Payload, random: Chance) -> Payload:
    return visit | {"visitID": int("".join(filter(str.isdigit, visit["visitID"])))}


def agent_id_text(visit: Payload, random: Chance) -> Payload:
    return visit | {"agentID": str(visit["agentID"])}


def agent_id_decimal(visit: Payload, random: Chance) -> Payload:
    return visit | {"agentID": float(visit["agentID"])}


def agent_id_missing(visit: Payload, random: Chance) -> Payload:
    return visit | {"agentID": None}


def account_numeric(visit: Payload, random: Chance) -> Payload:
    return visit | {"externalID": int(visit["externalID"])}


def account_decimal(visit: Payload, random: Chance) -> Payload:
    return visit | {"externalID": float(visit["externalID"])}


def account_exponent(visit: Payload, random: Chance) -> bytes:
    return php(visit | {"externalID": 0}).replace('"externalID":0', '"externalID":1.10105499609e11').encode()


def account_25_digits(visit: Payload, random: Chance) -> Payload:
    return visit | {"externalID": int("9007199254740" + visit["externalID"].rjust(12, "1"))}


def account_leading_zeros(visit: Payload, random: Chance) -> Payload:
    return visit | {"externalID": "00" + visit["externalID"]}


# ---------------------------------------------------------------- places


def longitude_as_ing(visit: Payload, random: Chance) -> Payload:
    # Kobra's table spells it with a capital i.
    return visit | {"Ing": visit.pop("lng")}


def longitude_as_long(visit: Payload, random: Chance) -> Payload:
    return visit | {"long": visit.pop("lng")}


def coordinates_numeric(visit: Payload, random: Chance) -> Payload:
    return visit | {"lat": float(visit["lat"]), "lng": float(visit["lng"])}


def coordinates_zero(visit: Payload, random: Chance) -> Payload:
    return visit | {"lat": "0.0", "lng": "0.0"}


def coordinates_out_of_range(visit: Payload, random: Chance) -> Payload:
    return visit | draw(random, ({"lat": "194.32608"}, {"lng": "-991.33208"}, {"lat": visit["lng"], "lng": "190"}))


def coordinates_text(visit: Payload, random: Chance) -> Payload:
    return visit | {"lat": draw(random, ("sin señal", "19,432608", "NaN", "Infinity", "19°25'57\"N"))}


def coordinates_null(visit: Payload, random: Chance) -> Payload:
    return visit | {"lat": None, "lng": ""}


def coordinates_of_the_emulator(visit: Payload, random: Chance) -> Payload:
    return visit | {"lat": "37.421998", "lng": "-122.084"}


# ---------------------------------------------------------------- booleans


def boolean_spellings(visit: Payload, random: Chance) -> Payload:
    for field in ("rebound", "finished", "cancelled"):
        visit[field] = draw(random, TRUE_SPELLINGS if visit[field] else FALSE_SPELLINGS)
    replied(visit, CONTACT, draw(random, TRUE_SPELLINGS))
    return replied(visit, REVISIT, draw(random, FALSE_SPELLINGS))


def boolean_unreadable(visit: Payload, random: Chance) -> Payload:
    return replied(visit, REVISIT, draw(random, UNREADABLE_BOOLEANS)) | {"rebound": draw(random, UNREADABLE_BOOLEANS)}


# ---------------------------------------------------------------- lists


def checklist_by_position(visit: Payload, random: Chance) -> Payload:
    return visit | {"checklist": _by_position(visit["checklist"])}


def checklist_with_gaps(visit: Payload, random: Chance) -> Payload:
    # A PHP array that lost an entry; keys above 9 tell numeric order from alphabetical.
    return visit | {"checklist": _by_position(visit["checklist"], first=1, step=2)}


def checklist_null(visit: Payload, random: Chance) -> Payload:
    return visit | {"checklist": None}


def checklist_absent(visit: Payload, random: Chance) -> Payload:
    del visit["checklist"]
    return visit


def checklist_text(visit: Payload, random: Chance) -> Payload:
    return visit | {"checklist": draw(random, ("", "[]", "sin cuestionario"))}


def answers_by_position(visit: Payload, random: Chance) -> Payload:
    for question in visit["checklist"]:
        question["answers"] = _by_position(question["answers"], first=3, step=8)
    return visit


def answers_null(visit: Payload, random: Chance) -> Payload:
    draw(random, visit["checklist"])["answers"] = None
    return visit


def answers_absent(visit: Payload, random: Chance) -> Payload:
    del draw(random, visit["checklist"])["answers"]
    return visit


def order_missing_or_repeated(visit: Payload, random: Chance) -> Payload:
    for question in visit["checklist"]:
        question["order"] = 1
        for answer in question["answers"]:
            del answer["order"]
    return visit


def phones_by_position(visit: Payload, random: Chance) -> Payload:
    return visit | {"phones": {"10": "55 5555 0110", "2": "55 5555 0102"}}


def phones_as_objects(visit: Payload, random: Chance) -> Payload:
    keys = ("phone", "number", "telefono", "tel", "value")
    phones = [{key: f"555555{100 + place:04}", "type": "Celular"} for place, key in enumerate(keys)]
    return visit | {"phones": [*phones, {"otro": "5555550199"}, None, 5555550198]}


def phones_null(visit: Payload, random: Chance) -> Payload:
    return visit | {"phones": None}


def phones_absent(visit: Payload, random: Chance) -> Payload:
    del visit["phones"]
    return visit


def emails_by_position(visit: Payload, random: Chance) -> Payload:
    return visit | {"emails": {"1": "segundo@example.mx", "0": "Primero@Example.COM"}}


def emails_as_objects(visit: Payload, random: Chance) -> Payload:
    keys = ("email", "correo", "mail", "value")
    return visit | {"emails": [{key: f"{key}@example.com", "verified": False} for key in keys]}


def emails_null(visit: Payload, random: Chance) -> Payload:
    return visit | {"emails": None}


def emails_absent(visit: Payload, random: Chance) -> Payload:
    del visit["emails"]
    return visit


# ---------------------------------------------------------------- clocks


def dates_zero(visit: Payload, random: Chance) -> Payload:
    return visit | {draw(random, ("startDate", "endDate")): "0000-00-00 00:00:00"}


def dates_iso(visit: Payload, random: Chance) -> Payload:
    return visit | {key: visit[key].replace(" ", "T") for key in ("startDate", "endDate")}


def dates_with_fractions(visit: Payload, random: Chance) -> Payload:
    return visit | {key: visit[key] + ".250" for key in ("startDate", "endDate")}


def dates_without_seconds(visit: Payload, random: Chance) -> Payload:
    return visit | {key: visit[key][:-3] for key in ("startDate", "endDate")}


def dates_junk(visit: Payload, random: Chance) -> Payload:
    junk = ("ayer", "2026-13-45 10:00:00", "31/02/2026 10:00", "2026-02-30 10:00:00", "", 1773000000, None)
    return visit | {"startDate": draw(random, junk)}


def ends_before_it_starts(visit: Payload, random: Chance) -> Payload:
    return visit | {"endDate": _moved(visit, "startDate", minutes=-4)}


def lasts_for_hours(visit: Payload, random: Chance) -> Payload:
    return visit | {"startDate": _moved(visit, "endDate", hours=-4)}


def lasts_for_seconds(visit: Payload, random: Chance) -> Payload:
    return visit | {"startDate": _moved(visit, "endDate", seconds=-12)}


def phone_clock_ahead(visit: Payload, random: Chance) -> Payload:
    return visit | {key: _moved(visit, key, minutes=90) for key in ("startDate", "endDate")}


def out_of_hours(visit: Payload, random: Chance) -> Payload:
    night = _later(visit, -1)
    return visit | {"startDate": f"{night} 23:10:05", "endDate": f"{night} 23:16:40"}


def dst_gap(visit: Payload, random: Chance) -> Payload:
    """Wall clocks that never were: the border springs forward at 02:00 on March's second Sunday."""
    change = _last_sunday_of_its_kind(_day(visit), month=3, first_day=8)
    return _at_the_border(visit, f"{change} 02:20:00", f"{change} 02:31:00")


def dst_overlap(visit: Payload, random: Chance) -> Payload:
    """Wall clocks that were twice: the border falls back at 02:00 on November's first Sunday."""
    change = _last_sunday_of_its_kind(_day(visit), month=11, first_day=1)
    return _at_the_border(visit, f"{change} 01:50:00", f"{change} 01:10:00")


def _last_sunday_of_its_kind(day: date, month: int, first_day: int) -> date:
    change = date(day.year, month, first_day)
    change += timedelta(days=6 - change.weekday())
    return change if change <= day else _last_sunday_of_its_kind(date(day.year - 1, 12, 31), month, first_day)


def _at_the_border(visit: Payload, start: str, end: str) -> Payload:
    return visit | {"startDate": start, "endDate": end, "timeZone": "America/Tijuana"}


def zone_missing(visit: Payload, random: Chance) -> Payload:
    return visit | {"timeZone": draw(random, (None, ""))}


def zone_abbreviated(visit: Payload, random: Chance) -> Payload:
    return visit | {"timeZone": draw(random, ABBREVIATED_ZONES)}


def zone_unknown(visit: Payload, random: Chance) -> Payload:
    return visit | {"timeZone": draw(random, UNKNOWN_ZONES)}


def zone_lower_case(visit: Payload, random: Chance) -> Payload:
    return visit | {"timeZone": visit["timeZone"].lower()}


# ---------------------------------------------------------------- answers


def amount_unreadable(visit: Payload, random: Chance) -> Payload:
    return replied(promised(visit), AMOUNT, draw(random, UNREADABLE_AMOUNTS))


def amount_styles(visit: Payload, random: Chance) -> Payload:
    return replied(promised(visit), AMOUNT, draw(random, MONEY_STYLES))


def amount_null(visit: Payload, random: Chance) -> Payload:
    return replied(promised(visit), AMOUNT, None)


def answer_values_typed(visit: Payload, random: Chance) -> Payload:
    """JSON numbers and booleans where Kobra's example has text."""
    replied(replied(promised(visit), AMOUNT, 1250.5), CONTACT, True)
    return replied(visit, TAG, draw(random, (7, ["Promesa de pago"], {"value": "Promesa de pago"})))


def answer_date_day_first(visit: Payload, random: Chance) -> Payload:
    style = draw(random, ("%d/%m/%Y", "%d-%m-%Y"))
    return replied(promised(visit), PROMISE_DATE, _later(visit, 6).strftime(style))


def answer_date_instant(visit: Payload, random: Chance) -> Payload:
    """Instants whose date is another one in the visit's own zone."""
    clock = draw(random, ("T02:30:00Z", "T03:00:00.000Z", "T23:30:00-12:00"))
    return replied(promised(visit), PROMISE_DATE, f"{_later(visit, 6)}{clock}")


def answer_date_and_time(visit: Payload, random: Chance) -> Payload:
    return replied(promised(visit), PROMISE_DATE, f"{_later(visit, 6)} 00:00:00")


def answer_date_unreadable(visit: Payload, random: Chance) -> Payload:
    junk = ("mañana", "30/02/2026", "0000-00-00", "15 de marzo", "2026-2-3", "03/15/2026")
    return replied(promised(visit), PROMISE_DATE, draw(random, junk))


def promise_back_dated(visit: Payload, random: Chance) -> Payload:
    return replied(promised(visit), PROMISE_DATE, _later(visit, -30).isoformat())


def promise_without_contact(visit: Payload, random: Chance) -> Payload:
    return replied(promised(visit), CONTACT, "false")


def answer_times(visit: Payload, random: Chance) -> Payload:
    replied(replied(visit, REVISIT, "true"), REVISIT_DATE, _later(visit, 3).isoformat())
    return replied(visit, FIRST_SLOT, *draw(random, (("9:00", "13:30:00"), ("7:05", "9:00"))))


def answer_times_unreadable(visit: Payload, random: Chance) -> Payload:
    replied(replied(visit, REVISIT, "true"), REVISIT_DATE, _later(visit, 3).isoformat())
    return replied(visit, FIRST_SLOT, *draw(random, (("25:00", "9 am"), ("mañana", ""), ("9h30", "12:60"))))


def answer_type_unknown(visit: Payload, random: Chance) -> Payload:
    draw(random, visit["checklist"])["answers"][0].update(
        answerTypeID=draw(random, (11, 99, None, "8")), value="firma.png"
    )
    return visit


def question_unknown(visit: Payload, random: Chance) -> Payload:
    answer = {"answerID": 91, "answerTypeID": 1, "answerName": None, "order": 1, "value": "Fachada azul, 2 pisos"}
    visit["checklist"].append(
        {"questionID": 91, "questionName": "Descripción de la fachada", "order": 13, "answers": [answer]}
    )
    return visit


def label_unknown(visit: Payload, random: Chance) -> Payload:
    label = draw(random, ("Pendiente de clasificar", "Promesa Q2", "Otro"))
    return replied(visit, TAG, label) | {"tagName": label}


# ---------------------------------------------------------------- text and fields


def field_unknown(visit: Payload, random: Chance) -> Payload:
    return visit | {"batteryLevel": 37, "appVersion": "4.12.1", "photos": [{"url": "https://example.com/1.jpg"}]}


def fields_missing(visit: Payload, random: Chance) -> Payload:
    return {key: visit[key] for key in ("visitID", "externalID", "finished")}


def accents_nfd(visit: Payload, random: Chance) -> bytes:
    """Accents as letter and mark, the way a Mac types them."""
    return unicodedata.normalize("NFD", json.dumps(visit, ensure_ascii=False)).encode()


def emoji(visit: Payload, random: Chance) -> Payload:
    return visit | {"comment": "Cliente muy amable 👍🏽 paga el viernes 🙂", "client": visit["client"] + " 🇲🇽"}


def formula_in_text(visit: Payload, random: Chance) -> Payload:
    return visit | {"comment": '=HYPERLINK("https://example.com","ver")', "client": "@SUM(1+1)"}


def text_of_200_kb(visit: Payload, random: Chance) -> Payload:
    return visit | {"comment": "ñandú y pingüino; " * 11_500}


STRAY: tuple[Mess, ...] = (
    visit_id_spelling, visit_id_blank, visit_id_null, visit_id_missing, visit_id_numeric,
    agent_id_text, agent_id_decimal, agent_id_missing,
    account_numeric, account_decimal, account_exponent, account_25_digits, account_leading_zeros,
    longitude_as_ing, longitude_as_long,
    coordinates_numeric, coordinates_zero, coordinates_out_of_range, coordinates_text, coordinates_null,
    coordinates_of_the_emulator,
    boolean_spellings, boolean_unreadable,
    checklist_by_position, checklist_with_gaps, checklist_null, checklist_absent, checklist_text,
    answers_by_position, answers_null, answers_absent, order_missing_or_repeated,
    phones_by_position, phones_as_objects, phones_null, phones_absent,
    emails_by_position, emails_as_objects, emails_null, emails_absent,
    dates_zero, dates_iso, dates_with_fractions, dates_without_seconds, dates_junk,
    ends_before_it_starts, lasts_for_hours, lasts_for_seconds, phone_clock_ahead, out_of_hours, dst_gap, dst_overlap,
    zone_missing, zone_abbreviated, zone_unknown, zone_lower_case,
    amount_unreadable, amount_styles, amount_null, answer_values_typed,
    answer_date_day_first, answer_date_instant, answer_date_and_time, answer_date_unreadable,
    promise_back_dated, promise_without_contact, answer_times, answer_times_unreadable, answer_type_unknown,
    question_unknown, label_unknown,
    field_unknown, fields_missing, accents_nfd, emoji, formula_in_text, text_of_200_kb,
)  # fmt: skip


# ---------------------------------------------------------------- poison


def _with_literal(visit: Payload, field: str, literal: str) -> bytes:
    """The visit with one value that json.dumps would not write."""
    return php(visit | {field: "\0here"}).replace('"\\u0000here"', literal).encode()


def integer_past_64_bits(visit: Payload, random: Chance) -> Payload:
    return visit | {"interest": 2**64 + 1, "agentID": -(10**30)}


def number_past_double(visit: Payload, random: Chance) -> bytes:
    return _with_literal(visit, "interest", "1e400")


def nan_literal(visit: Payload, random: Chance) -> bytes:
    return _with_literal(visit, "interest", "NaN")


def infinity_literal(visit: Payload, random: Chance) -> bytes:
    return _with_literal(visit, "interest", "-Infinity")


def lone_surrogate(visit: Payload, random: Chance) -> bytes:
    return _with_literal(visit, "comment", draw(random, ('"cortado \\ud83d"', '"\\ude00 al inicio"')))


def nul_escape(visit: Payload, random: Chance) -> Payload:
    return visit | {"comment": "antes\0después", "client": visit["client"] + "\0"}


def nul_byte(visit: Payload, random: Chance) -> bytes:
    return _with_literal(visit, "comment", '"antes\0después"')


def raw_line_break(visit: Payload, random: Chance) -> bytes:
    return _with_literal(visit, "comment", '"primera línea\nsegunda"')


def nested_200_deep(visit: Payload, random: Chance) -> bytes:
    return _with_literal(visit, draw(random, ("comment", "checklist", "extra")), "[" * 200 + "]" * 200)


def nested_5000_deep(visit: Payload, random: Chance) -> bytes:
    return _with_literal(visit, draw(random, ("comment", "checklist", "extra")), '{"a":' * 5000 + "1" + "}" * 5000)


def duplicate_keys(visit: Payload, random: Chance) -> bytes:
    return php(visit).encode()[:-1] + b',"visitID":"9A1190V0","tagName":"Nadie en casa"}'


def byte_order_mark(visit: Payload, random: Chance) -> bytes:
    return b"\xef\xbb\xbf" + php(visit).encode()


def latin1_bytes(visit: Payload, random: Chance) -> bytes:
    return json.dumps(visit, ensure_ascii=False).encode("latin-1", "replace")


def utf16_bytes(visit: Payload, random: Chance) -> bytes:
    return json.dumps(visit, ensure_ascii=False).encode("utf-16")


def truncated_json(visit: Payload, random: Chance) -> bytes:
    body = php(visit).encode()
    return body[: int((0.1 + 0.8 * random()) * len(body))]


def trailing_comma(visit: Payload, random: Chance) -> bytes:
    return php(visit).encode()[:-1] + b",}"


def single_quotes(visit: Payload, random: Chance) -> bytes:
    return str(visit).encode()


def two_documents(visit: Payload, random: Chance) -> bytes:
    return php(visit).encode() + b"\n" + php(visit).encode()


def json_array(visit: Payload, random: Chance) -> bytes:
    return php([visit]).encode()


def json_text(visit: Payload, random: Chance) -> bytes:
    return php(php(visit)).encode()


def json_number(visit: Payload, random: Chance) -> bytes:
    return b"110105499609"


def json_null(visit: Payload, random: Chance) -> bytes:
    return b"null"


def empty_object(visit: Payload, random: Chance) -> bytes:
    return b"{}"


def empty_body(visit: Payload, random: Chance) -> bytes:
    return b""


def white_space(visit: Payload, random: Chance) -> bytes:
    return b" \r\n\t"


def plain_text(visit: Payload, random: Chance) -> bytes:
    return b"visita terminada"


def html_page(visit: Payload, random: Chance) -> bytes:
    return b"<html><body><h1>502 Bad Gateway</h1></body></html>"


def form_encoded(visit: Payload, random: Chance) -> bytes:
    return f"visitID={visit['visitID']}&finished=1".encode()


def thousands_of_fields(visit: Payload, random: Chance) -> Payload:
    return visit | {f"campo_{place}": place for place in range(3000)}


def thousands_of_phones(visit: Payload, random: Chance) -> Payload:
    return visit | {"phones": ["55 5555 0100"] * 3000}


POISON: tuple[Mess, ...] = (
    integer_past_64_bits, number_past_double, nan_literal, infinity_literal,
    lone_surrogate, nul_escape, nul_byte, raw_line_break,
    nested_200_deep, nested_5000_deep, duplicate_keys, byte_order_mark, latin1_bytes, utf16_bytes,
    truncated_json, trailing_comma, single_quotes, two_documents,
    json_array, json_text, json_number, json_null, empty_object, empty_body, white_space,
    plain_text, html_page, form_encoded, thousands_of_fields, thousands_of_phones,
)  # fmt: skip

MESS: tuple[Mess, ...] = STRAY + POISON
