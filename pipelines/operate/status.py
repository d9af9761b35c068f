"""Say how things stand on one screen: the receiver, what came, what waits, what was built, what is wrong."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.operate import disk, silence, verify
from pipelines.operate import receiver_health as health
from pipelines.operate.disk import Disk
from pipelines.publish.published import NothingPublishedError, attached, published_at
from pipelines.settings import Settings
from pipelines.terminal import shown
from pipelines.warehouse.damage import DamagedError, HeldError
from pipelines.warehouse.home import Home
from pipelines.warehouse.lake import LakeError
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_STALE_S = 3600  # what landed should not wait longer than this
_SHOWN = 5  # of many; --json has them all
_TITLE = 12  # columns


class Status(NamedTuple):
    """Figures by name, and in sentences what a person should look at."""

    figures: dict[str, Any]
    faults: list[str]

    def text(self) -> str:
        """One screen."""
        told = [f"{title:{_TITLE}}{line}" for title, line in _screen(self.figures)]
        return "\n".join([*told, *(f"! {fault}" for fault in self.faults)])


def look(home: Home, settings: Settings | None = None) -> Status:
    """How the receiver, the store and the published file stand. Opens neither lock nor working file."""
    settings = settings or Settings(home.path)
    now = datetime.now(UTC)
    closed, being_written = rawstore.closed(home.raw), rawstore.opened(home.raw)
    room = disk.look(home, settings)
    figures = _receiver(settings.receiver_url) | _store(home, room, closed, being_written) | {"published_at": None}
    try:
        figures |= {"published_at": _instant(published_at(home))}
        with attached(home) as connection:
            known = verify.published(connection)
            taken = {each.key for each in known}
            gone = verify.gone(home, known)
            figures |= {"segments_gone": sum(len(each.segments) for each in gone), "gone": list(map(str, gone))}
            waiting = [path for path in closed.values() if not rawstore.is_among(path, taken)] + being_written
            until = min(filter(None, map(rawstore.began, waiting)), default=now)
            figures |= _loaded(connection) | _built(connection) | _quiet(connection, until)
            figures |= {"complete_until": until.isoformat(" ", "seconds"), "behind_s": _seconds(now - until)}
    except NothingPublishedError:
        waiting = [*closed.values(), *being_written]
    except (DamagedError, HeldError, LakeError) as why:
        waiting = being_written  # what is loaded, nobody can tell
        figures |= {"damaged": str(why)}
    landed = [path for path in waiting if not path.name.endswith(rawstore.OPEN) or rawstore.is_orphan(path)]
    stats = list(_stats(landed))
    oldest = min((stat.st_mtime for stat in stats), default=None)
    figures |= {
        "segments_waiting": len(landed),
        "waiting_bytes": sum(stat.st_size for stat in stats),
        "waiting_since_s": None if oldest is None else round(now.timestamp() - oldest),
    }
    faults = list(_faults(figures, room))
    return Status(figures | {"faults": faults}, faults)


# ---------------------------------------------------------------- figures


def _receiver(url: str | None) -> dict[str, Any]:
    if url is None:
        return {"receiver": "not_asked", "receiver_url": None, "receiver_fault": None, "unshipped_segments": None}
    found = health.ask(url)
    return {
        "receiver": found.state,
        "receiver_url": url,
        "receiver_fault": found.detail,
        "unshipped_segments": found.waiting_segments,
        "shipping_fault": found.shipping_fault,
    }


def _store(home: Home, room: Disk, closed: dict[str, Path], being_written: list[Path]) -> dict[str, Any]:
    return {
        "segments_closed": len(closed),
        "segments_open": len(being_written),
        "raw_bytes": sum(stat.st_size for stat in _stats(closed.values())),
        "torn_files": len(list(home.raw.glob(f"*/*{rawstore.TORN}"))),
        "free_bytes": room.free,
        "free_floor_bytes": room.floor,
        "publish_bytes": room.copy,
        "set_aside_files": len(rawstore.set_aside_in(home.raw)),
        "last_run_fault": home.last_fault.read_text() if home.last_fault.exists() else None,
        "erasure_unfinished": (home.erasure / "unfinished").exists(),
    }


def _stats(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    for path in paths:
        with suppress(FileNotFoundError):  # closed or compressed since it was listed
            yield path.stat()


def _loaded(connection: "DuckDBPyConnection") -> dict[str, Any]:
    row = connection.execute("""
        select count(*), count(*) filter (outcome = 'new'), count(*) filter (outcome = 'duplicate'),
            count(*) filter (outcome = 'rejected'), max(received_at)::varchar,
            (select count(*) from w.kobra.visits), (select coalesce(sum(damaged), 0)::bigint from w.kobra.segments)
        from w.kobra.deliveries
    """).fetchone()
    assert row is not None
    names = ("deliveries", "new_versions", "duplicates", "rejected", "last_received_at", "visits", "damaged_records")
    reasons = connection.execute("select reason, count(*) from w.kobra.rejects group by all order by all").fetchall()
    return dict(zip(names, row, strict=True)) | {"rejected_by_reason": dict(reasons)}


def _quiet(connection: "DuckDBPyConnection", until: datetime) -> dict[str, Any]:
    found = [each._asdict() | {"is_unusual": each.is_unusual, "told": each.told()}
             for each in silence.silences(connection, until)]  # fmt: skip
    return {"silences": found}


def _built(connection: "DuckDBPyConnection") -> dict[str, Any]:
    """What the last run built, and what of it wants a person's eye. Nothing before the first build."""
    if connection.execute("select count(*) from duckdb_tables() where schema_name = 'marts'").fetchone() == (0,):
        return {}
    row = connection.execute("""
        select (select as_of::varchar from w.meta.build),
            (select max(finished_at)::varchar from w.meta.runs),
            (select arg_max(duration_s, finished_at) from w.meta.runs),
            (select count(*) from w.marts.reconciliation where not is_balanced)
    """).fetchone()
    assert row is not None
    refused = connection.execute(
        "select file || ' ' || reason, count(*) from w.inputs.rejects group by all order by all"
    ).fetchall()
    return dict(zip(("as_of", "last_run_at", "last_run_s", "unbalanced_days"), row, strict=True)) | {
        "unusable_input_rows": dict(refused),
        "payments_until": dict(connection.execute(_PAYMENTS_UNTIL).fetchall()),
        "unmapped_questions": _counts(connection, _UNMAPPED_QUESTIONS),
        "unmapped_labels": _counts(connection, _UNMAPPED_LABELS),
        "not_understood": _counts(connection, _NOT_UNDERSTOOD),
    }


