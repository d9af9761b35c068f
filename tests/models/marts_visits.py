"""The visits of schema marts, one by one, and the rules that a customer edits: roles, codes, settings."""

import csv
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from marts_reading import (
    blank_as_none,
    end_instant,
    moment,
    normalised,
    read_bool,
    read_date,
    read_money,
    read_time,
    zone_of,
)

Row = dict[str, Any]
Rows = list[Row]
Key = tuple[str, str]  # source, visit_id

ROLES = """contact_made contact_with contact_name promise_made payment_method promise_amount promise_date revisit
    revisit_date slot1_start slot1_end slot2_start slot2_end validation_result tag address_found lives_here
    business_operating business_activity_match""".split()
FITTING_TYPES = {
    value_type: types.split()
    for value_type, types in {
        "bool": "6 7 8 9", "money": "3 4", "date": "5", "time": "10", "code": "1 6 7 9", "text": "1 2",
    }.items()
}  # fmt: skip
MATCHES = ("name+id", "name", "id")
VALIDATIONS = ("validated", "refuted", "inconclusive")
NEVER = datetime.min.replace(tzinfo=UTC)


# ---------------------------------------------------------------- what a customer edits


class Mappings(NamedTuple):
    """The three CSV files as rows of text; `source` may be absent."""

    question_roles: Rows
    answer_codes: Rows
    settings: Rows

    @classmethod
    def read(cls, folder: Path) -> "Mappings":
        """The files of a folder."""
        return cls(*(_csv(folder / f"{name}.csv") for name in cls._fields))

    def and_more(self, more: "Mappings") -> "Mappings":
        """With the lines of `more` at the end of each file."""
        return Mappings(*([*ours, *theirs] for ours, theirs in zip(self, more, strict=True)))


