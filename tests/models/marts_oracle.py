"""What the marts must hold, told in plain Python from METRICS.md: no SQL, one row after the other."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from marts_reading import (
    Place,
    blank_as_none,
    metres,
    normalised,
    place,
    read_date,
    read_place,
    read_signed_money,
    wilson_low,
)
from marts_visits import (
    VALIDATIONS,
    Form,
    Key,
    Mappings,
    Match,
    Row,
    Rows,
    Rules,
    account_key,
    agent_day_visits,
    by_day,
    by_start,
    dated,
    grouped,
    has_account,
    replies,
    seconds,
    text_in,
    visit_key,
    visits,
)

CONCLUSIVE = ("validated", "refuted")
FLAGS = """gps_missing gps_emulator_default negative_duration too_short too_long clock_skew late_arrival
    time_zone_unknown start_in_gap out_of_hours third_party_contact overlaps_previous impossible_speed same_spot
    promise_without_contact out_of_place tag_conflict""".split()
EMULATOR = Place(37.421998, -122.084)
ACCOUNT_COLUMNS = """as_of_date product_id portfolio balance past_due days_past_due lat lng agent_id assigned_on
    currency""".split()


def marts(
    kobra: dict[str, Rows], mappings: Mappings, payments: Rows | None, accounts: Rows | None, as_of: date
) -> dict[str, Rows]:
    """The rows of every mart, in no particular order. `payments` and `accounts` are None where there is no file."""
    rules = Rules(mappings)
    all_visits = visits(kobra, rules)
    completed = [visit for visit in all_visits if visit["state"] == "completed"]
    on_file = None if accounts is None else AccountsFile(accounts, rules)
    all_legs = legs(completed, rules)
    quality = visit_quality(completed, all_legs, on_file, rules)
    all_promises = promises(completed, None if payments is None else Payments(payments, rules), rules, as_of)
    is_measured = payments is not None
    return {
        "visits": all_visits,
        "visit_quality": quality,
        "legs": all_legs,
        "promises": all_promises,
        "revisits": revisits(completed, rules, as_of),
        "account_episodes": account_episodes(completed, rules, as_of),
        "outcomes_daily": outcomes_daily(all_visits),
        "agent_days": agent_days(completed, all_legs, rules),
        "contact_hours": contact_hours(completed, rules),
        "label_mix": label_mix(completed),
        "payment_methods": payment_methods(completed),
        "promise_cohorts": promise_cohorts(all_promises),
        "data_quality": data_quality(all_visits, quality, kobra["answers"]),
        "agents": agents(all_visits),
        "accounts": accounts_seen(all_visits, all_promises, on_file, is_measured, as_of),
        "questions": questions(kobra, rules),
        "reconciliation": reconciliation(kobra),
    }


# ---------------------------------------------------------------- numbers


def _rate(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole and part is not None else None


def _sum(values: Iterable[Any]) -> Any:
    """None when nothing is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _any(values: Iterable[bool | None]) -> bool | None:
    """Whether it is known to have happened; None when nothing is known."""
    known = [value for value in values if value is not None]
    return any(known) if known else None


def _how_many(rows: Iterable[Row], column: str, value: object = True) -> int:
    return sum(row[column] is value if isinstance(value, bool) else row[column] == value for row in rows)


def _month(day: date | None) -> date | None:
    return day and day.replace(day=1)


# ---------------------------------------------------------------- the road


def legs(completed: Rows, rules: Rules) -> Rows:
    """Completed visits that have a previous one on the same agent-day."""
    return [
        leg(before, after, rules) for day in agent_day_visits(completed).values() for before, after in pairwise(day)
    ]


def leg(before: Row, after: Row, rules: Rules) -> Row:
    travel_s = seconds(before["end_at"], after["start_at"])
    travel_m = metres(_place(before), _place(after))
    is_tested = travel_m is not None and travel_m >= rules.number(after["source"], "speed_noise_m")
    return {
        **{name: after[name] for name in ("source", "visit_id", "agent_key", "local_date")},
        "prev_visit_id": before["visit_id"],
        "travel_min": None if travel_s is None else travel_s / 60,
        "travel_m": travel_m,
        "speed_kmh": travel_m / travel_s * 3.6 if is_tested and travel_s is not None and travel_s > 0 else None,
        "overlaps_previous": None if travel_s is None else travel_s < 0,
    }


def _place(row: Row) -> Place | None:
    return place(row["lat"], row["lng"])