# By source with promises the last day of which payments are known, or none. Nothing without payments.csv.
_PAYMENTS_UNTIL = """
    select source, max(payments_until)::varchar from w.marts.promises
    where (select is_present from w.inputs.files where name = 'payments')
    group by source order by source
"""
_UNMAPPED_QUESTIONS = """
    select coalesce(question_name, '') || coalesce(' / ' || answer_name, '') || ' (product ' ||
            coalesce(product_id::varchar, '?') || coalesce(', id ' || question_id, '') || ')',
        sum(answered)::bigint as times
    from w.marts.questions where matched_by = 'unmapped'
    group by 1 having times > 0 order by times desc, 1
"""
_UNMAPPED_LABELS = """
    select any_value(label) || ' (product ' || coalesce(product_id::varchar, '?') || ')', sum(visits)::bigint as times
    from w.marts.label_mix where outcome = 'unmapped' and label_key is not null
    group by product_id, label_key order by times desc, 1
"""

_NOT_UNDERSTOOD = """
    select "check", sum(failed)::bigint as times from w.marts.data_quality
    where starts_with("check", 'leftovers_') or starts_with("check", 'unread_') or "check" = 'unparsed_answers'
    group by all having times > 0 order by all
"""


def _counts(connection: "DuckDBPyConnection", query: str) -> dict[str, int]:
    return dict(connection.execute(query).fetchall())


