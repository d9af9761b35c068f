"""Invented visits that look like the trade: one seed, one run of bytes, of which every sample is a beginning.

Nobody in here exists: names are drawn from lists of common ones, e-mails end in example.com or example.mx, and every
phone number has 555 01 in it. A fleet begins with 16 agents and hires one a day, about 25 visits each on a weekday,
so 2 000 deliveries span 5 days, 20 000 a month that crosses the border's DST change, and a million ten months.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import chain, islice
from itertools import count as count_from
from json import dumps, loads
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pipelines.sample.malformed import MESS, TAG, Chance, Mess, Payload, draw, php, replied, spoiled

START = date(2026, 2, 16)  # a Monday, three weeks before the clocks change in Tijuana and Ciudad Juárez
FIRST_AGENTS, ACCOUNTS_EACH = 16, 220
CANCELLED, REDELIVERED, UPDATED, HELD_UP = 0.035, 0.042, 0.01, 0.065
OFFLINE_DAYS, DESK_DAYS, ABSENT = 0.02, 0.004, 0.05  # shares of agent-days
RAW_UTF8, WITH_PHONES, WITH_EMAILS, REBOUND = 0.15, 0.12, 0.04, 0.06
RIGHT_PARTY_PROMISES, LABEL_CONFLICTS, LABELS_RESPELT, REVISITS_MADE = 0.45, 0.01, 0.03, 0.7
MESS_PERIOD = 4000  # completed collection visits in which every kind of mess strikes once: 2 in 10 000 deliveries

MINUTE, HOUR = 60, 3600
SECOND_US = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NULL, TRUE, FALSE = "null", '"true"', '"false"'
METRES_PER_DEGREE = 111_195.0


# ---------------------------------------------------------------- words


def _deck(*weighted: tuple[int, str]) -> tuple[str, ...]:
    """JSON texts, each as often as its weight says."""
    return tuple(chain.from_iterable([php(text)] * weight for weight, text in weighted))


GIVEN_NAMES = """
    ROSALBA MARÍA GUADALUPE JUANA MARGARITA VERÓNICA LETICIA PATRICIA ALEJANDRA ADRIANA SILVIA ELENA LUCÍA SOFÍA
    JOSÉ JUAN LUIS CARLOS FRANCISCO MIGUEL JESÚS ANTONIO PEDRO ALEJANDRO MANUEL RAÚL HÉCTOR ÓSCAR RUBÉN ARTURO
""".split()
SURNAMES = """
    HERNÁNDEZ GARCÍA MARTÍNEZ LÓPEZ GONZÁLEZ PÉREZ RODRÍGUEZ SÁNCHEZ RAMÍREZ CRUZ FLORES GÓMEZ MORALES VÁZQUEZ
    REYES JIMÉNEZ TORRES DÍAZ GUTIÉRREZ RUIZ MENDOZA AGUILAR ORTIZ MORENO CASTILLO ROMERO ÁLVAREZ MÉNDEZ CHÁVEZ
    RIVERA JUÁREZ RAMOS DOMÍNGUEZ HERRERA MEDINA CASTRO VARGAS GUZMÁN MUÑOZ PEÑA SALGADO IBÁÑEZ