def is_impossible(leg: Row, rules: Rules) -> bool:
    if leg["speed_kmh"] is not None:
        return leg["speed_kmh"] > rules.number(leg["source"], "max_speed_kmh")
    is_far = leg["travel_m"] is not None and leg["travel_m"] >= rules.number(leg["source"], "speed_noise_m")
    return is_far and leg["travel_min"] is not None and leg["travel_min"] <= 0


# ---------------------------------------------------------------- quality


def visit_quality(completed: Rows, all_legs: Rows, on_file: "AccountsFile | None", rules: Rules) -> Rows:
    """One row per completed visit."""
    leg_to = {visit_key(leg): leg for leg in all_legs}
    crowded = crowded_visits(completed, rules)
    return [
        {name: row[name] for name in ("source", "visit_id", "local_date")}
        | _flags_of_the_clock(row, rules)
        | _flags_of_the_place(row, on_file, rules)
        | _flags_of_the_road(leg_to.get(visit_key(row)), rules)
        | _flags_of_what_was_said(row)
        | {"same_spot": visit_key(row) in crowded}
        for row in completed
    ]


def _flags_of_the_clock(row: Row, rules: Rules) -> Row:
    source, duration, lag = row["source"], row["duration_s"], row["delivery_lag_s"]
    opens, closes = (time.fromisoformat(rules.setting(source, f"hours_{name}")) for name in ("open", "close"))
    start = row["start_local"]
    return {
        "negative_duration": duration is not None and duration < 0,
        "too_short": duration is not None and 0 <= duration < rules.number(source, "short_visit_seconds"),
        "too_long": is_too_long(row, rules),
        "clock_skew": lag is not None and lag < -60 * rules.number(source, "skew_minutes"),
        "late_arrival": lag is not None and lag > 3600 * rules.number(source, "late_hours"),
        "time_zone_unknown": not row["time_zone_known"],
        "start_in_gap": row["start_in_gap"],
        "out_of_hours": start is not None and not opens <= start.time() < closes,
    }


def is_too_long(row: Row, rules: Rules) -> bool:
    duration = row["duration_s"]
    return duration is not None and duration > 60 * rules.number(row["source"], "long_visit_minutes")


def _flags_of_the_place(row: Row, on_file: "AccountsFile | None", rules: Rules) -> Row:
    here = _place(row)
    reference = on_file.reference(row) if on_file else None
    off_by = metres(here, reference)
    return {
        "gps_missing": here is None,
        "gps_emulator_default": here is not None
        and abs(here.lat - EMULATOR.lat) <= 0.0005
        and abs(here.lng - EMULATOR.lng) <= 0.0005,
        "out_of_place": None if off_by is None else off_by > rules.number(row["source"], "place_radius_m"),
    }


def _flags_of_the_road(leg: Row | None, rules: Rules) -> Row:
    return {
        "overlaps_previous": leg is not None and leg["overlaps_previous"] is True,
        "impossible_speed": leg is not None and is_impossible(leg, rules),
    }


def _flags_of_what_was_said(row: Row) -> Row:
    promise_denied = row["outcome"] == "promise" and row["promise_made"] is False
    contact_denied = row["outcome"] == "no_contact" and row["contact_made"] is True
    return {
        "third_party_contact": row["contact_class"] == "third_party",
        "promise_without_contact": row["is_promise"] and row["is_contact"] is False,
        "tag_conflict": promise_denied or contact_denied,
    }


def crowded_visits(completed: Rows, rules: Rules) -> set[Key]:
    """Visits at a point where the agent claims to have met too many accounts that day."""
    found: set[Key] = set()
    for (source, _, _), day in agent_day_visits(completed).items():
        located = (row for row in day if _place(row))
        spots = grouped(located, lambda row: (round(row["lat"], 5), round(row["lng"], 5)))
        for spot in spots.values():
            accounts = {row["account_id"] for row in spot if has_account(row)}
            if len(accounts) >= rules.number(source, "same_spot_accounts"):
                found.update(map(visit_key, spot))
    return found


# ---------------------------------------------------------------- promises


