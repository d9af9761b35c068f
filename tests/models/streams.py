"""Random deliveries that meet every rule of the marts in few visits, the same for the same seed.

Two lenders, three agents, five accounts and a dozen days, so that visits crowd: they overlap, share spots, follow
each other after exactly 30 days, and fall into the hours in which border cities change their clocks. Nobody in here
exists.
"""

import json
import unicodedata
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from marts_reading import zone_of
from marts_visits import Mappings

T = TypeVar("T")
Payload = dict[str, Any]
Question = dict[str, Any]
Form = tuple[int | None, str, int]  # question id, its text, the type of its answers

DEFAULT_ZONE = "America/Mexico_City"


class Delivery(NamedTuple):
    """What kobra_home.Post takes: `Post(*delivery)`."""

    body: bytes
    at: datetime
    source: str


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


# ---------------------------------------------------------------- decks: each place as likely as another

SOURCES = ("lender_a", "lender_a", "lender_b")
DAYS = tuple(
    date.fromisoformat(day)
    for day in (
        "2026-03-07", "2026-03-08", "2026-03-08", "2026-03-08", "2026-03-09", "2026-03-10",  # 8 March: clocks forward
        "2026-04-07", "2026-04-08",  # 30 days after 8 and 9 March
        "2026-10-31", "2026-11-01", "2026-11-01", "2026-11-01", "2026-11-02",  # 1 November: clocks back
        "2026-12-01", "2026-12-02",  # 30 days after 1 and 2 November
    )
)  # fmt: skip
CLOCK_CHANGES = (date(2026, 3, 8), date(2026, 11, 1))
STARTS = tuple(
    time.fromisoformat(clock)
    for clock in (
        "00:30", "06:59:59", "07:00", "09:00", "09:00", "09:20", "09:40", "10:00", "10:00", "10:00:30", "10:05",
        "10:30", "12:00", "16:00", "18:00", "20:00", "21:59:59", "22:00", "23:30",
    )
)  # fmt: skip
SMALL_HOURS = tuple(map(time.fromisoformat, "00:59:59 01:00 01:30 01:40 01:59:59 02:00 02:30 02:59:59 03:00".split()))
DURATIONS_S = (-3600, -600, 0, 30, 59, 60, 300, 600, 1200, 1200, 1800, 3600, 3600, 5400, 10_800, 10_801, 14_400)
LAGS_S = (-3600, -301, -300, 0, 5, 60, 60, 600, 86_400, 86_401, 200_000)
ZONES = (
    *("America/Tijuana",) * 4, *("America/Ciudad_Juarez",) * 3, "America/Los_Angeles", "america/los_angeles",
    " America/Tijuana ", "AMERICA/MEXICO_CITY", "America/Mexico_City", "America/Mexico_City", "America/Cancun",
    "UTC", "utc", "CST", "EST5EDT", "Zona Centro", "America/Ciudad_Gotica", "", None,
)  # fmt: skip
AGENTS = (
    {"agentID": 21559, "agent": "HERMES HECTOR ARREDONDO LUGO"},
    {"agentID": "21559", "agent": "Hermes Héctor Arredondo"},
    {"agentID": 21559, "agent": None},
    {"agentID": "021559", "agent": "Otra Persona"},
    {"agentID": None, "agent": "Ana María López"},
    {"agentID": "", "agent": "  ANA  MARIA LOPEZ "},
    {"agentID": " ", "agent": nfd("ana maría lópez")},
    {"agentID": None, "agent": None},
)
ACCOUNTS = (110, "110", "110", "00110", "A-7", "A-7", "A-7", "A-8", "A-9", None, "")
CLIENTS = ("Q ROSALBA SALGADO TORRES", "Rosalba Salgado", "", None)
HOME = (19.4326, -99.1332)
FIXES = (
    HOME, HOME, HOME, ("19.432602", "-99.133202"), (19.4344, -99.1332), (19.43439, -99.1332), (19.4368, -99.1332),
    (19.4371, -99.1332), (19.5326, -99.1332), (20.6597, -103.3496), ("37.421998", "-122.084"), (37.4217, -122.0842),
    (None, None), (0, 0), ("19.4326", None),
)  # fmt: skip
PRODUCTS = (*(1,) * 9, "1", *(2,) * 4, *(3,) * 3, None, 99)
ENDINGS = (
    *({"finished": True, "cancelled": False},) * 9,
    {"finished": "Sí", "cancelled": None},
    {"finished": True, "cancelled": True},
    {"finished": False, "cancelled": True},
    {"finished": False, "cancelled": False},
    {"finished": None, "cancelled": "quizá"},
)
YES = ("true", "true", "1", "Sí", "SI", nfd("Sí"), True, "Verdadero")
NO = ("false", "false", "0", "No", False, "off")
UNKNOWN = ("quizá", "", None)
TAGS = (
    "Promesa de pago", "PROMESA  DE PAGO", "promesa de pago.", "Cliente ya pagó", nfd("Cliente ya pagó"),
    "CLIENTE YA PAGO", "Nadie en casa", "¡Nadie en casa!", "Domicilio validado", "Domicilio no localizado",
    "Negocio validado", "Cerrado al momento de la visita", "Etiqueta nueva", "etiqueta NUEVA", "Pagará el viernes",
    "", " ", None, None,
)  # fmt: skip
PEOPLE = ("Titular", "titular", "TITULAR", "Aval", "Cónyuge", nfd("Cónyuge"), "conyuge", "Vecino", "Nadie", "", None)
METHODS = ("OXXO", "Oxxo", "Efectivo", "Depósito bancario", nfd("Depósito bancario"), "Bitcoin", " ", None, None)
AMOUNTS = (
    "1000", "1000", "1000", "1000", "1,000.00", "$1,000.00", "MXN 1,000", "500.5", 1000, "333.33", "0", "mil",
    "1.500,50", "-200", "", None,
)  # fmt: skip
RESULTS = ("Validado", "validado", "No validado", "Negativo", "No concluyente", "Sin resultado", None, None)
DAYS_AHEAD = (-30, -1, 0, 0, 1, 1, 2, 3, 4, 23, 24, 29, 30)
DAYS_TO_REVISIT = (-1, 0, 0, 1, 1, 1, 2, 30)
BAD_DATES = ("2026-02-30", "mañana", "0000-00-00", "12/31/2026", "")
SLOTS = (
    ("9:00", "10:00"), ("9:20", "10:00"), ("10:00", "10:30:00"), ("10:30", "23:59"), ("12:00", "9:00"),
    ("10:00", None), (None, None), ("25:00", "26:00"),
)  # fmt: skip