def _csv(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


class Form(NamedTuple):
    """A question as it is asked: what `marts.questions` has one row for."""

    source: str
    product_id: int | None
    question_id: str | None
    question_name: str | None
    answer_name: str | None
    answer_type_id: str | None


class Match(NamedTuple):
    role: str
    value_type: str
    matched_by: str


class Rules:
    """The mappings, asked. A source's own line beats a general one, then see each question."""

    def __init__(self, mappings: Mappings) -> None:
        self._mappings = mappings
        self._roles: dict[Form, Match | None] = {}

    def setting(self, source: str, key: str) -> str:
        rows = [row for row in self._mappings.settings if text_in(row, "key") == key and _is_for(row, source)]
        return min(rows, key=_is_general)["value"].strip()

    def number(self, source: str, key: str) -> float:
        return float(self.setting(source, key))

    def days(self, source: str, key: str) -> timedelta:
        return timedelta(days=int(self.setting(source, key)))

    def role(self, form: Form) -> Match | None:
        """name+id before name before id; the answer's own name, the product's own line, the earlier line."""
        if form not in self._roles:
            matching = [row for row in self._mappings.question_roles if _matched_by(row, form)]
            best = min(matching, key=lambda row: _rank(row, form), default=None)  # the earlier line of equals
            self._roles[form] = best and Match(
                text_in(best, "role"), text_in(best, "value_type"), _matched_by(best, form)
            )
        return self._roles[form]

    def code(self, role: str, value: str | None, source: str, product_id: int | None) -> str | None:
        rows = [
            row
            for row in self._mappings.answer_codes
            if text_in(row, "role") == role
            and normalised(value)
            and normalised(row["value"]) == normalised(value)
            and _is_for(row, source)
            and _is_for_product(row, product_id)
        ]
        best = min(rows, key=lambda row: (_is_general(row), not text_in(row, "product_id")), default=None)
        return best and text_in(best, "code")


def text_in(row: Row, column: str) -> str:
    return (row.get(column) or "").strip()


def _is_general(row: Row) -> bool:
    return not text_in(row, "source")


def _is_for(row: Row, source: str) -> bool:
    return text_in(row, "source") in ("", source)


def _is_for_product(row: Row, product_id: int | None) -> bool:
    product = text_in(row, "product_id")
    return not product or int(product) == product_id


def _rank(row: Row, form: Form) -> tuple[Any, ...]:
    by = MATCHES.index(_matched_by(row, form))
    return _is_general(row), by, not text_in(row, "answer_name"), not text_in(row, "product_id")


def _matched_by(row: Row, form: Form) -> str | None:
    """How a line of question_roles matches a form, if it does."""
    if not (_is_for(row, form.source) and _is_for_product(row, form.product_id)):
        return None
    answer_name = normalised(text_in(row, "answer_name"))
    if answer_name and answer_name != normalised(form.answer_name):
        return None
    question_id, name = text_in(row, "question_id"), normalised(text_in(row, "question_name"))
    same_id = bool(question_id) and question_id == form.question_id
    if name and name == normalised(form.question_name):
        return "name+id" if same_id else "name"
    return "id" if same_id and form.answer_type_id in FITTING_TYPES[text_in(row, "value_type")] else None


# ---------------------------------------------------------------- visits


class Reply(NamedTuple):
    """An answer, or a question that has none."""

    form: Form
    answer: Row | None


def replies(kobra: dict[str, Rows]) -> dict[Key, list[Reply]]:
    """What every visit was asked, in delivery order."""
    product_of = {visit_key(visit): visit["product_id"] for visit in kobra["visits"]}
    answers = grouped(kobra["answers"], lambda row: (*visit_key(row), row["question_pos"]))
    found: dict[Key, list[Reply]] = defaultdict(list)
    for question in sorted(kobra["questions"], key=lambda row: row["question_pos"]):
        key = visit_key(question)
        head = (question["source"], product_of[key], question["question_id"], question["question_name"])
        given = sorted(answers.get((*key, question["question_pos"]), []), key=lambda row: row["answer_pos"])
        found[key] += [Reply(Form(*head, row["answer_name"], row["answer_type_id"]), row) for row in given]
        if not given:
            found[key].append(Reply(Form(*head, None, None), None))
    return found


def visits(kobra: dict[str, Rows], rules: Rules) -> Rows:
    """One row per visit."""
    asked = replies(kobra)
    return [visit(row, asked.get(visit_key(row), []), rules) for row in kobra["visits"]]


def visit(row: Row, asked: list[Reply], rules: Rules) -> Row:
    sent = {name: value for name, value in row.items() if name not in ("comment", "extra") and name[:4] != "_dlt"}
    when = _when(row, rules)
    roles = role_values(asked, when["time_zone"], rules)
    state = "cancelled" if row["cancelled"] else "completed" if row["finished"] else "open"
    keys = {"agent_key": agent_key(row), "account_id": row["account_id"] if has_account(row) else None}
    return sent | when | roles | keys | {"state": state} | _judged(row, roles, state, rules)


def _when(row: Row, rules: Rules) -> Row:
    zone = zone_of(row["time_zone_raw"], rules.setting(row["source"], "default_time_zone"))
    local = row["start_local"]
    start = moment(local, zone.name) if local is not None else None
    start_at = start.candidates[0] if start else None
    end_at = end_instant(row["end_local"], zone.name, start_at)
    return {
        "time_zone": zone.name,
        "time_zone_known": zone.is_known,
        "start_at": start_at,
        "end_at": end_at,
        "start_ambiguous": start is not None and start.is_ambiguous,
        "start_in_gap": start is not None and start.is_in_gap,
        "local_date": local.date() if local else None,
        "local_hour": local.hour if local else None,
        "iso_dow": local.isoweekday() if local else None,
        "duration_s": seconds(start_at, end_at),
        "delivery_lag_s": seconds(end_at, row["received_at"]),
    }


def role_values(asked: list[Reply], zone: str, rules: Rules) -> Row:
    """The first value of each role that reads, in delivery order."""
    values: Row = dict.fromkeys(ROLES)
    for form, answer in asked:
        match = rules.role(form)
        if match and answer and answer["value"] is not None and values[match.role] is None:
            values[match.role] = read_value(match.value_type, answer["value"], zone)
    return values


def read_value(value_type: str, text: str, zone: str) -> object:
    """An answer's text as its role takes it."""
    if value_type == "date":
        return read_date(text, zone)
    readers = {"bool": read_bool, "money": read_money, "time": read_time}
    return readers.get(value_type, blank_as_none)(text)


def agent_key(row: Row) -> str | None:
    if blank_as_none(row["agent_id"]):
        return row["agent_id"]
    name = normalised(row["agent_name"])
    return f"name:{name}" if name else None


def _judged(row: Row, roles: Row, state: str, rules: Rules) -> Row:
    """What a visit came to, in codes."""

    def code(role: str, value: str | None) -> str | None:
        return rules.code(role, value, row["source"], row["product_id"])

    outcome = code("tag", row["tag_name"]) or code("tag", roles["tag"])
    contact_class = code("contact_with", roles["contact_with"])
    is_contact = roles["contact_made"] if state == "completed" else None
    return {
        "contact_class": contact_class,
        "outcome": outcome,
        "payment_method_code": code("payment_method", roles["payment_method"]),
        "validation": validation(row["product_id"], code("validation_result", roles["validation_result"]), outcome),
        "is_contact": is_contact,
        "is_rpc": is_right_party(is_contact, contact_class),
        "is_promise": state == "completed" and roles["promise_made"] is True,
    }


def validation(product_id: int | None, answered: str | None, outcome: str | None) -> str | None:
    if product_id not in (2, 3):
        return None
    return answered or (outcome if outcome in VALIDATIONS else None)


def is_right_party(is_contact: bool | None, contact_class: str | None) -> bool | None:
    """Unknown when someone was met and nobody said who."""
    if not is_contact:
        return is_contact
    return None if contact_class is None else contact_class in ("right_party", "guarantor")


# ---------------------------------------------------------------- orders and groups


def visit_key(row: Row) -> Key:
    return row["source"], row["visit_id"]


def account_key(row: Row) -> tuple[str, str]:
    return row["source"], row["account_id"]


def has_account(row: Row) -> bool:
    return blank_as_none(row["account_id"]) is not None


def grouped(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> dict[Any, Rows]:
    groups: dict[Any, Rows] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def by_start(row: Row) -> tuple[Any, ...]:
    """Order within an agent-day: start, end (unknown last), id. A visit without a start comes before all others."""
    return row["start_at"] or NEVER, row["end_at"] is None, row["end_at"] or NEVER, row["visit_id"]


def by_day(row: Row) -> tuple[Any, ...]:
    """Order within an account: the local date first, so that the dates of what follows never go back."""
    return row["local_date"] or date.min, *by_start(row)


def dated(completed: Rows) -> Rows:
    """Visits that have a place in the order of their account."""
    return sorted((row for row in completed if has_account(row) and row["local_date"]), key=by_day)


def agent_day_visits(completed: Rows) -> dict[tuple[str, str, date], Rows]:
    """Completed visits by (source, agent_key, local_date), in order."""
    known = [row for row in completed if row["agent_key"] is not None and row["local_date"] is not None]
    return grouped(sorted(known, key=by_start), lambda row: (row["source"], row["agent_key"], row["local_date"]))


def seconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else (until - since).total_seconds()