class Payments:
    """The payments file. A payment without a source is one of every source."""

    def __init__(self, rows: Rows, rules: Rules) -> None:
        self._paid: dict[tuple[str, str], list[tuple[date, Decimal]]] = defaultdict(list)
        for row in rows:
            source, account_id = text_in(row, "source"), text_in(row, "external_id")
            day = read_date(text_in(row, "paid_date"), rules.setting(source, "default_time_zone"))
            amount = read_signed_money(text_in(row, "amount"))
            if account_id and day is not None and amount is not None:  # else a bad row: listed elsewhere
                self._paid[source, account_id].append((day, amount))

    def of(self, source: str, account_id: str | None, first: date, last: date) -> Decimal:
        """What an account paid from one day to another, both included."""
        rows = [*self._paid.get((source, account_id or ""), []), *self._paid.get(("", account_id or ""), [])]
        return sum((amount for day, amount in rows if first <= day <= last), Decimal("0.00"))


def promises(completed: Rows, payments: Payments | None, rules: Rules, as_of: date) -> Rows:
    """Completed visits with a promise."""
    made = [row for row in completed if row["is_promise"]]
    following = next_valid_promises(made)
    return [promise(row, following.get(visit_key(row)), payments, rules, as_of) for row in made]


def promise_check(row: Row) -> str:
    if row["promise_date"] is None or row["local_date"] is None:
        return "undated"
    return "back_dated" if row["promise_date"] < row["local_date"] else "valid"


def next_valid_promises(made: Rows) -> dict[Key, date]:
    """For each promise the day on which its account made the next valid one, of any product."""
    found = {}
    for rows in grouped(dated(made), account_key).values():
        upcoming = None
        for row in reversed(rows):
            if upcoming is not None:
                found[visit_key(row)] = upcoming
            if promise_check(row) == "valid":
                upcoming = row["local_date"]
    return found


def promise(row: Row, next_made: date | None, payments: Payments | None, rules: Rules, as_of: date) -> Row:
    source, made, due, check = row["source"], row["local_date"], row["promise_date"], promise_check(row)
    deadline = due and due + rules.days(source, "promise_grace_days")
    window_end = deadline and (min(deadline, next_made - timedelta(days=1)) if next_made else deadline)
    is_measurable = payments and check == "valid" and has_account(row)
    paid = payments.of(source, row["account_id"], made, window_end) if payments and is_measurable else None
    told = {
        "promise_check": check,
        "made_date": made,
        "promise_date": due,
        "horizon_days": (due - made).days if due and made else None,
        "deadline": deadline,
        "window_end": window_end,
        "promise_amount": row["promise_amount"],
        "paid_amount": paid,
        "is_replaced": check == "valid" and next_made is not None and next_made <= deadline,
    }
    threshold = Decimal(rules.setting(source, "promise_threshold"))
    status = promise_status(told, threshold, as_of) if payments else "unknown"
    whose = {name: row[name] for name in ("source", "visit_id", "account_id", "agent_key", "product_id")}
    return whose | told | {"status": status}


def promise_status(told: Row, threshold: Decimal, as_of: date) -> str | None:
    if told["promise_check"] != "valid":
        return None
    if told["paid_amount"] is None:
        return "unknown"
    paid, amount = told["paid_amount"], told["promise_amount"]
    if paid > 0 if amount is None else paid >= threshold * amount:
        return "kept"
    if told["is_replaced"]:
        return "replaced"
    if as_of <= told["deadline"]:
        return "open"
    return "partial" if paid > 0 else "broken"


def promise_cohorts(all_promises: Rows) -> Rows:
    """By (source, due_month, agent_key): valid promises."""
    valid = [row for row in all_promises if row["promise_check"] == "valid"]
    cohorts = grouped(valid, lambda row: (row["source"], _month(row["promise_date"]), row["agent_key"]))
    return [
        {"source": source, "due_month": month, "agent_key": agent, "due": len(rows)}
        | {"promised_amount": _sum(row["promise_amount"] for row in rows)}
        | kept_of(rows)
        for (source, month, agent), rows in cohorts.items()
    ]


def kept_of(rows: Rows) -> Row:
    """How a cohort went; nothing of it can be known without payments."""
    names = "kept partial broken open replaced".split()
    count = {name: _how_many(rows, "status", name) for name in names}
    settled = [row for row in rows if row["status"] in ("kept", "partial", "broken")]
    known = [row for row in settled if row["promise_amount"] is not None]
    promised, paid = _sum(row["promise_amount"] for row in known), _sum(map(capped, known))
    told = count | {
        "paid_capped_amount": _sum(map(capped, rows)),
        "settled_promised_amount": promised,
        "settled_paid_capped_amount": paid,
        "kept_rate": _rate(count["kept"], len(settled)),
        "amount_kept_rate": _rate(paid, promised),
    }
    is_measured = any(row["status"] != "unknown" for row in rows)
    return told if is_measured else told | dict.fromkeys([*names, "kept_rate"])


