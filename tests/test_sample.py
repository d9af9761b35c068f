"""What the invented visits promise: the same bytes for a seed, the rates of the trade, and every kind of mess."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import islice, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipelines.sample.malformed import MESS, POISON, STRAY, Mess, Payload
from pipelines.sample.visits import CITIES, CONTACT_BY_HOUR, Sent, deliveries

MANY = 20_000
CLEAN = ("visit", "redelivery", "update")
RIGHT_PARTIES = ("Titular", "Cliente", "Aval", "Obligado solidario")
JUAREZ_CHANGES = date(2026, 3, 8)
# Not UTF-8 JSON to the letter, an object in no reading, or deeper than Python's parser follows.
NO_OBJECT = {
    "nan_literal", "infinity_literal", "nul_byte", "raw_line_break", "nested_5000_deep",
    "byte_order_mark", "latin1_bytes", "utf16_bytes", "truncated_json", "trailing_comma", "single_quotes",
    "two_documents", "json_array", "json_text", "json_number", "json_null", "empty_body", "white_space",
    "plain_text", "html_page", "form_encoded",
}  # fmt: skip
EXAMPLE_QUESTIONS = [
    "¿Se realizó contacto?", "¿Con quién se tuvo contacto?", "Nombre de la persona", "¿Se logró promesa de pago?",
    "Método de pago", "Monto", "Fecha", "Volver a visitar", "Fecha para volver a visitar", "Primer horario",
    "Segundo horario", "Etiqueta",
]  # fmt: skip
HASH_PROGRAM = """
import hashlib
from pipelines.sample import visits as sample
digest = hashlib.sha256()
for sent in sample.deliveries(5000, seed=7):
    digest.update(f"{sent.at.isoformat()} {sent.kind} ".encode() + sent.body)