# ---------------------------------------------------------------- what this customer's own lines say

OWN_LINES = Mappings(
    question_roles=[
        {"source": source, "product_id": product, "question_id": question_id, "question_name": name}
        | {"answer_name": answer_name, "role": role, "value_type": value_type}
        for source, product, question_id, name, answer_name, role, value_type in (
            ("", "", "70", "", "", "promise_made", "bool"),
            ("", "", "71", "", "", "promise_amount", "money"),
            ("", "", "72", "", "", "promise_date", "date"),
            ("", "", "73", "", "", "tag", "code"),
            ("", "", "74", "", "", "slot1_start", "time"),
            ("", "", "", "¿Quién atendió?", "", "contact_with", "code"),
            ("", "1", "", "¿Quién atendió?", "Nombre", "contact_name", "text"),
            ("lender_b", "", "", "Compromiso", "", "promise_made", "bool"),
            ("lender_b", "1", "16", "", "", "payment_method", "code"),
            ("lender_b", "1", "", "Fecha", "Visita", "revisit_date", "date"),
            ("", "", "", "Compromiso", "", "revisit", "bool"),
        )
    ],
    answer_codes=[
        {"source": source, "product_id": product, "role": role, "value": value, "code": code}
        for source, product, role, value, code in (
            ("lender_b", "", "contact_with", "TITULAR", "guarantor"),
            ("lender_b", "1", "contact_with", "Vecino", "right_party"),
            ("", "", "payment_method", "oxxo", "cash"),  # the line of product 1 beats it
            ("", "", "payment_method", "Bitcoin", "card"),
            ("lender_b", "", "tag", "Pagara el viernes", "promise"),
            ("", "", "tag", "Promesa de pago", "refusal"),  # as above, but for products 2 and 3
        )
    ],
    settings=[
        {"source": "lender_b", "key": key, "value": value, "meaning": ""}
        for key, value in (
            ("default_time_zone", "America/Tijuana"), ("promise_grace_days", "1"), ("promise_threshold", "0.5"),
            ("revisit_tolerance_days", "0"), ("episode_days", "29"), ("short_visit_seconds", "61"),
            ("place_radius_m", "190"), ("same_spot_accounts", "2"), ("min_visits_heatmap", "2"),
            ("hours_open", "08:00"), ("late_hours", "12"),
        )
    ],
)  # fmt: skip

# ---------------------------------------------------------------- visits