def capped(row: Row) -> Decimal | None:
    """What was paid of what was promised."""
    if row["promise_amount"] is None or row["paid_amount"] is None:
        return None
    return max(Decimal("0.00"), min(row["paid_amount"], row["promise_amount"]))


# ---------------------------------------------------------------- one account over time


def revisits(completed: Rows, rules: Rules, as_of: date) -> Rows:
    """Completed visits that asked for another one."""
    follow_up = follow_ups(completed)
    return [revisit(row, follow_up.get(visit_key(row)), rules, as_of) for row in completed if row["revisit"] is True]


def follow_ups(completed: Rows) -> dict[Key, Row]:
    """The account's next completed visit of the same product."""
    groups = grouped(dated(completed), lambda row: (*account_key(row), row["product_id"])).values()
    return {visit_key(before): after for rows in groups for before, after in pairwise(rows)}


def revisit(row: Row, follow_up: Row | None, rules: Rules, as_of: date) -> Row:
    tolerance = rules.days(row["source"], "revisit_tolerance_days")
    whose = ("source", "visit_id", "account_id", "agent_key", "product_id", "local_date", "revisit_date")
    return {name: row[name] for name in whose} | {
        "follow_up_visit_id": follow_up and follow_up["visit_id"],
        "follow_up_date": follow_up and follow_up["local_date"],
        "status": revisit_status(row, follow_up and follow_up["local_date"], tolerance, as_of),
        "in_slot": in_slot(row, follow_up),
    }


def revisit_status(row: Row, followed_on: date | None, tolerance: timedelta, as_of: date) -> str:
    wanted = row["revisit_date"]
    if wanted is None:
        return "undated"
    if row["local_date"] is not None and wanted < row["local_date"]:
        return "back_dated"
    if followed_on is None:
        return "pending" if as_of <= wanted + tolerance else "missed"
    return "early" if followed_on < wanted else "on_time" if followed_on <= wanted + tolerance else "late"


def in_slot(row: Row, follow_up: Row | None) -> bool | None:
    """Whether a follow-up on the very day began within either slot, ends included."""
    slots = [(row[f"slot{number}_start"], row[f"slot{number}_end"]) for number in (1, 2)]
    complete = [slot for slot in slots if None not in slot]
    if follow_up is None or follow_up["local_date"] != row["revisit_date"] or not complete:
        return None
    return any(first <= follow_up["start_local"].time() <= last for first, last in complete)


def account_episodes(completed: Rows, rules: Rules, as_of: date) -> Rows:
    """By (source, account_id, product_id, episode_no)."""
    found = []
    groups = grouped(dated(completed), lambda row: (*account_key(row), row["product_id"]))
    for (source, account_id, product_id), rows in groups.items():
        longest_gap = rules.days(source, "episode_days")
        whose = {"source": source, "account_id": account_id, "product_id": product_id}
        for number, those in enumerate(split_by_gap(rows, longest_gap), 1):
            found.append(whose | {"episode_no": number} | episode(those, longest_gap, as_of))
    return found


def split_by_gap(rows: Rows, longest_gap: timedelta) -> list[Rows]:
    episodes = [rows[:1]]
    for before, after in pairwise(rows):
        if after["local_date"] - before["local_date"] > longest_gap:
            episodes.append([])
        episodes[-1].append(after)
    return episodes


def episode(rows: Rows, longest_gap: timedelta, as_of: date) -> Row:
    first, last = rows[0], rows[-1]
    return {
        "visits": len(rows),
        "first_date": first["local_date"],
        "last_date": last["local_date"],
        "first_resolved": first["is_promise"] or first["outcome"] == "claims_paid" or is_conclusive(first),
        "ever_contacted": _any(row["is_contact"] for row in rows),
        "ever_rpc": _any(row["is_rpc"] for row in rows),
        "ever_promised": any(row["is_promise"] for row in rows),
        "is_closed": last["local_date"] + longest_gap < as_of,
    }


def is_conclusive(row: Row) -> bool:
    return row["validation"] in CONCLUSIVE


# ---------------------------------------------------------------- counts


