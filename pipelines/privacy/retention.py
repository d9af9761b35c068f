"""For how long: raw partitions by the day they came, personal data in the tables by the visit's last version.

What is blanked of a visit whose last version came in before the limit, in all its versions: `client_name`, `comment`
and `extra` of visits; `extra` of questions and answers; all forms of phones and e-mails, and their `extra`; and
`value` and `value_text` of those answers that no figure is made of: text by its role (the contact's name), free text
without a role (types 1, 2 and unknown ones), and whatever does not read as the type that its role, or without one
its question, has. `parse_ok` stays. The marts and wide tables follow; of the marts' figures only `questions.answered`
falls. What stays: ids, agents, labels, choices, times, amounts and coordinates, on which the others rest. A role that
a mapping gives to a question later finds no text in visits that are blanked.
"""

import json
from collections.abc import Container
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.contract import ANSWER_TYPES, EMAILS, PHONES
from pipelines.errors import FaultError, UsageError
from pipelines.warehouse import state, transaction
from pipelines.warehouse.home import Home
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CHOSEN = ", ".join(f"'{kind}'" for kind, name in ANSWER_TYPES.items() if name not in ("text", "text-area"))
# Of those that were too old already, only what changed since the last build may hold anything again.
_AGED = """
create or replace temp table aged as
    with too_old as (
        select source, visit_id, max(valid_from) as last_version_at
        from kobra.visit_versions group by all having last_version_at < $until
    )
    select source, visit_id from too_old
    where last_version_at >= coalesce((select until from meta.blanked), '-infinity')
        or (source, visit_id) in (select source, visit_id from staging.int_changed_visits)
"""
_NOTED = "delete from meta.blanked; insert into meta.blanked from temp.until;"
# What is blanked whatever it says, by landed table.
_COLUMNS = {
    "visits": ("client_name", "comment", "extra"),
    "questions": ("extra",),
    "answers": ("extra",),
    PHONES: ("value", "normalised", "e164", "extra"),
    EMAILS: ("value", "normalised", "extra"),
}
# `role` and `value_type` come from the mapping, as the last build read it.
_FREE_TEXT = f"""
create or replace temp table free_text as
    select a.source, a.visit_id, a.delivery_id, a.item, a.question_pos, a.answer_pos
    from landed.answers as a
    semi join temp.aged using (source, visit_id)
    join landed.questions as q using (delivery_id, item, _dlt_load_id, question_pos)
    join landed.visits as v using (delivery_id, item, _dlt_load_id)
    left join staging.int_question_forms as f
        on f.source = a.source
        and f.product_id is not distinct from v.product_id
        and f.question_id is not distinct from q.question_id
        and f.question_name is not distinct from q.question_name
        and f.answer_name is not distinct from a.answer_name
        and f.answer_type_id is not distinct from a.answer_type_id
        and f.has_answer
    where a.value is not null and case f.value_type
        when 'text' then true
        when 'code' then false
        when 'bool' then kobra.read_bool(a.value) is null
        when 'money' then kobra.read_number(a.value) is null
        when 'date' then kobra.read_date(a.value, 'UTC') is null
        when 'time' then kobra.read_time(a.value) is null
        else coalesce(a.answer_type_id, '') not in ({_CHOSEN}) or not coalesce(a.parse_ok, false)
    end;
"""
_FOUND = f"""
{_FREE_TEXT}
create or replace temp table to_blank as
    select source, visit_id from temp.free_text
    {
    " ".join(
        f"union select source, visit_id from landed.{table} semi join temp.aged using (source, visit_id)"
        f" where coalesce({', '.join(f'{column}::varchar' for column in columns)}) is not null"
        for table, columns in _COLUMNS.items()
    )
};
"""
_BLANK = f"""
update landed.answers set value = null, value_text = null
where (delivery_id, item, question_pos, answer_pos) in (
    select (delivery_id, item, question_pos, answer_pos) from temp.free_text
);
{
    " ".join(
        f"update landed.{table} set {', '.join(f'{column} = null' for column in columns)}"
        " where (source, visit_id) in (select (source, visit_id) from temp.to_blank);"
        for table, columns in _COLUMNS.items()
    )
}
{_NOTED}
"""


_AHEAD = timedelta(days=1)


class PolicyError(FaultError):
    """The policy on disk cannot be read."""


class ClockError(UsageError):
    """The clock is not to be trusted with what is old."""


class ContradictionError(UsageError):
    """A policy that makes no sense."""


class Policy(NamedTuple):
    """Days to keep; None: for good."""

    raw_days: int | None = None
    pii_days: int | None = None


class Retained(NamedTuple):
    """What a policy removed: the days whose partitions are gone."""

    partitions: list[str]
    policy: Policy