""".split()

CONTACT_WITH = _deck(
    (44, "Titular"), (8, "Cliente"), (5, "Aval"), (1, "Obligado solidario"),
    (14, "Cónyuge"), (14, "Familiar"), (8, "Vecino"), (3, "Empleado"), (3, "Otro"),
)  # fmt: skip
RIGHT_PARTIES = frozenset(_deck((1, "Titular"), (1, "Cliente"), (1, "Aval"), (1, "Obligado solidario")))
CONTACT_BY_HOUR = {
    7: 0.52, 8: 0.55, 9: 0.47, 10: 0.41, 11: 0.37, 12: 0.35, 13: 0.38,
    14: 0.43, 15: 0.40, 16: 0.42, 17: 0.48, 18: 0.56, 19: 0.62, 20: 0.60, 21: 0.50,
}  # fmt: skip

PROMISE_TAG = php("Promesa de pago")
PAYMENT_METHODS = _deck(
    (30, "Efectivo"), (20, "OXXO"), (16, "Tienda de conveniencia"), (18, "Transferencia"),
    (10, "Depósito bancario"), (4, "Tarjeta"), (2, "Domiciliación"),
)  # fmt: skip
NO_PROMISE_TAGS = _deck(
    (22, "Cliente ya pagó"), (10, "Pago parcial"), (33, "Negativa de pago"), (20, "Insolvente"),
    (12, "Aclaración"), (3, "Fraude"),
)  # fmt: skip
THIRD_PARTY_TAGS = _deck((70, "Recado con tercero"), (15, "Ya no vive ahí"), (12, "Se dejó aviso"), (3, "Fallecido"))
NO_CONTACT_TAGS = _deck(
    (45, "Nadie en casa"), (25, "Se dejó aviso"), (12, "Domicilio no localizado"), (6, "Ya no vive ahí"),
    (8, "Domicilio deshabitado"), (4, "Zona de riesgo"),
)  # fmt: skip
ANY_TAGS = (PROMISE_TAG, *NO_PROMISE_TAGS, *THIRD_PARTY_TAGS, *NO_CONTACT_TAGS)
RESPELT = {tag: php(str(loads(tag)).upper()) for tag in sorted(set(ANY_TAGS))}

VALIDATED = _deck((9, "Validado"), (1, "Positivo"))
REFUTED = _deck((9, "No validado"), (1, "Negativo"))
INCONCLUSIVE = _deck((1, "No concluyente"))
ADDRESS_VALID, ADDRESS_WRONG = php("Domicilio validado"), php("Domicilio no corresponde")
NOT_FOUND, NOBODY_HOME = php("Domicilio no localizado"), php("Nadie en casa")
BUSINESS_VALID, BUSINESS_CLOSED = php("Negocio validado"), php("Negocio cerrado")
BUSINESS_MISSING, CLOSED_NOW = php("Negocio no existe"), php("Cerrado al momento de la visita")

CANCELLATIONS = _deck(
    (30, "Zona de riesgo"), (25, "Cliente reagendó por teléfono"), (20, "Fin de jornada"),
    (15, "Lluvia intensa"), (10, "Falla del vehículo"),
)  # fmt: skip
COMMENTS = (NULL,) * 40 + _deck(
    (8, ""), (8, "Se toca varias veces, nadie atiende."), (6, "Atiende en la puerta, se explica el saldo."),
    (6, "Casa de 2 pisos, portón negro, s/n visible."), (5, "Solicita llamada por la tarde."),
    (5, "Vecina comenta que trabaja todo el día.\nRegresar después de las 18:00."),
    (5, "Dice que pagó en OXXO; pide revisión del folio."), (4, 'Local con letrero "Abarrotes La Güera".'),
    (4, "Calle cerrada por obra, se llega a pie."), (4, "Perro suelto, precaución."),
    (3, "Prefiere trato por WhatsApp."),
    (2, "Ofrece 1/2 del adeudo y el resto en la próxima quincena."),
)  # fmt: skip
INTERESTS = (NULL, *"0123455566778910")
PHONE_STYLES = ("{0}{1}{2}", "{0} {1} {2}", "+52 {0} {1} {2}", "({0}) {1}-{2}")
MONEY_STYLES = ("{:.2f}",) * 14 + ("{:,.2f}",) * 3 + ("${:,.0f}",) * 2 + ("${:,.2f}", "{:.0f}", "MXN {:,.0f}")
SLOTS = tuple((php(f"{hour:02}:00"), php(f"{hour + 2:02}:00")) for hour in range(8, 20, 2))
VISIT_TYPES = {1: php("Cobranza"), 2: php("Validación de domicilio"), 3: php("Validación de negocio")}
PRODUCTS = (1,) * 82 + (2,) * 12 + (3,) * 6
HMS = tuple(f" {minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60))
# What json_encode escapes without JSON_UNESCAPED_UNICODE.
ESCAPED = tuple((dumps(letter)[1:-1], letter) for letter in "¿áéíóúüñÁÉÍÓÚÑ")


class City(NamedTuple):
    zone: str
    lat: float
    lng: float
    dialling_code: str


CITIES = (
    City("America/Mexico_City", 19.4326, -99.1332, "55"),  # Ciudad de México
    City("America/Tijuana", 32.5149, -117.0382, "664"),
    City("America/Mexico_City", 20.6597, -103.3496, "33"),  # Guadalajara
    City("America/Hermosillo", 29.0729, -110.9559, "662"),
    City("America/Mexico_City", 19.0414, -98.2063, "222"),  # Puebla
    City("America/Ciudad_Juarez", 31.6904, -106.4245, "656"),
    City("America/Mexico_City", 21.1250, -101.6860, "477"),  # León
    City("America/Cancun", 21.1619, -86.8515, "998"),
    City("America/Mexico_City", 19.3200, -99.1500, "55"),  # Coyoacán
    City("America/Mazatlan", 24.8091, -107.3940, "667"),  # Culiacán
    City("America/Mexico_City", 19.6010, -99.0500, "55"),  # Ecatepec
    City("America/Tijuana", 32.6245, -115.4523, "686"),  # Mexicali
)


# ---------------------------------------------------------------- questionnaires

Form = tuple[tuple[str, str], ...]  # per answer: the JSON from the answer before, unanswered and up to its value
Asked = tuple[int, str, int, tuple[str | None, ...]]  # question id, its text, the type of its answers, their names

COLLECTION: tuple[Asked, ...] = (
    (11, "¿Se realizó contacto?", 8, (None,)),
    (12, "¿Con quién se tuvo contacto?", 9, (None,)),
    (13, "Nombre de la persona", 1, (None,)),
    (14, "¿Se logró promesa de pago?", 8, (None,)),
    (15, "Método de pago", 9, (None,)),
    (16, "Monto", 4, (None,)),
    (17, "Fecha", 5, (None,)),
    (18, "Volver a visitar", 8, (None,)),
    (19, "Fecha para volver a visitar", 5, (None,)),
    (20, "Primer horario", 10, ("Hora inicio", "Hora fin")),
    (21, "Segundo horario", 10, ("Hora inicio", "Hora fin")),
    (22, "Etiqueta", 9, (None,)),
)
ADDRESS: tuple[Asked, ...] = (
    (31, "¿Se localizó el domicilio?", 8, (None,)),
    (32, "¿El cliente vive en el domicilio?", 8, (None,)),
    (33, "¿Se realizó contacto?", 8, (None,)),
    (34, "¿Con quién se tuvo contacto?", 9, (None,)),
    (35, "Resultado de la validación", 7, (None,)),
    (36, "Volver a visitar", 8, (None,)),
    (37, "Fecha para volver a visitar", 5, (None,)),
    (38, "Etiqueta", 9, (None,)),
)
BUSINESS: tuple[Asked, ...] = (
    (51, "¿Se localizó el negocio?", 8, (None,)),
    (52, "¿El negocio está operando?", 8, (None,)),
    (53, "¿El giro coincide?", 6, (None,)),
    (54, "¿Se realizó contacto?", 8, (None,)),
    (55, "¿Con quién se tuvo contacto?", 9, (None,)),
    (56, "Resultado de la validación", 7, (None,)),
    (57, "Volver a visitar", 8, (None,)),
    (58, "Fecha para volver a visitar", 5, (None,)),
    (59, "Etiqueta", 9, (None,)),
)


def _form(questions: Sequence[Asked]) -> Form:
    """A questionnaire's JSON, cut before each value; unanswered means no answerID, as in Kobra's example."""
    pieces: list[tuple[str, str]] = []
    for place, (question_id, text, answer_type, names) in enumerate(questions, 1):
        head = "]}," if place > 1 else ""
        head += f'{{"questionID":{question_id},"questionName":{php(text)},"order":{place},"answers":['
        for order, name in enumerate(names, 1):
            rest = f'"answerTypeID":{answer_type},"answerName":{php(name)},"order":{order},"value":'
            before = ("}" if pieces else "") + (head if order == 1 else ",")
            pieces.append((f'{before}{{"answerID":null,{rest}null', f'{before}{{"answerID":{question_id},{rest}'))
    return tuple(pieces)


FORMS = {1: _form(COLLECTION), 2: _form(ADDRESS), 3: _form(BUSINESS)}


# ---------------------------------------------------------------- people and days


class Account(NamedTuple):
    number: int
    external_id: str
    client: str
    product: int
    lat: float
    lng: float


@dataclass(slots=True)
class Agent:
    """Where one agent's rounds stand: the next account in turn, and those that are due on a day (as ordinals)."""

    agent_id: int
    name: str
    city: City
    accounts: tuple[Account, ...]
    turn: int = 0
    agenda: list[tuple[int, Account]] = field(default_factory=list)