# ---------------------------------------------------------------- judgement


def _faults(figures: dict[str, Any], room: Disk) -> Iterator[str]:
    yield from _receiver_faults(figures)
    if figures["segments_waiting"] and figures["published_at"] is None and not figures.get("damaged"):
        yield "nothing is published yet: run `kobra run`"
    if (figures["waiting_since_s"] or 0) > _STALE_S:
        yield "segments have been waiting for over an hour: is `kobra run` scheduled, and does it succeed?"
    if figures.get("shipping_fault"):
        yield f"the receiver stores, and cannot ship what is closed: {figures['shipping_fault']}"
    yield from _silence_faults(figures.get("silences", []))
    if figures.get("unbalanced_days"):
        yield "deliveries are not all accounted for: see marts.reconciliation where not is_balanced"
    if figures.get("damaged"):
        yield figures["damaged"]
    if figures["last_run_fault"]:
        yield f"the last run failed: {figures['last_run_fault']}"
    for each in figures.get("gone", ()):
        yield f"raw segments that were loaded are gone: {each}; put them back from a backup"
    if figures.get("damaged_records"):
        yield "records in the raw store are damaged: `kobra verify` names file and offset"
    if crashed := figures.get("rejected_by_reason", {}).get("crashed_reader"):
        yield (
            f"{crashed} deliveries ended the process that read them, and are rejected: see `kobra rejects`; once a "
            "new version is installed, `kobra load --retry-rejects` reads them"
        )
    if figures["erasure_unfinished"]:
        yield "a person is erased from the raw store and not yet from what people read: `kobra run` goes on with it"
    if room.is_full:
        yield "the disk is nearly full: the receiver refuses visits below its floor; make room"
    elif room.is_full_once_copied:
        yield "the disk has no room for publishing, which writes the warehouse once more: make room"


def _receiver_faults(figures: dict[str, Any]) -> Iterator[str]:
    url, fault = figures["receiver_url"], figures["receiver_fault"]
    match figures["receiver"]:
        case "no_answer":
            yield f"the receiver does not answer at {url}: visits sent now are lost; start it, and look at its log"
        case "no_receiver":
            yield f"what answers at {url} is no receiver: set KOBRA_RECEIVER_URL right"
        case "not_ready":
            yield f"the receiver lives and cannot store ({fault}): look at disk space, permissions and its log"


def _silence_faults(silences: list[dict[str, Any]]) -> Iterator[str]:
    for one in silences:
        if one["source"] is None and one["is_unusual"]:
            since = f"no delivery for {_span(one['seconds'])}"
            yield f"{since}, {one['told']}: ask Kobra, and try the address from outside"
            return
        if one["is_unusual"]:
            since = f"no delivery from {one['source']} for {_span(one['seconds'])}"
            yield f"{since}, {one['told']}: ask Kobra, try its key"


# ---------------------------------------------------------------- the screen


