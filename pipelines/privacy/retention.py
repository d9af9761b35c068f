"""For how long: raw partitions by the day they came, personal data in the tables by the visit's last version.

What is blanked of a visit whose last version came in before the limit: `client_name`, `comment` and `extra` of
kobra.visits; `value`, `normalised` and `extra` of its phones and e-mails; and `value` and `value_text` of those
answers that no figure is made of: text by its role (the contact's name), free text without a role (types 1, 2 and
unknown ones), and whatever does not read as the type that its role, or without one its question, has. `parse_ok`
stays. The marts and wide tables follow; of the marts' figures only `questions.answered` falls. What stays: ids,
agents, labels, choices, times, amounts and coordinates, on which the others rest. A role that a mapping gives to a
question later finds no text in visits that are blanked.
"""

import json
from collections.abc import Container
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.contract import ANSWER_TYPES, EMAILS, PHONES
from pipelines.errors import FaultError, UsageError
from pipelines.warehouse import state as meta
from pipelines.warehouse import transaction
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CHOSEN = ", ".join(f"'{kind}'" for kind, name in ANSWER_TYPES.items() if name not in ("text", "text-area"))
_CONTACTS = " or ".join(f"{column} is not null" for column in ("value", "normalised", "extra"))

# Of those that were too old already, only what the last build touched may hold anything again.
_AGED = """
create or replace temp table aged as
    with too_old as (
        select source, visit_id, max(valid_from) as last_version_at
        from kobra.visit_versions group by all having last_version_at < $until
    )
    select source, visit_id from too_old
    where last_version_at >= coalesce((select until from meta.blanked), '-infinity')
        or (source, visit_id) in (select source, visit_id from staging.touched_visits)
"""
_NOTED = "delete from meta.blanked; insert into meta.blanked from temp.until;"
# `role` and `value_type` come from the mapping, as the last build read it.
_FOUND = f"""
create or replace temp table free_text as
    select a.source, a.visit_id, a.question_pos, a.answer_pos
    from kobra.answers as a
    join kobra.questions as q using (source, visit_id, question_pos)
    join kobra.visits as v using (source, visit_id)
    semi join temp.aged using (source, visit_id)
    left join staging.question_forms as f
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

create or replace temp table to_blank as
    select source, visit_id from temp.free_text
    union
    select source, visit_id from kobra.visits semi join temp.aged using (source, visit_id)
    where client_name is not null or comment is not null or extra is not null
    union
    select source, visit_id from kobra.{PHONES} semi join temp.aged using (source, visit_id) where {_CONTACTS}
    union
    select source, visit_id from kobra.{EMAILS} semi join temp.aged using (source, visit_id) where {_CONTACTS};
"""

_THEIRS = "(source, visit_id) in (select source, visit_id from temp.to_blank)"
_BLANK = f"""
update kobra.answers set value = null, value_text = null
where (source, visit_id, question_pos, answer_pos) in (
    select source, visit_id, question_pos, answer_pos from temp.free_text
);
update kobra.visits set client_name = null, comment = null, extra = null where {_THEIRS};
update kobra.{PHONES} set value = null, normalised = null, e164 = null, extra = null where {_THEIRS};
update kobra.{EMAILS} set value = null, normalised = null, extra = null where {_THEIRS};
delete from meta.visits_built where {_THEIRS};
{_NOTED}
"""


_AHEAD = timedelta(days=1)


class PolicyError(FaultError):
    """The policy on disk cannot be read."""


class ClockError(UsageError):
    """The clock is not to be trusted with what is old."""


class Policy(NamedTuple):
    """Days to keep; None: for good."""

    raw_days: int | None = None
    pii_days: int | None = None


def read(home: Path) -> Policy:
    """The policy that a home was told last."""
    path = _path(home)
    try:
        told = json.loads(path.read_text())
        return Policy(told["raw_days"], told["pii_days"])
    except FileNotFoundError:
        return Policy()
    except (ValueError, KeyError, TypeError) as why:
        raise PolicyError(f"{path} cannot be read: say the policy again with kobra retain") from why


def write(home: Path, policy: Policy) -> None:
    """Remember the policy: every later build keeps to it, also one of a warehouse made anew."""
    rawstore.make_folder(_path(home).parent)
    rawstore.put(_path(home), json.dumps(policy._asdict()))


def _path(home: Path) -> Path:
    return home / "erasure" / "retention.json"


def reckoned_from(connection: "DuckDBPyConnection") -> datetime:
    """The moment from which days are counted back: now, or the newest delivery where that is earlier. A clock that is
    ahead makes nothing old."""
    now = datetime.now(UTC)
    newest = _newest(connection, "select max(received_at) from kobra.deliveries")
    return min(now, newest) if newest else now


def check_clock(connection: "DuckDBPyConnection") -> None:
    """Raise ClockError when the clock is more than a day ahead of the newest delivery and of the last run as well."""
    now = datetime.now(UTC)
    known = [
        _newest(connection, "select max(received_at) from kobra.deliveries"),
        _newest(connection, "select max(finished_at) from meta.runs") if meta.is_built(connection) else None,
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
        meta.outdate(connection)
        meta.note_loaded(connection, "temp.to_blank")


def remove_partitions(home: Path, since: date, taken: Container[rawstore.Key]) -> list[str]:
    """Remove the raw partitions of days before one, whole; those of which something is not loaded yet or still being
    written stay until it is. Answers with the days."""
    removed = list[str]()
    for partition in rawstore.partitions(home / "raw"):
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


def removed_days(home: Path) -> set[date]:
    """The days of the raw store that a policy removed: nobody misses them."""
    try:
        return set(map(date.fromisoformat, _removed(home).read_text().split()))
    except FileNotFoundError:
        return set()


def _note_removed(home: Path, day: date) -> None:
    days = removed_days(home) | {day}
    rawstore.put(_removed(home), "".join(f"{each}\n" for each in sorted(days)))


def _removed(home: Path) -> Path:
    return home / "erasure" / "removed_days"