class Day(NamedTuple):
    ordinal: int
    weekday: int
    text: str
    coming: tuple[str, ...]  # the date of each day from today on, as JSON
    paydays: tuple[str, ...]  # the coming 15th, month's end and Fridays, as JSON
    midnight_us: dict[str, int]  # per zone, by the offset of its working hours: clocks change at two in the morning


class Outcome(NamedTuple):
    """How a visit went: the answers in the questionnaire's order, as JSON; `again_in` days it is due (0: in turn)."""

    answers: tuple[str, ...]
    tag: str
    met: bool = False
    again_in: int = 0


class Stop(NamedTuple):
    """A visit as it happened: when it began and ended in seconds of the local day, where, and how."""

    account: Account
    began: int
    ended: int
    lat: float
    lng: float
    outcome: Outcome | None  # None when it was cancelled


class Sent(NamedTuple):
    """One POST: its UTC instant, its exact body, and `visit`, `redelivery`, `update` or the name of its mess."""

    at: datetime
    body: bytes
    kind: str


def _name(random: Chance) -> str:
    return php(
        f"{draw(random, GIVEN_NAMES)} {draw(random, GIVEN_NAMES)} {draw(random, SURNAMES)} {draw(random, SURNAMES)}"
    )


def _hired(random: Chance, number: int) -> Agent:
    """An agent with a beat of accounts, each a few streets from the one before."""
    city = CITIES[number % len(CITIES)]
    lat, lng = city.lat + (random() - 0.5) * 0.1, city.lng + (random() - 0.5) * 0.1
    accounts = []
    for account_number in range(number * ACCOUNTS_EACH, (number + 1) * ACCOUNTS_EACH):
        lat += (random() - 0.5) * 0.014 + (city.lat - lat) * 0.02
        lng += (random() - 0.5) * 0.014 + (city.lng - lng) * 0.02
        accounts.append(_account(random, account_number, lat, lng))
    return Agent(21559 + 7 * number, _name(random), city, tuple(accounts))