def stream(seed: int, size: int) -> list[list[Delivery]]:
    """Batches of deliveries of about `size` visits, to be loaded one after the other."""
    chance = Random(f"stream {seed}")
    deliveries = [each for number in range(size) for each in _deliveries(f"V{number}", chance)]
    deliveries += [_broken(chance) for _ in range(1 + size // 25)]
    deliveries.sort(key=lambda each: each.at)
    if chance.random() < 0.3:  # what was recorded offline comes in any order
        chance.shuffle(deliveries)
    cuts = sorted(chance.sample(range(1, len(deliveries)), min(3, len(deliveries) - 1)))
    return [deliveries[first:last] for first, last in zip([0, *cuts], [*cuts, None], strict=True)]


def _deliveries(visit_id: str, chance: Random) -> list[Delivery]:
    """Everything that comes of one visit: its versions, and some of them again."""
    source = chance.choice(SOURCES)
    versions = [_visit(visit_id, chance)]
    while chance.random() < 0.25:
        versions.append(_changed(versions[-1], chance))
    if chance.random() < 0.15:
        versions.append(chance.choice(versions))  # a redelivery
    sources = [source, "lender_b"] if chance.random() < 0.05 else [source]  # two lenders may use one id
    at = _received(versions[0], chance)
    return [
        Delivery(_encoded(version, chance), at + number * timedelta(seconds=chance.choice((1, 60, 86_400))), source)
        for source in sources
        for number, version in enumerate(versions)
    ]


def _visit(visit_id: str, chance: Random) -> Payload:
    day = chance.choice(DAYS)
    is_small_hour = day in CLOCK_CHANGES and chance.random() < 0.5
    start = datetime.combine(day, chance.choice(SMALL_HOURS if is_small_hour else STARTS))
    end = start + timedelta(seconds=chance.choice(DURATIONS_S))
    lat, lng = chance.choice(FIXES)
    product = chance.choice(PRODUCTS)
    return {
        "visitID": visit_id,
        "productID": product,
        **chance.choice(AGENTS),
        "externalID": chance.choice(ACCOUNTS),
        "visitType": "Cobranza",
        "lat": lat,
        "lng": lng,
        "interest": 5,
        "rebound": chance.choice((True, False, "si", None)),
        "tagName": chance.choice(TAGS),
        **chance.choice(ENDINGS),
        "cancellationReason": chance.choice((None, "Lluvia")),
        "client": chance.choice(CLIENTS),
        "startDate": _now_and_then(chance, None, str(start)),
        "endDate": _now_and_then(chance, "0000-00-00 00:00:00", str(end)),
        "comment": "nadie",
        "timeZone": chance.choice(ZONES[:8] if is_small_hour else ZONES),
        "checklist": _checklist(product, day, chance),
        "phones": [],
        "emails": [],
    }


def _changed(visit: Payload, chance: Random) -> Payload:
    """A later version, of which one thing is different: the visit moves, ends, or says something else."""
    other = _visit(visit["visitID"], chance)
    moved = chance.choice(
        (("agentID", "agent"), ("externalID",), ("startDate", "endDate"), ("timeZone",), ("finished", "cancelled"),
         ("tagName",), ("lat", "lng"), ("productID", "checklist"), ("checklist",), tuple(other))
    )  # fmt: skip
    return visit | {name: other[name] for name in moved}


def _received(visit: Payload, chance: Random) -> datetime:
    """When the first version comes in: some time after the end, by the clock of the place."""
    text = visit["endDate"] if visit["endDate"][0] != "0" else visit["startDate"]
    local = datetime.fromisoformat(text or "2026-03-08 12:00:00")
    zone = zone_of(visit["timeZone"], DEFAULT_ZONE).name
    return local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) + timedelta(seconds=chance.choice(LAGS_S))


def _encoded(visit: Payload, chance: Random) -> bytes:
    return json.dumps(visit, ensure_ascii=chance.random() < 0.5).encode()


def _broken(chance: Random) -> Delivery:
    body = chance.choice((b"{", b"", b'{"visitID": ""}', b"[]", b"\xff\xfe"))
    at = datetime.combine(chance.choice(DAYS), chance.choice(STARTS), UTC)
    return Delivery(body, at, chance.choice(SOURCES))


def _now_and_then(chance: Random, rare: T, usual: T) -> T:
    return rare if chance.random() < 0.04 else usual


# ---------------------------------------------------------------- checklists


def _checklist(product: object, day: date, chance: Random) -> list[Question] | None:
    if chance.random() < 0.04:
        return None
    asked = _debt(day, chance) if str(product) == "1" else _validation(chance)
    asked += _revisit(day, chance)
    if chance.random() < 0.3:
        asked.append(
            _asked(chance, (chance.choice((90, None)), "¿Tiene mascotas?", 8), chance.choice((*YES, *UNKNOWN)))
        )
    asked = [question for question in asked if chance.random() > 0.03]
    if asked and chance.random() < 0.15:  # a question twice: the first answer that reads counts
        asked.insert(chance.randrange(len(asked)), chance.choice(asked))
    if asked and chance.random() < 0.05:
        chance.choice(asked)["answers"] = chance.choice(([], None))
    return asked


def _debt(day: date, chance: Random) -> list[Question]:
    contact = chance.choice((*YES, *YES, *NO, *UNKNOWN))
    promised = chance.choice((*YES, *YES, *YES, *NO, *UNKNOWN))
    return [
        _asked(chance, (11, "¿Se realizó contacto?", chance.choice((8, 9))), contact),
        chance.choice((_asked(chance, (12, "¿Con quién se tuvo contacto?", 9), chance.choice(PEOPLE)), _who(chance))),
        _asked(chance, (13, "Nombre de la persona", 1), chance.choice(("Rosalba", " ", None))),
        _promised(promised, chance),
        _asked(chance, (15, "Método de pago", 9), chance.choice(METHODS)),
        _amount(chance),
        _promise_date(_day(day, chance), chance),
        _asked(
            chance, (chance.choice((22, 73)), chance.choice(("Etiqueta", "Clasificación")), 9), chance.choice(TAGS)
        ),
    ]


def _validation(chance: Random) -> list[Question]:
    return [
        _asked(chance, (31, "¿Se localizó el domicilio?", 8), chance.choice((*YES, *NO))),
        _asked(chance, (32, "¿El cliente vive en el domicilio?", 8), chance.choice((*YES, *NO))),
        _asked(chance, (51, "¿Se localizó el negocio?", 8), chance.choice((*YES, *NO))),
        _asked(chance, (52, "¿El negocio está operando?", 8), chance.choice((*YES, *NO))),
        _asked(chance, (53, "¿El giro coincide?", 6), chance.choice((*YES, *NO))),
        _asked(chance, (33, "¿Se realizó contacto?", 8), chance.choice((*YES, *NO, *UNKNOWN))),
        _asked(chance, (34, "¿Con quién se tuvo contacto?", 9), chance.choice(PEOPLE)),
        _asked(chance, (35, "Resultado de la validación", 7), chance.choice(RESULTS)),
        _asked(chance, (38, "Etiqueta", 9), chance.choice(TAGS)),
        _asked(chance, (70, "¿Pagará?", 8), chance.choice((*YES, *NO, None, None))),
        _asked(chance, (72, "¿Cuándo?", 5), _day(chance.choice(DAYS), chance)),
    ]


def _revisit(day: date, chance: Random) -> list[Question]:
    return [
        _asked(chance, (18, "Volver a visitar", 8), chance.choice((*YES, *NO))),
        _asked(chance, (19, "Fecha para volver a visitar", 5), _day(day, chance, DAYS_TO_REVISIT)),
        _slot(20, "Primer horario", chance),
        _slot(21, "Segundo horario", chance),
    ]


def _who(chance: Random) -> Question:
    """One question with two answers, told apart by their names."""
    question = _asked(chance, (75, "¿Quién atendió?", 9), chance.choice(PEOPLE), "Parentesco")
    name = {"answerID": 2, "answerTypeID": 1, "answerName": "NOMBRE", "order": 2, "value": "Vecino"}
    return question | {"answers": [*question["answers"], name]}


def _promised(value: object, chance: Random) -> Question:
    """By name and id, by name alone, by id alone with a type that fits and with one that does not, by source."""
    forms = (
        (14, "¿Se logró promesa de pago?", 8), (14, "se LOGRO promesa de pago", 9),
        (99, "Se logro promesa de pago", 1),
        (14, "¿Prometió?", 8), (14, "¿Prometió?", 1), (70, "¿Pagará?", 6), (70, "¿Pagará?", 4),
        (None, "Compromiso", 8),
    )  # fmt: skip
    return _asked(chance, chance.choice(forms), value)


def _amount(chance: Random) -> Question:
    form = chance.choice(
        (
            (16, "Monto", 4),
            (16, "Monto", 4),
            (16, "Monto", 4),
            (16, "Monto", 1),
            (16, "Importe", 3),
            (16, "Importe", 9),
            (71, "Pago", 4),
        )
    )
    return _asked(chance, form, chance.choice(AMOUNTS))


def _promise_date(day: str | None, chance: Random) -> Question:
    form = chance.choice(
        (
            (17, "Fecha", 5),
            (17, "Fecha", 5),
            (17, "Fecha", 5),
            (17, "Fecha", 1),
            (17, "Día", 5),
            (72, "Día", 5),
            (72, "Día", 1),
        )
    )
    return _asked(chance, form, day, chance.choice((None, None, None, "visita")))


def _slot(question_id: int, text: str, chance: Random) -> Question:
    first, last = chance.choice(SLOTS)
    question = _asked(
        chance, (question_id, text, 10), first, chance.choice(("Hora inicio", "Hora inicio", "HORA INICIO", None))
    )
    end = {"answerID": None, "answerTypeID": 10, "answerName": "Hora fin", "order": 2, "value": last}
    return question | {"answers": [*question["answers"], end]}


def _day(day: date, chance: Random, ahead: Sequence[int] = DAYS_AHEAD) -> str | None:
    """A date some days ahead, in one of the forms in which dates come."""
    wanted = day + timedelta(days=chance.choice(ahead))
    return chance.choice(
        (*(wanted.isoformat(),) * 12, f"{wanted:%d/%m/%Y}", f"{wanted} 23:59:00", f"{wanted}T05:30:00Z",
         chance.choice(BAD_DATES), None)
    )  # fmt: skip


def _asked(chance: Random, form: Form, value: object, answer_name: str | None = None) -> Question:
    """A question with one answer; its text in one of the spellings that mean the same."""
    question_id, text, answer_type = form
    spelling = chance.choice((text, text, text, nfd(text), text.upper(), f" {text.lower()} "))
    about = {"answerID": question_id, "answerTypeID": answer_type, "answerName": answer_name, "order": 1}
    return {"questionID": question_id, "questionName": spelling, "order": 1, "answers": [about | {"value": value}]}


# ---------------------------------------------------------------- the optional files


def payments(seed: int) -> list[dict[str, str]]:
    """Lines of payments.csv; without the column `source` for odd seeds."""
    chance = Random(f"payments {seed}")
    rows = [_payment(number, chance) for number in range(60)]
    return [{name: text for name, text in row.items() if name != "source" or seed % 2 == 0} for row in rows]


def _payment(number: int, chance: Random) -> dict[str, str]:
    day = chance.choice(DAYS) + timedelta(days=chance.choice((-1, 0, 0, 1, 2, 3, 4, 5, 30, 33, 34)))
    return {
        "payment_id": f"P{number}",
        "external_id": chance.choice(("110", "00110", "A-7", "A-7", "A-8", "A-9", "otra", "")),
        "paid_date": chance.choice((*(day.isoformat(),) * 5, f"{day:%d/%m/%Y}", f"{day} 08:00:00", "31/02/2026", "")),
        "amount": chance.choice(
            ("900", "900.00", "899.99", "500", "$1,000.00", "100", "0.01", "-900", "-100.00", "1.000,00", "mil", "")
        ),
        "source": chance.choice(("", "", "lender_a", "lender_b")),
    }


def accounts(seed: int) -> list[dict[str, str]]:
    """Lines of accounts.csv: of some accounts several, of some none; no two of one account and day."""
    chance = Random(f"accounts {seed}")
    rows = [
        _account_line(external_id, as_of_date, source, chance)
        for external_id in ("110", "00110", "A-7", "A-8", "nunca visto", "")
        for as_of_date in ("2026-03-01", "2026-10-01", "01/11/2026", "pronto", "")
        for source in ("", "lender_a", "lender_b")
        if chance.random() < 0.4
    ]
    chance.shuffle(rows)
    return rows


def _account_line(external_id: str, as_of_date: str, source: str, chance: Random) -> dict[str, str]:
    lat, lng = chance.choice(
        (("19.4326", "-99.1332"), ("19.4344", "-99.1332"), ("", ""), ("0", "0"), ("norte", "1"), ("91", "1"))
    )
    return {
        "external_id": external_id,
        "as_of_date": as_of_date,
        "source": source,
        "product_id": chance.choice(("1", "2", "")),
        "portfolio": chance.choice(("Cartera Ñ", "")),
        "balance": chance.choice(("12,500.00", "-20", "mucho", "")),
        "past_due": chance.choice(("800", "")),
        "days_past_due": chance.choice(("0", "45", "x", "")),
        "lat": lat,
        "lng": lng,
        "agent_id": chance.choice(("21559", "")),
        "assigned_on": chance.choice(("2026-02-01", "15/02/2026", "ayer", "")),
        "currency": chance.choice(("MXN", "")),
    }