def outcomes_daily(all_visits: Rows) -> Rows:
    """By (source, product_id, local_date)."""
    days = grouped(all_visits, lambda row: (row["source"], row["product_id"], row["local_date"]))
    return [
        {"source": source, "product_id": product_id, "local_date": day} | with_rates(product_id, counts(rows))
        for (source, product_id, day), rows in days.items()
    ]


def counts(rows: Rows) -> Row:
    completed = [row for row in rows if row["state"] == "completed"]
    promised = [row for row in completed if row["is_promise"]]
    amounts = [row["promise_amount"] for row in promised if row["promise_amount"] is not None]
    return {
        "visits_completed": len(completed),
        "visits_cancelled": _how_many(rows, "state", "cancelled"),
        "visits_open": _how_many(rows, "state", "open"),
        **contact_counts(completed),
        "promises": len(promised),
        "promises_in_contact": _how_many(promised, "is_contact"),
        "promises_without_contact": _how_many(promised, "is_contact", False),
        "promise_amount": _sum(amounts),
        "promises_with_amount": len(amounts),
        "claims_paid": _how_many(completed, "outcome", "claims_paid"),
        "rebounds": _how_many(completed, "rebound"),
        "rebound_known": sum(row["rebound"] is not None for row in completed),
        **{name: _how_many(completed, "validation", name) for name in VALIDATIONS},
    }


def contact_counts(completed: Rows) -> Row:
    return {
        "contact_known": sum(row["is_contact"] is not None for row in completed),
        "contacts": _how_many(completed, "is_contact"),
        "rpcs": _how_many(completed, "is_rpc"),
    }


def with_rates(product_id: int | None, n: Row) -> Row:
    conclusive = n["validated"] + n["refuted"]
    return n | {
        "cancellation_rate": _rate(n["visits_cancelled"], n["visits_completed"] + n["visits_cancelled"]),
        "contact_rate": _rate(n["contacts"], n["contact_known"]),
        "rpc_rate": _rate(n["rpcs"], n["contact_known"]),
        "ptp_per_contact": _rate(n["promises_in_contact"], n["contacts"]),
        "ptp_per_visit": _rate(n["promises"], n["visits_completed"]),
        "rebound_rate": _rate(n["rebounds"], n["rebound_known"]),
        "validated_rate": _rate(n["validated"], conclusive),
        "conclusive_rate": _rate(conclusive, n["visits_completed"]) if product_id in (2, 3) else None,
    }


def agent_days(completed: Rows, all_legs: Rows, rules: Rules) -> Rows:
    """By (source, agent_key, local_date)."""
    legs_of = grouped(all_legs, lambda leg: (leg["source"], leg["agent_key"], leg["local_date"]))
    return [
        {"source": day[0], "agent_key": day[1], "local_date": day[2]} | agent_day(rows, legs_of.get(day, []), rules)
        for day, rows in agent_day_visits(completed).items()
    ]


def agent_day(rows: Rows, day_legs: Rows, rules: Rules) -> Row:
    on_site = [row["duration_s"] for row in rows if row["duration_s"] is not None and not is_too_long(row, rules)]
    on_site_s = _sum(duration for duration in on_site if duration >= 0)
    travel_m = _sum(leg["travel_m"] for leg in day_legs)
    return {
        "agent_name": latest(rows, "agent_name", by_start),
        "visits": len(rows),
        "accounts": len({row["account_id"] for row in rows if has_account(row)}),
        "productive_visits": sum(row["is_rpc"] is True or row["is_promise"] or is_conclusive(row) for row in rows),
        "contacts": _how_many(rows, "is_contact"),
        "promises": _how_many(rows, "is_promise"),
        "promise_amount": _sum(row["promise_amount"] for row in rows if row["is_promise"]),
        "first_start_at": min(row["start_at"] for row in rows),
        "last_end_at": max((row["end_at"] for row in rows if row["end_at"]), default=None),
        "on_site_min": None if on_site_s is None else on_site_s / 60,
        "between_min": _sum(leg["travel_min"] for leg in day_legs),
        "travel_km": None if travel_m is None else travel_m / 1000,
    }


def latest(rows: Rows, column: str, order: Callable[[Row], Any]) -> Any:
    """The last text of a column that is not blank."""
    return next((row[column] for row in sorted(rows, key=order, reverse=True) if blank_as_none(row[column])), None)