def _account(random: Chance, number: int, lat: float, lng: float) -> Account:
    leading_zeros = random() < 0.01
    external_id = f"{number + 1:012}" if leading_zeros else str(110105499609 + number * 1003)
    return Account(number, external_id, _name(random), draw(random, PRODUCTS), lat, lng)


def _day(day: date) -> Day:
    coming = [day + timedelta(days=ahead) for ahead in range(16)]
    return Day(
        ordinal=day.toordinal(),
        weekday=day.weekday(),
        text=day.isoformat(),
        coming=tuple(php(later.isoformat()) for later in coming),
        paydays=tuple(php(later.isoformat()) for later in coming[1:] if _is_payday(later)),
        midnight_us={city.zone: _midnight_us(day, city.zone) for city in CITIES},
    )


def _is_payday(day: date) -> bool:
    return day.day == 15 or day.weekday() == 4 or (day + timedelta(days=1)).day == 1


def _midnight_us(day: date, zone: str) -> int:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone))
    return int(noon.timestamp() - 12 * HOUR) * SECOND_US


# ---------------------------------------------------------------- outcomes


def _collected(random: Chance, day: Day, met: bool) -> Outcome:
    party = person = method = amount = due = NULL
    promised = False
    if not met:
        tag = draw(random, NO_CONTACT_TAGS)
    else:
        party, person = draw(random, CONTACT_WITH), _name(random)
        if party not in RIGHT_PARTIES:
            tag = draw(random, THIRD_PARTY_TAGS)
        elif random() < RIGHT_PARTY_PROMISES:
            promised, tag = True, PROMISE_TAG
            method, amount, due = draw(random, PAYMENT_METHODS), _amount(random), _payday(random, day)
        else:
            tag = draw(random, NO_PROMISE_TAGS)
    again_in, *revisit = _revisit(random, day, 0.0 if promised else 0.25)
    if random() < LABEL_CONFLICTS:
        tag = draw(random, ANY_TAGS)
    elif random() < LABELS_RESPELT:
        tag = RESPELT[tag]
    met_text, promise_text = TRUE if met else FALSE, TRUE if promised else FALSE
    answers = (met_text, party, person, promise_text, method, amount, due, *revisit, tag)
    return Outcome(answers, tag, met, again_in)


