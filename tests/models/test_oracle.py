"""The oracle is right where a person has worked out by hand what METRICS.md asks for."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from marts_oracle import marts
from marts_reading import normalised, read_bool, read_date, read_money, read_signed_money, wilson_low
from marts_visits import Form, Mappings, Rules

AS_OF = date(2026, 6, 30)
SETTINGS = {
    "default_time_zone": "America/Mexico_City", "promise_grace_days": "3", "promise_threshold": "0.90",
    "revisit_tolerance_days": "1", "episode_days": "30", "short_visit_seconds": "60", "long_visit_minutes": "180",
    "place_radius_m": "200", "max_speed_kmh": "120", "speed_noise_m": "500", "same_spot_accounts": "3",
    "skew_minutes": "5", "late_hours": "24", "min_visits_heatmap": "30", "hours_open": "07:00",
    "hours_close": "22:00",
}  # fmt: skip
TYPES = {"bool": "8", "money": "4", "date": "5", "time": "10", "code": "9"}
ASKED = {  # question id: text, answer name, role, value type
    "11": ("¿Se realizó contacto?", "", "contact_made", "bool"),
    "12": ("¿Con quién se tuvo contacto?", "", "contact_with", "code"),
    "14": ("¿Se logró promesa de pago?", "", "promise_made", "bool"),
    "16": ("Monto", "", "promise_amount", "money"),
    "17": ("Fecha", "", "promise_date", "date"),
    "18": ("Volver a visitar", "", "revisit", "bool"),
    "19": ("Fecha para volver a visitar", "", "revisit_date", "date"),
    "20": ("Primer horario", "Hora inicio", "slot1_start", "time"),
    "21": ("Primer horario", "Hora fin", "slot1_end", "time"),
    "22": ("Etiqueta", "", "tag", "code"),
}
ROLE_COLUMNS = ("question_id", "question_name", "answer_name", "role", "value_type")
CODES = (
    ("contact_with", "Titular", "right_party"),
    ("contact_with", "Vecino", "third_party"),
    ("tag", "Promesa de pago", "promise"),
    ("tag", "Nadie en casa", "no_contact"),
)


def mappings(*more_roles: dict[str, str], more_codes: Iterable[dict[str, str]] = ()) -> Mappings:
    return Mappings(
        [*(dict(zip(ROLE_COLUMNS, (key, *row), strict=True)) for key, row in ASKED.items()), *more_roles],
        [*(dict(zip(("role", "value", "code"), row, strict=True)) for row in CODES), *more_codes],
        [{"key": key, "value": value} for key, value in SETTINGS.items()],
    )


def visit(visit_id: str, start: str | None, minutes: float | None = 10, **more: Any) -> dict[str, Any]:
    """A completed collection visit in Mexico City; `said` holds the answers by role."""
    start_local = start and datetime.fromisoformat(start)
    ended = start_local is not None and minutes is not None
    row = {
        "source": "a", "visit_id": visit_id, "product_id": 1, "agent_id": "7", "agent_name": "Ana",
        "account_id": "110", "client_name": "Q", "visit_type": "Cobranza", "lat": None, "lng": None, "interest": None,
        "rebound": None,
        "tag_name": None, "finished": True, "cancelled": False, "cancellation_reason": None, "comment": None,
        "start_local": start_local, "end_local": start_local + timedelta(minutes=minutes) if ended else None,
        "time_zone_raw": "America/Mexico_City", "content_hash": "h", "received_at": datetime(2026, 1, 1, tzinfo=UTC),
        "delivery_id": visit_id, "versions": 1, "extra": None, "said": {},
    }  # fmt: skip
    assert more.keys() <= row.keys()
    return row | more


def kobra(*visits: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Schema kobra with these visits."""
    by_role = {role: (key, text, name, kind) for key, (text, name, role, kind) in ASKED.items()}
    tables: dict[str, list[dict[str, Any]]] = {"visits": []} | {
        name: [] for name in ("visit_versions", "questions", "answers", "deliveries", "rejects")
    }
    for row in visits:
        key = {name: row[name] for name in ("source", "visit_id")}
        tables["visits"].append({name: value for name, value in row.items() if name != "said"})
        for pos, (role, value) in enumerate(row["said"].items(), 1):
            question_id, text, answer_name, kind = by_role[role]
            asked = {"question_pos": pos, "question_id": question_id, "question_name": text}
            answer = {"question_pos": pos, "answer_pos": 1, "answer_name": answer_name or None}
            tables["questions"].append(key | asked)
            tables["answers"].append(key | answer | {"answer_type_id": TYPES[kind], "value": value, "parse_ok": True})
    return tables