def read(home: Home) -> Policy:
    """The policy that a home was told last."""
    path = _path(home)
    try:
        told = json.loads(path.read_text())
        return Policy(told["raw_days"], told["pii_days"])
    except FileNotFoundError:
        return Policy()
    except (ValueError, KeyError, TypeError) as why:
        raise PolicyError(f"{path} cannot be read: say the policy again with kobra retain") from why


def remember(home: Home, told: Policy) -> Policy:
    """Remember the policy, completed by what was told before: every later build keeps to it, also one of a warehouse
    made anew. Raises ContradictionError."""
    before = read(home)
    policy = Policy(told.raw_days or before.raw_days, told.pii_days or before.pii_days)
    if policy.raw_days and policy.pii_days and policy.pii_days > policy.raw_days:
        raise ContradictionError(
            f"personal data kept for {policy.pii_days} days would outlive the raw records, kept for "
            f"{policy.raw_days}, of which alone it can be checked and made again: give --pii-days of at most "
            "--raw-days, or --raw-days of at least that"
        )
    rawstore.make_folder(home.erasure)
    rawstore.put(_path(home), json.dumps(policy._asdict()))
    return policy


def _path(home: Home) -> Path:
    return home.erasure / "retention.json"


def reckoned_from(connection: "DuckDBPyConnection") -> datetime:
    """The moment from which days are counted back: now, or the newest delivery where that is earlier. A clock that is
    ahead makes nothing old."""
    now = datetime.now(UTC)
    newest = _newest(connection, "select max(received_at) from landed.deliveries")
    return min(now, newest) if newest else now


def check_clock(connection: "DuckDBPyConnection") -> None:
    """Raise ClockError when the clock is more than a day ahead of the newest delivery and of the last run as well."""
    now = datetime.now(UTC)
    known = [
        _newest(connection, "select max(received_at) from landed.deliveries"),
        _newest(connection, "select max(finished_at) from meta.runs") if state.is_built(connection) else None,
    ]
    latest = max(filter(None, known), default=now)
    if now - latest > _AHEAD:
        raise ClockError(
            f"the clock says {now:%Y-%m-%d %H:%M} UTC, more than a day after the newest delivery and the last run "
            f"({latest:%Y-%m-%d %H:%M} UTC), and nothing is removed: set it right, or, if it is, do `kobra run` first"
        )


def _newest(connection: "DuckDBPyConnection", query: str) -> datetime | None:
    found = connection.execute(f"select epoch_us(({query}))").fetchone()
    return datetime.fromtimestamp(found[0] / 1e6, UTC) if found and found[0] is not None else None


def limit(days: int, reckoned: datetime) -> date:
    """The first UTC day that is kept."""
    return reckoned.astimezone(UTC).date() - timedelta(days=days)


def finds(connection: "DuckDBPyConnection", policy: Policy) -> bool:
    """Whether there is personal data older than the policy keeps, as the mapping of the last build sees it."""
    if policy.pii_days is None:
        return False
    until = datetime.combine(limit(policy.pii_days, reckoned_from(connection)), time(), UTC)
    connection.execute(_AGED, {"until": until})
    connection.execute("create or replace temp table until as select ?::timestamptz as until", [until])
    if connection.execute("select count(*) from temp.aged").fetchone() != (0,):
        connection.execute(_FOUND)
        if connection.execute("select count(*) from temp.to_blank").fetchone() != (0,):
            return True
    connection.execute(_NOTED)
    return False


def blank(connection: "DuckDBPyConnection") -> None:
    """Blank what was found. The next build computes those visits anew; and then the working file has to be written
    anew before it is published."""
    with transaction.whole(connection):
        connection.execute(_BLANK)
        state.note_changed(connection, "from temp.to_blank")


def remove_partitions(home: Home, since: date, taken: Container[rawstore.Key]) -> list[str]:
    """Remove the raw partitions of days before one, whole; those of which something is not loaded yet or still being
    written stay until it is. Answers with the days."""
    removed = list[str]()
    for partition in rawstore.partitions(home.raw):
        day = rawstore.received_date(partition / "any")
        if (
            day < since
            and not rawstore.open_in(partition)
            and all(rawstore.is_among(path, taken) for path in rawstore.closed_in(partition).values())
        ):
            _note_removed(home, day)
            rawstore.remove(partition)
            removed.append(str(day))
    return removed


def removed_days(home: Home) -> set[date]:
    """The days of the raw store that a policy removed: nobody misses them."""
    try:
        return set(map(date.fromisoformat, _removed(home).read_text().split()))
    except FileNotFoundError:
        return set()


def _note_removed(home: Home, day: date) -> None:
    days = removed_days(home) | {day}
    rawstore.make_folder(home.erasure)
    rawstore.put(_removed(home), "".join(f"{each}\n" for each in sorted(days)))


def _removed(home: Home) -> Path:
    return home.erasure / "removed_days"