print(digest.hexdigest())
"""


def digest(sample: Iterable[Sent]) -> str:
    seen = sha256()
    for sent in sample:
        seen.update(f"{sent.at.isoformat()} {sent.kind} ".encode() + sent.body)
    return seen.hexdigest()


def answer(visit: Payload, question: str) -> object:
    return next(q["answers"][0]["value"] for q in visit["checklist"] if q["questionName"] == question)


def local(visit: Payload, key: str) -> datetime:
    return datetime.fromisoformat(visit[key]).replace(tzinfo=ZoneInfo(visit["timeZone"]))


def strict_object(body: bytes) -> bool:
    def refuse(literal: str) -> None:
        raise ValueError(literal)

    try:
        return isinstance(json.loads(body.decode(), parse_constant=refuse), dict)
    except (ValueError, RecursionError):
        return False


@pytest.fixture(scope="module")
def sample() -> list[Sent]:
    return list(deliveries(MANY))


@pytest.fixture(scope="module")
def visits(sample: list[Sent]) -> list[Payload]:
    """What was sent first for every clean visit, in order of arrival."""
    return [json.loads(sent.body) for sent in sample if sent.kind == "visit"]


@pytest.fixture(scope="module")
def collections(visits: list[Payload]) -> list[Payload]:
    return [visit for visit in visits if visit["productID"] == 1 and not visit["cancelled"]]


# ---------------------------------------------------------------- the same bytes


def test_a_seed_gives_the_same_bytes_in_every_run_and_process() -> None:
    here = digest(deliveries(5000, seed=7))
    assert here == digest(deliveries(5000, seed=7))
    for hash_seed in ("0", "4711"):
        elsewhere = subprocess.run(
            [sys.executable, "-c", HASH_PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "TZ": "Asia/Tokyo"},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        assert elsewhere.stdout.strip() == here


def test_another_seed_gives_other_bytes() -> None:
    assert digest(deliveries(500, seed=1)) != digest(deliveries(500, seed=2))


def test_a_longer_sample_begins_with_the_shorter_one(sample: list[Sent]) -> None:
    assert list(deliveries(3000)) == sample[:3000]


def test_a_sample_starts_on_the_day_it_is_given() -> None:
    (first,) = deliveries(1, start=date(2027, 6, 7))
    assert first.at.date() == date(2027, 6, 7)


@pytest.mark.parametrize("count", [0, 1, 137])
def test_as_many_as_asked_for(count: int) -> None:
    assert len(list(deliveries(count))) == count


# ---------------------------------------------------------------- arrivals


def test_deliveries_come_in_the_order_of_their_utc_instants(sample: list[Sent]) -> None:
    assert all(earlier.at <= later.at for earlier, later in pairwise(sample))
    assert {sent.at.utcoffset() for sent in sample} == {timedelta(0)}


def test_no_visit_is_sent_before_it_ended_in_its_own_zone(sample: list[Sent]) -> None:
    lags = [sent.at - local(json.loads(sent.body), "endDate") for sent in sample if sent.kind == "visit"]
    assert min(lags) > timedelta(0)
    assert sum(lag < timedelta(seconds=70) for lag in lags) > 0.88 * len(lags)
    assert sum(lag > timedelta(hours=12) for lag in lags) > 0


def test_a_sample_crosses_the_change_of_clocks_at_the_border(visits: list[Payload]) -> None:
    for zone in ("America/Tijuana", "America/Ciudad_Juarez"):
        offsets = {local(visit, "startDate").utcoffset() for visit in visits if visit["timeZone"] == zone}
        assert len(offsets) == 2
    assert visits[0]["startDate"] < str(JUAREZ_CHANGES) < visits[-1]["startDate"]


def test_a_small_sample_spans_several_days() -> None:
    days = {sent.at.date() for sent in deliveries(2000)}
    assert len(days) >= 4


def test_some_visits_come_out_of_order(visits: list[Payload]) -> None:
    latest: dict[int, str] = {}
    overtaken = 0
    for visit in visits:
        agent, start = visit["agentID"], visit["startDate"]
        overtaken += start < latest.get(agent, "")
        latest[agent] = max(start, latest.get(agent, ""))
    assert 0.05 < overtaken / len(visits) < 0.075


def test_agents_without_signal_send_a_whole_round_in_a_burst(sample: list[Sent]) -> None:
    minutes: Counter[tuple[int, datetime]] = Counter()
    for sent in sample:
        if sent.kind == "visit":
            minutes[json.loads(sent.body)["agentID"], sent.at.replace(second=0, microsecond=0)] += 1
    assert sum(visits >= 5 for visits in minutes.values()) >= 5


# ---------------------------------------------------------------- redeliveries and updates


def test_rates_of_redeliveries_updates_and_mess(sample: list[Sent]) -> None:
    kinds = Counter(sent.kind for sent in sample)
    assert 0.034 < kinds["redelivery"] / MANY < 0.046
    assert 0.007 < kinds["update"] / MANY < 0.013
    assert 0.015 < (MANY - sum(kinds[kind] for kind in CLEAN)) / MANY < 0.03


def test_a_redelivery_has_the_content_of_an_earlier_body(sample: list[Sent]) -> None:
    earlier: dict[str, list[tuple[bytes, Payload]]] = {}
    forms: Counter[str] = Counter()
    for sent in sample:
        if sent.kind not in CLEAN:
            continue
        visit = json.loads(sent.body)
        sent_before = earlier.setdefault(visit["visitID"], [])
        if sent.kind == "redelivery":
            body, original = next(pair for pair in sent_before if pair[1] == visit)
            exact, reordered = body == sent.body, list(original) != list(visit)
            forms["exact" if exact else "other order" if reordered else "other spelling"] += 1
        sent_before.append((sent.body, visit))
    redelivered = forms.total()
    assert 0.27 < forms["other order"] / redelivered < 0.40
    assert 0.10 < forms["other spelling"] / redelivered < 0.24
    assert 0.43 < forms["exact"] / redelivered < 0.57


def test_an_update_follows_its_visit_with_another_content(sample: list[Sent]) -> None:
    earlier: dict[str, Payload] = {}
    changes: Counter[str] = Counter()
    for sent in sample:
        if sent.kind in ("visit", "update"):
            visit = json.loads(sent.body)
            if sent.kind == "update":
                before = earlier[visit["visitID"]]
                changes.update(field for field in visit if visit[field] != before[field])
            earlier[visit["visitID"]] = visit
    assert {field for field, _ in changes.most_common()} == {"finished", "tagName", "checklist", "endDate", "comment"}


# ---------------------------------------------------------------- the trade


@pytest.mark.parametrize(
    ("what", "low", "high"),
    [
        (lambda visit: visit["productID"] == 1, 0.79, 0.84),
        (lambda visit: visit["productID"] == 2, 0.105, 0.14),
        (lambda visit: visit["productID"] == 3, 0.048, 0.075),
        (lambda visit: visit["cancelled"], 0.03, 0.04),
        (lambda visit: bool(visit["phones"]), 0.11, 0.13),
        (lambda visit: bool(visit["emails"]), 0.034, 0.046),
        (lambda visit: visit["rebound"], 0.05, 0.07),
        (lambda visit: visit["externalID"].startswith("0"), 0.002, 0.02),
    ],
    ids=["collection", "address", "business", "cancelled", "phones", "e-mails", "rebound", "leading zeros"],
)
def test_shares_of_visits(visits: list[Payload], what: Callable[[Payload], bool], low: float, high: float) -> None:
    assert low < sum(map(what, visits)) / len(visits) < high


def test_contact_depends_on_the_hour(collections: list[Payload]) -> None:
    tried, met = Counter[int](), Counter[int]()
    for visit in collections:
        hour = int(visit["startDate"][11:13])
        tried[hour] += 1
        met[hour] += answer(visit, "¿Se realizó contacto?") == "true"
    known = [hour for hour in tried if tried[hour] >= 300]
    assert len(known) >= 10
    assert all(abs(met[hour] / tried[hour] - CONTACT_BY_HOUR[hour]) < 0.09 for hour in known)
    assert {0.35, 0.62} == {min(CONTACT_BY_HOUR.values()), max(CONTACT_BY_HOUR.values())}


def test_right_parties_and_their_promises(collections: list[Payload]) -> None:
    met = [visit for visit in collections if answer(visit, "¿Se realizó contacto?") == "true"]
    right = [visit for visit in met if answer(visit, "¿Con quién se tuvo contacto?") in RIGHT_PARTIES]
    promised = [visit for visit in right if answer(visit, "¿Se logró promesa de pago?") == "true"]
    assert 0.55 < len(right) / len(met) < 0.61
    assert 0.42 < len(promised) / len(right) < 0.48


def test_promises_have_a_median_around_850_and_fall_on_paydays(collections: list[Payload]) -> None:
    promised = [visit for visit in collections if answer(visit, "¿Se logró promesa de pago?") == "true"]
    amounts = [str(answer(visit, "Monto")) for visit in promised]
    values = sorted(float(re.sub(r"[^\d.]", "", amount)) for amount in amounts)
    assert 780 < values[len(values) // 2] < 920
    assert any("$" in amount for amount in amounts)
    assert any("," in amount for amount in amounts)
    for visit in promised:
        due = date.fromisoformat(str(answer(visit, "Fecha")))
        assert due > date.fromisoformat(visit["startDate"][:10])
        assert due.day == 15 or due.weekday() == 4 or (due + timedelta(days=1)).day == 1


def test_labels_mostly_agree_with_the_outcome(collections: list[Payload]) -> None:
    conflicts = 0
    for visit in collections:
        says_promise = visit["tagName"].lower() == "promesa de pago"
        conflicts += says_promise != (answer(visit, "¿Se logró promesa de pago?") == "true")
        assert visit["tagName"] == answer(visit, "Etiqueta")
    assert 0 < conflicts / len(collections) < 0.01


def test_rounds_are_walked_one_visit_after_the_other(visits: list[Payload]) -> None:
    rounds: dict[tuple[int, str], list[Payload]] = {}
    for visit in visits:
        rounds.setdefault((visit["agentID"], visit["startDate"][:10]), []).append(visit)
    for walked in rounds.values():
        walked.sort(key=lambda visit: visit["startDate"])
        assert all(before["endDate"] < after["startDate"] for before, after in pairwise(walked))
    assert 15 < len(visits) / len(rounds) < 35


def test_places_are_in_the_city_of_the_zone(visits: list[Payload]) -> None:
    for visit in visits:
        lat, lng = float(visit["lat"]), float(visit["lng"])
        assert any(
            city.zone == visit["timeZone"] and abs(city.lat - lat) < 0.5 and abs(city.lng - lng) < 0.5
            for city in CITIES
        )


def test_accounts_are_visited_again_and_some_on_the_day_that_was_asked_for(visits: list[Payload]) -> None:
    days: dict[str, set[str]] = {}
    for visit in visits:
        days.setdefault(visit["externalID"], set()).add(visit["startDate"][:10])
    assert sum(len(seen) > 1 for seen in days.values()) > 0.3 * len(days)
    asked = [(visit, answer(visit, "Fecha para volver a visitar")) for visit in visits]
    kept = [when in days[visit["externalID"]] for visit, when in asked if when is not None]
    assert 0.2 < sum(kept) / len(kept) < 0.7


def test_bodies_have_the_questions_size_and_spelling_of_kobras_example(
    sample: list[Sent], collections: list[Payload]
) -> None:
    bodies = [sent.body for sent in sample if sent.kind == "visit"]
    assert all([q["questionName"] for q in visit["checklist"]] == EXAMPLE_QUESTIONS for visit in collections[:500])
    assert 2300 < sum(map(len, bodies)) / len(bodies) < 3000
    assert all(b'"timeZone":"America\\/' in body for body in bodies)
    assert 0.12 < sum("¿".encode() in body for body in bodies) / len(bodies) < 0.18


def test_nobody_could_be_called_or_written_to(visits: list[Payload]) -> None:
    for visit in visits:
        for phone in visit["phones"]:
            digits = re.sub(r"\D", "", phone["phone"] if isinstance(phone, dict) else phone).removeprefix("52")
            assert re.fullmatch(r"\d{2,3}555+01\d\d", digits)
            assert len(digits) == 10
        assert all(re.fullmatch(r"\w+@example\.(com|mx)", email) for email in visit["emails"])


# ---------------------------------------------------------------- mess


def test_every_kind_of_mess_has_a_name_of_its_own() -> None:
    names = [mess.__name__ for mess in MESS]
    assert len(names) == len(set(names)) == len(STRAY) + len(POISON)
    assert len(POISON) >= 30
    assert set(names) >= NO_OBJECT
    assert not set(names) & set(CLEAN)


@pytest.mark.parametrize("mess", MESS, ids=lambda mess: mess.__name__)
def test_every_kind_of_mess_strikes_two_to_four_times_in_ten_thousand(sample: list[Sent], mess: Mess) -> None:
    struck = [sent.body for sent in sample if sent.kind == mess.__name__]
    assert 3 <= len(struck) <= 8
    assert {strict_object(body) for body in struck} == {mess.__name__ not in NO_OBJECT}


def test_clean_bodies_are_json_objects(sample: list[Sent]) -> None:
    assert all(strict_object(sent.body) for sent in sample if sent.kind in CLEAN)


def test_mess_strikes_some_in_small_samples_too() -> None:
    assert len({sent.kind for sent in islice(deliveries(1000), 1000)} - set(CLEAN)) >= 5