def told(
    mart: str,
    *visits: dict[str, Any],
    payments: list[dict[str, str]] | None = None,
    accounts: list[dict[str, str]] | None = None,
    as_of: date = AS_OF,
) -> list[dict[str, Any]]:
    return marts(kobra(*visits), mappings(), payments, accounts, as_of)[mart]


def by_visit(rows: list[dict[str, Any]], column: str) -> dict[str, Any]:
    return {row["visit_id"]: row[column] for row in rows}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def promising(visit_id: str, start: str, due: str | None, amount: str | None = "1000", **more: Any) -> dict[str, Any]:
    said = {"contact_made": "true", "promise_made": "Sí", "promise_amount": amount, "promise_date": due}
    return visit(visit_id, start, said=said, **more)


def paid(day: str, amount: str, account: str = "110", **more: str) -> dict[str, str]:
    return {"payment_id": day + amount, "external_id": account, "paid_date": day, "amount": amount} | more


# ---------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (normalised, "¿Se  realizó\u00a0contacto?", "se realizo contacto"),
        (normalised, "Co\u0301nyuge.", "conyuge"),
        (normalised, "¿?", ""),
        (read_bool, "Sí", True),
        (read_bool, "FALSO", False),
        (read_bool, "quizá", None),
        (read_money, "$1,500.00", Decimal("1500.00")),
        (read_money, "1.500,50", None),
        (read_money, "12,5", None),
        (read_money, "-200", None),
        (read_signed_money, "-200", Decimal("-200.00")),
    ],
)
def test_text_reads_as_the_rules_say(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value


def test_an_instant_is_a_date_in_the_zone_of_the_visit() -> None:
    assert read_date("2026-03-02T05:30:00Z", "America/Mexico_City") == date(2026, 3, 1)
    assert read_date("01/03/2026", "UTC") == date(2026, 3, 1)
    assert read_date("2026-02-30", "UTC") is None


# ---------------------------------------------------------------- clocks: Tijuana changes on 8 March and 1 November


def test_a_start_in_the_gap_of_tijuana_moves_forward() -> None:
    (row,) = told("visits", visit("v", "2026-03-08 02:30", 45, time_zone_raw="america/TIJUANA"))
    # 02:30 PST (-8) does not exist; it is the instant 10:30 UTC, 03:30 PDT. The end, 03:15 PDT (-7), is 10:15.
    assert (row["start_at"], row["end_at"]) == (utc("2026-03-08 10:30"), utc("2026-03-08 10:15"))
    assert (row["start_in_gap"], row["start_ambiguous"], row["time_zone"]) == (True, False, "America/Tijuana")
    assert (row["duration_s"], row["local_hour"], row["iso_dow"]) == (-900, 2, 7)


def test_an_end_in_the_overlap_is_the_earliest_instant_not_before_the_start() -> None:
    zone = {"time_zone_raw": "America/Tijuana"}
    rows = {
        row["visit_id"]: row
        for row in told(
            "visits",
            visit("both times", "2026-11-01 01:30", 10, **zone),
            visit("across", "2026-11-01 01:30", -20, **zone),
            visit("from before", "2026-11-01 00:50", 20, **zone),
            visit("far before", "2026-11-01 02:30", -60, **zone),
        )
    }
    # 01:30 comes twice: at 08:30 UTC (PDT) and at 09:30 (PST).
    assert rows["both times"]["start_at"] == utc("2026-11-01 08:30")
    assert rows["both times"]["start_ambiguous"]
    assert rows["both times"]["duration_s"] == 600
    assert rows["across"]["end_at"] == utc("2026-11-01 09:10")  # 01:10 PDT would be before the start
    assert rows["from before"]["end_at"] == utc("2026-11-01 08:10")
    assert rows["far before"]["end_at"] == utc("2026-11-01 09:30")  # neither is after the start: the latest


def test_mexico_city_changes_no_clocks_and_cst_is_not_trusted() -> None:
    (row,) = told("visits", visit("v", "2026-07-01 12:00", time_zone_raw="CST"))
    assert row["start_at"] == utc("2026-07-01 18:00")
    assert (row["time_zone"], row["time_zone_known"]) == ("America/Mexico_City", False)


# ---------------------------------------------------------------- roles


def form(**parts: str) -> Form:
    asked = {"question_id": None, "question_name": None, "answer_name": None, "answer_type_id": "8"}
    return Form(**{"source": "a", "product_id": 1} | asked | parts)


def test_a_question_matches_by_name_before_id_and_by_id_only_where_the_type_fits() -> None:
    rules = Rules(mappings())
    name = "SE REALIZO CONTACTO"
    assert rules.role(form(question_id="11", question_name=name)).matched_by == "name+id"
    assert rules.role(form(question_id="99", question_name=name)).matched_by == "name"
    assert rules.role(form(question_id="14", question_name=name)).role == "contact_made"
    assert rules.role(form(question_id="11", question_name="¿Otra?")).matched_by == "id"
    assert rules.role(form(question_id="11", question_name="¿Otra?", answer_type_id="4")) is None


def test_a_sources_own_line_beats_a_better_match() -> None:
    own = {"source": "a", "question_id": "11", "role": "revisit", "value_type": "bool"}
    assert Rules(mappings(own)).role(form(question_id="11", question_name="¿Se realizó contacto?")).role == "revisit"


def test_a_code_of_the_source_then_of_the_product_wins() -> None:
    more = ({"role": "tag", "value": "promesa", "code": c, **of} for c, of in (
        ("general", {}), ("product", {"product_id": "1"}), ("own", {"source": "b"})))  # fmt: skip
    rules = Rules(mappings(more_codes=more))
    found = [rules.code("tag", "¡PROMESA!", source, product) for source, product in (("a", 1), ("a", 2), ("b", 1))]
    assert found == ["product", "general", "own"]


def test_contact_is_known_of_completed_visits_only_and_a_stranger_is_no_known_party() -> None:
    met = {"contact_made": "1"}
    rows = told(
        "visits",
        visit("unasked", "2026-05-04 10:00"),
        visit("nobody", "2026-05-04 10:00", said={"contact_made": "no", "contact_with": "Titular"}),
        visit("holder", "2026-05-04 10:00", said=met | {"contact_with": "TITULAR"}),
        visit("stranger", "2026-05-04 10:00", said=met | {"contact_with": "Alguien"}),
        visit("open", "2026-05-04 10:00", said=met, finished=None),
    )
    assert by_visit(rows, "is_contact") == {
        "unasked": None, "nobody": False, "holder": True, "stranger": True, "open": None,
    }  # fmt: skip
    assert by_visit(rows, "is_rpc") == {
        "unasked": None, "nobody": False, "holder": True, "stranger": None, "open": None,
    }  # fmt: skip


# ---------------------------------------------------------------- the road


def test_a_leg_is_measured_in_minutes_and_metres_and_its_speed_only_over_500_m() -> None:
    rows = told(
        "legs",
        visit("1", "2026-05-04 10:00", 10, lat=19.0, lng=-99.0),
        visit("2", "2026-05-04 10:40", 10, lat=20.0, lng=-99.0),  # a degree north in half an hour
        visit("3", "2026-05-04 10:45", 10, lat=20.004, lng=-99.0),  # 445 m on, before the other ended
        visit("4", "2026-05-05 10:45"),
    )
    assert by_visit(rows, "prev_visit_id") == {"2": "1", "3": "2"}
    assert by_visit(rows, "travel_min") == {"2": 30, "3": -5}
    degree_m = 3.141592653589793 * 6_371_008.8 / 180
    assert by_visit(rows, "travel_m")["2"] == pytest.approx(degree_m)
    assert by_visit(rows, "speed_kmh")["2"] == pytest.approx(degree_m * 2 / 1000)
    assert by_visit(rows, "speed_kmh")["3"] is None
    assert by_visit(rows, "overlaps_previous") == {"2": False, "3": True}


def test_as_many_metres_in_no_time_are_impossible() -> None:
    rows = told(
        "visit_quality",
        visit("1", "2026-05-04 10:00", 10, lat=19.0, lng=-99.0),
        visit("2", "2026-05-04 10:10", 10, lat=19.1, lng=-99.0),  # at once
        visit("3", "2026-05-04 11:20", 10, lat=20.1, lng=-99.0),  # 111 km in an hour
        visit("4", "2026-05-04 12:20", None, lat=21.1, lng=-99.0),  # 133 km/h
    )
    assert by_visit(rows, "impossible_speed") == {"1": False, "2": True, "3": False, "4": True}
    assert by_visit(rows, "overlaps_previous") == dict.fromkeys("1234", False)


def test_three_accounts_at_one_spot_are_too_many_and_one_account_three_times_is_not() -> None:
    here = {"lat": 19.43260, "lng": -99.13320}
    rows = told(
        "visit_quality",
        *(visit(f"a{n}", f"2026-05-04 1{n}:00", account_id=str(n), **here) for n in range(3)),
        visit("a3", "2026-05-04 13:00", account_id="0", lat=19.432604, lng=-99.133203),
        visit("a4", "2026-05-04 14:00", account_id="4", lat=19.43262, lng=-99.13320),
        *(visit(f"b{n}", f"2026-05-05 1{n}:00", **here) for n in range(3)),
    )
    assert {row["visit_id"] for row in rows if row["same_spot"]} == {"a0", "a1", "a2", "a3"}


def test_limits_belong_to_what_is_allowed() -> None:
    def end(**received: float) -> dict[str, Any]:
        return {"received_at": utc("2026-05-04 16:10") + timedelta(**received)}  # the visit ends at 10:10 (-6)

    rows = told(
        "visit_quality",
        visit("exact", "2026-05-04 10:00", 10, **end(hours=24)),
        visit("late", "2026-05-04 10:00", 10, **end(hours=24, seconds=1)),
        visit("skew 5 min", "2026-05-04 10:00", 10, **end(minutes=-5)),
        visit("skew more", "2026-05-04 10:00", 10, **end(minutes=-5, seconds=-1)),
        visit("at seven", "2026-05-04 07:00", 1),
        visit("at ten", "2026-05-04 22:00", 180),
        visit("unknown", None, None),
    )
    flagged = {
        flag: {row["visit_id"] for row in rows if row[flag]}
        for flag in ("late_arrival", "clock_skew", "out_of_hours", "too_short", "too_long")
    }
    assert flagged["late_arrival"] == {"late"}
    assert flagged["clock_skew"] == {"skew more", "at seven", "at ten"}  # received on 1 January
    assert (flagged["out_of_hours"], flagged["too_short"], flagged["too_long"]) == ({"at ten"}, set(), set())


def test_out_of_place_needs_a_reference_point() -> None:
    line = {"external_id": "110", "as_of_date": "2026-05-01", "lat": "19.0", "lng": "-99.0"}
    visits = (
        visit("199 m", "2026-05-04 10:00", lat=19.00179, lng=-99.0),
        visit("201 m", "2026-05-04 10:00", lat=19.00181, lng=-99.0),
        visit("no fix", "2026-05-04 10:00"),
        visit("no line", "2026-05-04 10:00", lat=19.0, lng=-99.0, account_id="0110"),
    )
    older = line | {"as_of_date": "2026-04-30", "lat": "20"}
    assert by_visit(told("visit_quality", *visits, accounts=[older, line]), "out_of_place") == {
        "199 m": False, "201 m": True, "no fix": None, "no line": None,
    }  # fmt: skip
    assert set(by_visit(told("visit_quality", *visits), "out_of_place").values()) == {None}


# ---------------------------------------------------------------- promises


def test_a_replaced_promise_is_paid_until_the_day_before_the_next() -> None:
    rows = told(
        "promises",
        promising("first", "2026-05-04 10:00", "2026-05-08"),
        promising("undated", "2026-05-05 10:00", None),
        promising("second", "2026-05-06 10:00", "2026-05-10"),
        payments=[paid("2026-05-05", "899.99"), paid("2026-05-06", "900"), paid("2026-05-14", "5000")],
    )
    first, undated, second = rows
    assert (first["deadline"], first["window_end"]) == (date(2026, 5, 11), date(2026, 5, 5))
    assert (first["paid_amount"], first["status"]) == (Decimal("899.99"), "replaced")
    assert (second["window_end"], second["paid_amount"]) == (date(2026, 5, 13), Decimal("900.00"))
    assert second["status"] == "kept"  # 90 % exactly
    assert (undated["promise_check"], undated["status"], undated["paid_amount"]) == ("undated", None, None)


@pytest.mark.parametrize(
    ("amount", "payments", "as_of", "status"),
    [
        ("1000", [], "2026-05-11", "open"),  # the last day of grace
        ("1000", [], "2026-05-12", "broken"),
        ("1000", [paid("2026-05-11", "0.01")], "2026-05-12", "partial"),
        ("1000", [paid("2026-05-11", "900"), paid("2026-05-11", "-0.01")], "2026-05-12", "partial"),
        ("1000", [paid("2026-05-04", "900")], "2026-05-04", "kept"),
        ("1000", [paid("2026-05-03", "900"), paid("2026-05-12", "900")], "2026-05-12", "broken"),
        ("1000", [paid("2026-05-04", "900", "0110"), paid("2026-05-04", "1", source="b")], "2026-05-12", "broken"),
        ("1000", [paid("31/02/2026", "900"), paid("2026-05-04", "mil")], "2026-05-12", "broken"),
        ("mil", [paid("2026-05-04", "0.01")], "2026-05-12", "kept"),
        ("mil", [paid("2026-05-04", "5"), paid("2026-05-05", "-5")], "2026-05-12", "broken"),
    ],
)
def test_a_promise_is_judged_by_payments_until_its_deadline(
    amount: str, payments: list[dict[str, str]], as_of: str, status: str
) -> None:
    visits = (promising("p", "2026-05-04 10:00", "2026-05-08", amount),)
    (row,) = told("promises", *visits, payments=payments, as_of=date.fromisoformat(as_of))
    assert row["status"] == status


def test_without_payments_nothing_is_known_of_promises() -> None:
    visits = (promising("p", "2026-05-04 10:00", "2026-05-03"), promising("q", "2026-05-04 11:00", "2026-05-04"))
    assert {row["status"] for row in told("promises", *visits)} == {"unknown"}
    (cohort,) = told("promise_cohorts", *visits)
    assert (cohort["due"], cohort["promised_amount"]) == (1, Decimal("1000.00"))
    assert {cohort[name] for name in ("kept", "broken", "paid_capped_amount", "kept_rate")} == {None}


def test_a_cohorts_rates_are_over_what_is_settled_and_no_payment_counts_twice_the_promise() -> None:
    (cohort,) = told(
        "promise_cohorts",
        promising("kept", "2026-05-04 10:00", "2026-05-04", account_id="1"),
        promising("partial", "2026-05-04 11:00", "2026-05-04", account_id="2"),
        promising("broken", "2026-05-04 12:00", "2026-05-04", "mil", account_id="3"),
        promising("open", "2026-05-04 13:00", "2026-05-31", "500", account_id="4"),
        payments=[paid("2026-05-04", "3000", "1"), paid("2026-05-05", "250", "2"), paid("2026-05-05", "10", "4")],
        as_of=date(2026, 6, 3),
    )
    assert [cohort[status] for status in ("due", "kept", "partial", "broken", "open", "replaced")] == [
        4,
        1,
        1,
        1,
        1,
        0,
    ]
    assert (cohort["promised_amount"], cohort["paid_capped_amount"]) == (Decimal(2500), Decimal(1260))
    assert (cohort["kept_rate"], cohort["amount_kept_rate"]) == (1 / 3, 1250 / 2000)


# ---------------------------------------------------------------- revisits and episodes


@pytest.mark.parametrize(
    ("followed", "status", "in_slot"),
    [
        ("2026-05-05 12:00", "early", None),
        ("2026-05-06 09:59:59", "on_time", False),
        ("2026-05-06 10:00", "on_time", True),
        ("2026-05-06 11:00", "on_time", True),
        ("2026-05-06 11:00:01", "on_time", False),
        ("2026-05-07 10:30", "on_time", None),
        ("2026-05-08 10:30", "late", None),
        (None, "missed", None),
    ],
)
def test_a_revisit_keeps_its_date_within_a_day_and_its_slot_ends_included(
    followed: str | None, status: str, in_slot: bool | None
) -> None:
    asked = {"revisit": "true", "revisit_date": "2026-05-06", "slot1_start": "10:00", "slot1_end": "11:00"}
    visits = [
        visit("asked", "2026-05-04 10:00", said=asked),
        visit("other product", "2026-05-04 18:00", product_id=2),
        visit("cancelled", "2026-05-04 18:00", cancelled=True),
    ]
    visits += [visit("followed", followed)] if followed else []
    (row,) = told("revisits", *visits)
    assert (row["status"], row["in_slot"]) == (status, in_slot)


def test_a_revisit_is_pending_through_the_day_after_its_date() -> None:
    asked = visit("asked", "2026-05-04 10:00", said={"revisit": "true", "revisit_date": "2026-05-06"})
    status = [told("revisits", asked, as_of=date(2026, 5, day))[0]["status"] for day in (7, 8)]
    assert status == ["pending", "missed"]


def test_thirty_days_are_one_episode_and_thirty_one_are_two() -> None:
    rows = told(
        "account_episodes",
        visit("1", "2026-03-01 10:00"),
        visit("2", "2026-03-31 10:00", said={"promise_made": "true"}),  # 30 days on
        visit("3", "2026-05-01 10:00", said={"promise_made": "true"}),  # 31 days on
        as_of=date(2026, 5, 31),
    )
    assert [(row["episode_no"], row["visits"], row["first_resolved"], row["is_closed"]) for row in rows] == [
        (1, 2, False, True),
        (2, 1, True, False),  # closed from 1 June: more than 30 days after 1 May
    ]
    assert (rows[0]["ever_contacted"], rows[0]["ever_promised"]) == (None, True)


# ---------------------------------------------------------------- shares


def test_the_wilson_bound_is_the_one_worked_out_by_hand() -> None:
    # z2 = 3.841459; 8 of 10: (0.8 + 0.192073 - 1.959964 * sqrt(0.016 + 0.009604)) / 1.384146 = 0.490162
    assert wilson_low(8, 10) == pytest.approx(0.490162, abs=1e-6)
    assert wilson_low(0, 5) == pytest.approx(0, abs=1e-12)
    assert wilson_low(0, 0) is None


def test_a_rate_is_a_sum_over_a_sum_and_null_over_nothing() -> None:
    no = {"contact_made": "false"}
    (row,) = told(
        "outcomes_daily",
        promising("1", "2026-05-04 10:00", "2026-05-05", rebound=True),
        promising("2", "2026-05-04 11:00", "2026-05-05", "mil", rebound=False),
        visit("3", "2026-05-04 12:00", said=no | {"promise_made": "true"}),
        visit("4", "2026-05-04 13:00", cancelled=True),
        visit("5", "2026-05-04 14:00", finished=False, said=no),
    )
    counts = ("visits_completed", "visits_cancelled", "visits_open", "contact_known", "contacts", "rpcs", "promises")
    assert [row[name] for name in counts] == [3, 1, 1, 3, 2, 0, 3]
    assert (row["promises_in_contact"], row["promises_without_contact"]) == (2, 1)
    assert (row["promise_amount"], row["promises_with_amount"]) == (Decimal("1000.00"), 1)
    assert (row["cancellation_rate"], row["contact_rate"], row["ptp_per_contact"]) == (1 / 4, 2 / 3, 1)
    assert (row["rebound_rate"], row["validated_rate"], row["conclusive_rate"]) == (1 / 2, None, None)


def test_an_agent_day_leaves_out_times_that_cannot_be() -> None:
    (row,) = told(
        "agent_days",
        visit("1", "2026-05-04 08:00", 30, account_id="1"),
        visit("2", "2026-05-04 09:00", -5),
        visit("3", "2026-05-04 10:00", 180, agent_name="ANA"),
        visit("4", "2026-05-04 14:00", 181, agent_name=" "),
    )
    assert (row["visits"], row["accounts"], row["on_site_min"], row["travel_km"]) == (4, 2, 210, None)
    assert row["between_min"] == 30 + 65 + 60
    assert row["agent_name"] == "ANA"
    assert (row["first_start_at"], row["last_end_at"]) == (utc("2026-05-04 14:00"), utc("2026-05-04 23:01"))


def test_agents_without_an_id_are_one_by_name_whatever_its_spelling() -> None:
    rows = told(
        "agents",
        visit("1", "2026-05-04 10:00", agent_id=None, agent_name=" ana  LOPEZ"),
        visit("2", "2026-05-05 10:00", agent_id=" ", agent_name="Ana López", finished=False),
        visit("3", "2026-05-05 10:00", agent_id=None, agent_name=None),
    )
    assert rows == [
        {
            "source": "a", "agent_key": "name:ana lopez", "agent_name": "Ana López", "names_seen": 2,
            "first_visit_on": date(2026, 5, 4), "last_visit_on": date(2026, 5, 5), "visits": 2, "visits_completed": 1,
        }
    ]  # fmt: skip


def test_a_label_is_counted_under_its_commonest_spelling() -> None:
    rows = told(
        "label_mix",
        visit("1", "2026-05-04 10:00", tag_name="PROMESA DE PAGO"),
        visit("2", "2026-05-04 11:00", said={"tag": "Promesa de pago"}),
        visit("3", "2026-05-05 10:00", tag_name="Promesa de pago"),
        visit("4", "2026-05-05 11:00", tag_name="Otra cosa"),
        visit("5", "2026-05-05 12:00"),
    )
    assert [(row["outcome"], row["label_key"], row["label"], row["visits"]) for row in rows] == [
        ("promise", "promesa de pago", "Promesa de pago", 3),
        ("unmapped", "otra cosa", "Otra cosa", 1),
        ("unmapped", None, None, 1),
    ]


def test_times_of_slots_are_read_as_times() -> None:
    (row,) = told("visits", visit("v", "2026-05-04 10:00", said={"slot1_start": "9:00", "slot1_end": "25:00"}))
    assert (row["slot1_start"], row["slot1_end"]) == (time(9), None)