def _amount(random: Chance) -> str:
    """Lognormal around MXN 850, mostly round, in one of the styles that people write."""
    deviation = sum(random() for _ in range(12)) - 6  # near enough to normal, from the one function that is stable
    amount = 850 * math.exp(0.55 * deviation)
    if random() < 0.7:
        amount = max(50, round(amount / 50) * 50)
    return f'"{draw(random, MONEY_STYLES).format(amount)}"'


def _payday(random: Chance, day: Day) -> str:
    return day.paydays[min(int(random() * random() * 4), len(day.paydays) - 1)]


def _revisit(random: Chance, day: Day, share: float) -> tuple[int, str, str, str, str, str, str]:
    """Days until it is asked for (0: not), then the answers: whether, when, and the two slots."""
    if random() >= share:
        return 0, FALSE, NULL, NULL, NULL, NULL, NULL
    again_in = 1 + int(random() * 10)
    if (day.weekday + again_in) % 7 == 6:
        again_in += 1
    first = draw(random, SLOTS) if random() < 0.6 else (NULL, NULL)
    second = draw(random, SLOTS) if random() < 0.2 else (NULL, NULL)
    return again_in, TRUE, day.coming[again_in], *first, *second


def _address_checked(random: Chance, day: Day, met: bool) -> Outcome:
    found, lives, party = TRUE, NULL, NULL
    if met:
        party = draw(random, CONTACT_WITH)
        lives = TRUE if random() < 0.82 else FALSE
        result, tag = (VALIDATED, ADDRESS_VALID) if lives is TRUE else (REFUTED, ADDRESS_WRONG)
    elif random() < 0.2:
        found, result, tag = FALSE, REFUTED, NOT_FOUND
    else:
        result, tag = INCONCLUSIVE, NOBODY_HOME
    again_in, revisit, when, *_ = _revisit(random, day, 0.5 if tag is NOBODY_HOME else 0.0)
    answers = (found, lives, TRUE if met else FALSE, party, draw(random, result), revisit, when, tag)
    return Outcome(answers, tag, met, again_in)