def contact_hours(completed: Rows, rules: Rules) -> Rows:
    """By (source, product_id, iso_dow, local_hour)."""
    names = ("source", "product_id", "iso_dow", "local_hour")
    timed = [row for row in completed if row["local_hour"] is not None]
    cells = grouped(timed, lambda row: tuple(row[name] for name in names))
    return [dict(zip(names, cell, strict=True)) | contact_hour(rows, rules) for cell, rows in cells.items()]


def contact_hour(rows: Rows, rules: Rules) -> Row:
    n = contact_counts(rows)
    return n | {
        "visits": len(rows),
        "contact_rate": _rate(n["contacts"], n["contact_known"]),
        "rpc_rate": _rate(n["rpcs"], n["contact_known"]),
        "contact_rate_low95": wilson_low(n["contacts"], n["contact_known"]),
        "is_ranked": n["contact_known"] >= rules.number(rows[0]["source"], "min_visits_heatmap"),
    }


def label_mix(completed: Rows) -> Rows:
    """By (source, product_id, month, outcome, label_key)."""
    names = ("source", "product_id", "month", "outcome", "label_key")
    cells: dict[tuple[Any, ...], Counter[str | None]] = defaultdict(Counter)
    for row in completed:
        label = label_of(row)
        cell = (row["source"], row["product_id"], _month(row["local_date"]), row["outcome"] or "unmapped")
        cells[(*cell, normalised(label) or None)][label] += 1
    return [
        dict(zip(names, cell, strict=True)) | {"label": commonest(spellings), "visits": spellings.total()}
        for cell, spellings in cells.items()
    ]


def label_of(row: Row) -> str | None:
    return blank_as_none(row["tag_name"]) or row["tag"]


def commonest(spellings: Counter[str | None]) -> str | None:
    """Of equals the first in the order of code points."""
    return min(spellings, key=lambda text: (-spellings[text], text or ""))


def payment_methods(completed: Rows) -> Rows:
    """By (source, month, code): visits with a promise."""
    promised = [row for row in completed if row["is_promise"]]
    months = grouped(promised, lambda row: (row["source"], _month(row["local_date"])))
    return [
        {"source": source, "month": month, "code": code, "promises": n, "share": n / len(rows)}
        for (source, month), rows in months.items()
        for code, n in Counter(map(method_of, rows)).items()
    ]


def method_of(row: Row) -> str | None:
    return row["payment_method_code"] or (None if row["payment_method"] is None else "unmapped")


def data_quality(all_visits: Rows, quality: Rows, answers: Rows) -> Rows:
    """By (source, local_date, check)."""
    told: dict[tuple[str, date | None, str], list[bool | None]] = defaultdict(list)
    for row in quality:
        for flag in FLAGS:
            told[row["source"], row["local_date"], flag].append(row[flag])
    day_of = {visit_key(row): row["local_date"] for row in all_visits}
    for answer in answers:
        is_unparsed = None if answer["parse_ok"] is None else not answer["parse_ok"]
        told[answer["source"], day_of[visit_key(answer)], "unparsed_answers"].append(is_unparsed)
    return [
        {"source": source, "local_date": day, "check": check}
        | {"failed": flags.count(True), "tested": len(flags) - flags.count(None)}
        for (source, day, check), flags in told.items()
    ]


# ---------------------------------------------------------------- who and what there is


def agents(all_visits: Rows) -> Rows:
    """By (source, agent_key)."""
    known = [row for row in all_visits if row["agent_key"] is not None]
    return [
        {"source": source, "agent_key": key} | agent(rows)
        for (source, key), rows in grouped(known, lambda row: (row["source"], row["agent_key"])).items()
    ]


def agent(rows: Rows) -> Row:
    days = [row["local_date"] for row in rows if row["local_date"]]
    return {
        "agent_name": latest(rows, "agent_name", by_start),
        "names_seen": len({row["agent_name"] for row in rows if blank_as_none(row["agent_name"])}),
        "first_visit_on": min(days, default=None),
        "last_visit_on": max(days, default=None),
        "visits": len(rows),
        "visits_completed": _how_many(rows, "state", "completed"),
    }