def _screen(figures: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Titles and lines; a line without a title belongs to the one above."""
    yield "receiver", _receiver_told(figures)
    if figures["unshipped_segments"] is not None:
        yield "", f"{figures['unshipped_segments']:,} closed segments wait to be shipped to the object store"
    if "deliveries" in figures:
        yield from _deliveries_told(figures)
    yield "waiting", _waiting_told(figures)
    if figures["published_at"] is None:
        yield "published", "nothing can be told of it" if figures.get("damaged") else "nothing yet"
    elif "complete_until" not in figures:
        yield "published", f"at {_at(figures['published_at'])}, and cannot be read"
    else:
        yield (
            "published",
            f"at {_at(figures['published_at'])}, complete up to {_at(figures['complete_until'])} "
            + (f"({_span(figures['behind_s'])} ago)" if figures["behind_s"] else "(now)"),
        )
    if figures.get("last_run_at"):
        yield "last run", f"{_at(figures['last_run_at'])}, {figures['last_run_s']:.0f} s, as of {figures['as_of']}"
        for name, what in (
            ("unmapped_questions", "questions that nothing maps"),
            ("unmapped_labels", "labels that nothing maps"),
            ("not_understood", "sent and not understood (marts.data_quality)"),
            ("unusable_input_rows", "rows of inputs that cannot be used"),
        ):
            yield "", f"{what}: {_listed(figures[name])}"
        if behind := _behind(figures):
            yield "", f"payments end before {figures['as_of']}: {_first(behind)}; what comes after is unknown"
    yield (
        "raw store",
        (
            f"{figures['segments_closed']:,} closed segments, {_size(figures['raw_bytes'])};"
            f" {figures['segments_open']} open, {figures['torn_files']} torn ends and"
            f" {figures['set_aside_files']} copies set aside"
        ),
    )
    floor = _size(figures["free_floor_bytes"])
    yield "disk", f"{_size(figures['free_bytes'])} free; the receiver refuses visits below {floor}"


def _receiver_told(figures: dict[str, Any]) -> str:
    url = figures["receiver_url"]
    return {
        "not_asked": "not asked: KOBRA_RECEIVER_URL is not set",
        "ready": f"ready at {url}",
        "not_ready": f"alive and NOT READY at {url}",
        "no_answer": f"NO ANSWER at {url}",
        "no_receiver": f"SOMEBODY ELSE at {url}",
    }[str(figures["receiver"])]


def _deliveries_told(figures: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        "deliveries",
        (
            f"{figures['deliveries']:,}: {figures['new_versions']:,} new versions of {figures['visits']:,} visits,"
            f" {figures['duplicates']:,} duplicates, {figures['rejected']:,} rejected"
        ),
    )
    if figures["rejected"]:
        yield "", f"rejected: {_listed(figures['rejected_by_reason'])}; see kobra rejects"
    if figures["damaged_records"]:
        yield "", f"{figures['damaged_records']:,} damaged records skipped"
    together, each = figures["silences"][:1], figures["silences"][1:]
    shown = each if len(each) <= _SHOWN else together + sorted(each, key=_by_share)[: _SHOWN - 1]
    for one in shown:
        yield "", f"last from {one['source'] or 'any source'} {_span(one['seconds'])} ago; {one['told']}"


def _by_share(one: dict[str, Any]) -> tuple[bool, float]:
    return one["share"] is None, one["share"] or 0.0


def _waiting_told(figures: dict[str, Any]) -> str:
    if not figures["segments_waiting"]:
        return "nothing that could be loaded"
    return (
        f"{figures['segments_waiting']:,} segments, {_size(figures['waiting_bytes'])},"
        f" the oldest for {_span(figures['waiting_since_s'])}"
    )


def _behind(figures: dict[str, Any]) -> list[str]:
    """The sources whose payments do not reach the day of the build, each with the last day known."""
    until = figures["payments_until"].items()
    return [f"{shown(source)} {day or 'none known'}" for source, day in until if not day or day < figures["as_of"]]


def _listed(counts: dict[str, int]) -> str:
    return _first([f"{shown(name)} {number:,}" for name, number in counts.items()]) or "none"


def _first(told: list[str]) -> str:
    more = len(told) - _SHOWN
    return ", ".join(told[:_SHOWN] + [f"and {more} more"] * (more > 0))


def _at(instant: str) -> str:
    return f"{instant[:19]} UTC"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _size(number: int) -> str:
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"


def _seconds(span: timedelta) -> int:
    return max(0, round(span.total_seconds()))


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(" ", "seconds")


# ---------------------------------------------------------------- rejects


def rejects(home: Home) -> list[dict[str, Any]]:
    """The rejected deliveries as of the last publish. Raises NothingPublishedError."""
    with attached(home) as connection:
        found = connection.execute("""
            select received_at::varchar as received_at, source, reason, detail, delivery_id, segment, line
            from w.kobra.rejects order by delivery_id
        """)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