def _business_checked(random: Chance, day: Day, met: bool) -> Outcome:
    found, operates, same_trade, party = TRUE, NULL, NULL, NULL
    if met:
        party = draw(random, CONTACT_WITH)
        operates, same_trade = TRUE, TRUE if random() < 0.9 else FALSE
        result, tag = (VALIDATED, BUSINESS_VALID) if same_trade is TRUE else (REFUTED, BUSINESS_MISSING)
    elif random() < 0.3:
        found, result, tag = FALSE, REFUTED, BUSINESS_MISSING
    elif random() < 0.3:
        operates, result, tag = FALSE, REFUTED, BUSINESS_CLOSED
    else:
        result, tag = INCONCLUSIVE, CLOSED_NOW
    again_in, revisit, when, *_ = _revisit(random, day, 0.5 if tag is CLOSED_NOW else 0.0)
    met_text = TRUE if met else FALSE
    answers = (found, operates, same_trade, met_text, party, draw(random, result), revisit, when, tag)
    return Outcome(answers, tag, met, again_in)


VISITED: dict[int, Callable[[Chance, Day, bool], Outcome]] = {
    1: _collected, 2: _address_checked, 3: _business_checked,
}  # fmt: skip
UNANSWERED = {product: Outcome((NULL,) * len(form), NULL) for product, form in FORMS.items()}


# ---------------------------------------------------------------- an agent's day


def _works(random: Chance, day: Day) -> bool:
    return random() < (0.1 if day.weekday == 6 else 1 - ABSENT)


def _round(random: Chance, agent: Agent, day: Day) -> Iterator[Stop]:
    """An agent's visits of a day, one after the other: those due first, then the accounts whose turn it is."""
    clock = 7 * HOUR + 30 * MINUTE + int(random() * 2.5 * HOUR)
    home_time = 14 * HOUR if day.weekday == 5 else min(clock + int((7.5 + 4 * random()) * HOUR), 21 * HOUR)
    desk = agent.accounts[0] if random() < DESK_DAYS else None
    lat, lng = agent.city.lat, agent.city.lng
    due = _due(agent, day)
    while clock < home_time:
        account = due.pop() if due else _in_turn(agent)
        metres = (abs(account.lat - lat) + abs(account.lng - lng)) * METRES_PER_DEGREE
        clock += int(MINUTE * (4 + 16 * random()) + metres / 5)  # parks, rings, and drives at 18 km/h
        stop = _stop(random, account, day, clock, desk)
        if stop.outcome is not None and stop.outcome.again_in and random() < REVISITS_MADE:
            late = 0 if random() < 0.6 else 1 + int(random() * 5)
            agent.agenda.append((day.ordinal + stop.outcome.again_in + late, account))
        lat, lng, clock = account.lat, account.lng, stop.ended
        yield stop


def _due(agent: Agent, day: Day) -> list[Account]:
    due = [account for when, account in agent.agenda if when <= day.ordinal]
    if due:
        agent.agenda = [entry for entry in agent.agenda if entry[0] > day.ordinal]
    return due


def _in_turn(agent: Agent) -> Account:
    agent.turn = (agent.turn + 1) % ACCOUNTS_EACH
    return agent.accounts[agent.turn]