class AccountsFile:
    """The accounts file: of an account's lines the latest; its source's own before those of every source."""

    def __init__(self, rows: Rows, rules: Rules) -> None:
        self._lines: dict[tuple[str, str], Row] = {}
        for row in rows:
            source, account_id = text_in(row, "source"), text_in(row, "external_id")
            typed = account_columns(row, rules.setting(source, "default_time_zone"))
            if not account_id or typed["as_of_date"] is None:  # a bad row: listed elsewhere
                continue
            known = self._lines.get((source, account_id))
            if known is None or typed["as_of_date"] > known["as_of_date"]:
                self._lines[source, account_id] = typed

    def line(self, source: str, account_id: str | None) -> Row | None:
        return self._lines.get((source, account_id or "")) or self._lines.get(("", account_id or ""))

    def reference(self, row: Row) -> Place | None:
        """Where the account's visits should take place."""
        line = self.line(*account_key(row))
        return place(line["lat"], line["lng"]) if line else None


def account_columns(row: Row, zone: str) -> Row:
    """A line of the accounts file, typed; what does not read is None."""
    where = read_place(row.get("lat"), row.get("lng"))
    return {
        **{name: read_date(text_in(row, name), zone) for name in ("as_of_date", "assigned_on")},
        **{name: read_signed_money(text_in(row, name)) for name in ("balance", "past_due")},
        **{name: _whole(text_in(row, name)) for name in ("product_id", "days_past_due")},
        **{name: text_in(row, name) or None for name in ("portfolio", "agent_id", "currency")},
        "lat": where and where.lat,
        "lng": where and where.lng,
    }


def _whole(text: str) -> int | None:
    return int(text) if text.removeprefix("-").isdecimal() else None


def accounts_seen(
    all_visits: Rows, all_promises: Rows, on_file: AccountsFile | None, is_measured: bool, as_of: date
) -> Rows:
    """By (source, account_id)."""
    known = [row for row in all_visits if has_account(row)]
    order = {visit_key(row): by_day(row) for row in known}
    still_open = [row for row in all_promises if visit_key(row) in order and is_open(row, is_measured, as_of)]
    still_open.sort(key=lambda row: order[visit_key(row)])
    last_open = {account_key(row): row for row in still_open}
    return [
        {"source": source, "account_id": account_id}
        | account(rows)
        | _open_promise(last_open.get((source, account_id)))
        | ((on_file and on_file.line(source, account_id)) or dict.fromkeys(ACCOUNT_COLUMNS))
        for (source, account_id), rows in grouped(known, account_key).items()
    ]


def is_open(row: Row, is_measured: bool, as_of: date) -> bool:
    if is_measured:
        return row["status"] == "open"
    return row["promise_check"] == "valid" and as_of <= row["deadline"] and not row["is_replaced"]


def _open_promise(row: Row | None) -> Row:
    return {
        "open_promise_date": row and row["promise_date"],
        "open_promise_amount": row and row["promise_amount"],
    }


def account(rows: Rows) -> Row:
    completed = sorted((row for row in rows if row["state"] == "completed"), key=by_day)
    return {
        "client_name": latest(rows, "client_name", by_day),
        "visits": len(rows),
        "visits_completed": len(completed),
        "last_outcome": completed[-1]["outcome"] if completed else None,
        "last_contact_on": max((r["local_date"] for r in rows if r["is_contact"] and r["local_date"]), default=None),
    }


def questions(kobra: dict[str, Rows], rules: Rules) -> Rows:
    """One row per form of a question."""
    given: dict[Form, Rows] = defaultdict(list)
    for asked in replies(kobra).values():
        for form, answer in asked:
            given[form] += [answer] if answer else []
    return [
        form._asdict()
        | (rules.role(form) or Match(None, None, "unmapped"))._asdict()
        | {"answers": len(answers), "answered": sum(row["value"] is not None for row in answers)}
        for form, answers in given.items()
    ]


def reconciliation(kobra: dict[str, Rows]) -> Rows:
    """By (source, received date), in UTC."""
    duplicates = [row for row in kobra["deliveries"] if row["outcome"] == "duplicate"]
    days = {
        "landed": _received(kobra["deliveries"], "received_at"),
        "new_versions": _received(kobra["visit_versions"], "valid_from"),
        "duplicates": _received(duplicates, "received_at"),
        "rejected": _received(kobra["rejects"], "received_at"),
    }
    return [
        {"source": day[0], "received_date": day[1]}
        | (n := {name: count[day] for name, count in days.items()})
        | {"is_balanced": n["landed"] == n["new_versions"] + n["duplicates"] + n["rejected"]}
        for day in set().union(*days.values())
    ]


def _received(rows: Rows, column: str) -> Counter[tuple[str, date]]:
    return Counter((row["source"], row[column].astimezone(UTC).date()) for row in rows)