def _stop(random: Chance, account: Account, day: Day, began: int, desk: Account | None) -> Stop:
    if random() < CANCELLED:
        outcome, length = None, 30 + int(random() * 4 * MINUTE)
    else:
        met = random() < CONTACT_BY_HOUR.get(began // HOUR, 0.5)
        outcome = VISITED[account.product](random, day, met)
        length = int(MINUTE * (4 + 21 * random() * random() if met else 2 + 5 * random()))
    if desk is not None:
        return Stop(account, began, began + length, desk.lat, desk.lng, outcome)
    lat, lng = account.lat + (random() - 0.5) * 0.0006, account.lng + (random() - 0.5) * 0.0006
    return Stop(account, began, began + length, lat, lng, outcome)


# ---------------------------------------------------------------- bodies


def _body(random: Chance, agent: Agent, day: Day, stop: Stop, number: int) -> bytes:
    """The visit as Kobra's PHP would write it, most often with every accent escaped."""
    account, outcome = stop.account, stop.outcome
    finished, cancelled, reason = "true", "false", NULL
    if outcome is None:
        finished, cancelled, reason = "false", "true", draw(random, CANCELLATIONS)
        outcome = UNANSWERED[account.product]
    began, ended = stop.began, stop.ended
    body = (
        f'{{"visitID":"9A{account.number}V{number}","productID":{account.product},"agentID":{agent.agent_id},'
        f'"externalID":"{account.external_id}","visitType":{VISIT_TYPES[account.product]},'
        f'"lat":"{stop.lat:.6f}","lng":"{stop.lng:.6f}","interest":{draw(random, INTERESTS)},'
        f'"rebound":{"true" if random() < REBOUND else "false"},"tagName":{outcome.tag},'
        f'"finished":{finished},"cancelled":{cancelled},"cancellationReason":{reason},'
        f'"client":{account.client},"agent":{agent.name},'
        f'"startDate":"{day.text}{HMS[began // 60]}{began % 60:02}",'
        f'"endDate":"{day.text}{HMS[ended // 60]}{ended % 60:02}",'
        f'"comment":{draw(random, COMMENTS)},"timeZone":{php(agent.city.zone)},'
        f'"checklist":[{_checklist(FORMS[account.product], outcome.answers)}],'
        f'"phones":{_phones(random, agent.city)},"emails":{_emails(random, account)}}}'
    )
    if random() < RAW_UTF8:
        for escape, letter in ESCAPED:
            body = body.replace(escape, letter)
    return body.encode()


def _checklist(form: Form, answers: tuple[str, ...]) -> str:
    pieces = [
        blank if answer is NULL else asked + answer for (blank, asked), answer in zip(form, answers, strict=True)
    ]
    return "".join(pieces) + "}]}"


def _phones(random: Chance, city: City) -> str:
    if random() >= WITH_PHONES:
        return "[]"
    code = city.dialling_code
    phones: list[object] = []
    for _ in range(1 if random() < 0.8 else 2):
        subscriber = "5555"[: 6 - len(code)]
        phone = draw(random, PHONE_STYLES).format(code, subscriber, f"{100 + int(random() * 100):04}")
        phones.append({"phone": phone} if random() < 0.15 else phone)
    return php(phones)


def _emails(random: Chance, account: Account) -> str:
    if random() >= WITH_EMAILS:
        return "[]"
    domain = "example.com" if random() < 0.6 else "example.mx"
    return php([f"cliente{account.number}@{domain}"])


# ---------------------------------------------------------------- posts


class _Post(NamedTuple):
    at_us: int
    place: int  # breaks ties between posts of one microsecond
    body: bytes
    kind: str


def deliveries(count: int, seed: int = 1, start: date = START) -> Iterator[Sent]:
    """The first `count` POSTs in order of arrival; nothing but the seed and the start decides their bytes."""
    return islice(_arrivals(Random(seed).random, start), count)


def _arrivals(random: Chance, start: date) -> Iterator[Sent]:
    """Posts for ever, holding one day of them and what is delayed beyond it."""
    agents = [_hired(random, number) for number in range(FIRST_AGENTS)]
    messes, numbers = _strikes(random), count_from(5974)
    waiting: list[_Post] = []
    for ahead in range((date.max - start).days):
        day = _day(start + timedelta(days=ahead))
        for agent in agents:
            if _works(random, day):
                waiting.extend(_agent_day(random, agent, day, messes, numbers))
        waiting.sort()
        # Nobody starts before seven anywhere, so nothing made tomorrow arrives before its first hours.
        settled = bisect_left(waiting, (min(day.midnight_us.values()) + 24 * HOUR * SECOND_US,))
        for at_us, _, body, kind in waiting[:settled]:
            yield Sent(EPOCH + timedelta(microseconds=at_us), body, kind)
        del waiting[:settled]
        agents.append(_hired(random, len(agents)))


def _strikes(random: Chance) -> Iterator[Mess | None]:
    """For each completed collection visit in turn the mess that it becomes: every kind once a period, mostly none."""
    while True:
        places = sorted(range(MESS_PERIOD), key=lambda _: random())
        struck = dict(zip(places, MESS, strict=False))
        yield from map(struck.get, range(MESS_PERIOD))


def _agent_day(
    random: Chance, agent: Agent, day: Day, messes: Iterator[Mess | None], numbers: Iterator[int]
) -> Iterator[_Post]:
    """What one agent's day sends: visits as they end, in a burst where there was no signal, and what follows them."""
    midnight_us = day.midnight_us[agent.city.zone]
    for stop, second in _heard(random, _round(random, agent, day)):
        number, at_us = next(numbers), midnight_us + int(second * SECOND_US)
        body = _body(random, agent, day, stop, number)
        completed_collection = stop.account.product == 1 and stop.outcome is not None
        mess = next(messes) if completed_collection else None
        if mess is not None:
            yield _Post(at_us, number, spoiled(mess, body, random), mess.__name__)
            continue
        if random() < UPDATED:
            body, update = _updated(random, body)
            yield _Post(at_us + _soon_us(random), next(numbers), update, "update")
        if random() < REDELIVERED:
            yield _Post(at_us + _soon_us(random), next(numbers), _resent(random, body), "redelivery")
        yield _Post(at_us, number, body, "visit")


def _heard(random: Chance, stops: Iterator[Stop]) -> Iterator[tuple[Stop, float]]:
    """Each stop with the second of the local day in which it is sent; a whole silence ends in one burst."""
    silent, signal = _silence(random)
    burst = 0.0
    for stop in stops:
        if silent <= stop.ended < signal:
            burst += 0.5 + 4 * random()
            yield stop, signal + burst
        elif random() < HELD_UP:
            yield stop, stop.ended + HOUR * (0.7 + 7 * random() * random())
        else:
            yield stop, stop.ended + 2 + 60 * random() * random()


def _silence(random: Chance) -> tuple[int, int]:
    """From when to when an agent has no signal: a few hours, sometimes into the next day but one, mostly never."""
    if random() >= OFFLINE_DAYS:
        return 0, 0
    silent = 8 * HOUR + int(random() * 8 * HOUR)
    return silent, silent + int((3 + 40 * random() * random()) * HOUR)


def _soon_us(random: Chance) -> int:
    """From a minute to two days, sooner rather than later."""
    return int((60 + 2 * 24 * HOUR * random() ** 3) * SECOND_US)


def _updated(random: Chance, body: bytes) -> tuple[bytes, bytes]:
    """What was sent first and what corrects it."""
    change = int(random() * 4)
    if change == 0 and b'"finished":true' in body:
        return body.replace(b'"finished":true', b'"finished":false'), body
    visit: Payload = loads(body)
    if change == 1 and visit["productID"] == 1 and visit["finished"]:
        label = "Aclaración" if visit["tagName"] != "Aclaración" else "Cliente ya pagó"
        visit = replied(visit, TAG, label) | {"tagName": label}
    elif change == 2:
        ended = datetime.fromisoformat(visit["endDate"]) + timedelta(seconds=30 + int(random() * 600))
        visit["endDate"] = str(ended)
    else:
        visit["comment"] = f"{visit['comment'] or ''} Corregido por supervisión.".lstrip()
    return body, php(visit).encode()


def _resent(random: Chance, body: bytes) -> bytes:
    """The same content: half as it was, a third with other key order, the rest with other spacing and escaping."""
    form = random()
    if form < 1 / 2:
        return body
    visit = loads(body)
    if form < 5 / 6:
        return php(_reordered(random, visit)).encode()
    return dumps(visit, ensure_ascii=random() < 0.5, indent=draw(random, (None, 2))).encode()


def _reordered(random: Chance, value: object) -> object:
    """The value with the keys of every object in it in another order."""
    if isinstance(value, list):
        return [_reordered(random, item) for item in value]
    if isinstance(value, dict):
        return {key: _reordered(random, value[key]) for key in sorted(value, key=lambda _: random())}
    return value
