"""What the commands do, step by step: load what landed, build on it, publish. Whoever calls this holds the lock."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.build import inputs, mappings
from pipelines.errors import FaultError, UsageError
from pipelines.load import load as loading
from pipelines.load import segments
from pipelines.load.load import Loaded, Progress
from pipelines.load.mirror import Mirror
from pipelines.load.segments import Ledger, Seen
from pipelines.operate import verify
from pipelines.privacy import forget as forgetting
from pipelines.privacy import retention, sweep
from pipelines.privacy.forget import Forgot, Persons
from pipelines.privacy.retention import Policy, Retained
from pipelines.privacy.sweep import Erasure
from pipelines.publish import export
from pipelines.publish import publish as publishing
from pipelines.publish.publish import UnfinishedError
from pipelines.publish.published import attached
from pipelines.stamps import stamps
from pipelines.warehouse import database, lock, owner, state
from pipelines.warehouse.damage import DamagedError, HeldError
from pipelines.warehouse.database import OldFormError
from pipelines.warehouse.home import DAMAGED, Home, wal
from pipelines.warehouse.lock import BusyError
from pipelines.warehouse.owner import OwnerError
from pipelines.warehouse.state import Brought, Run
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipelines.build.build import Built
    from pipelines.load.batches import Segment

log = logging.getLogger(__name__)


class LessThanBeforeError(UsageError):
    """A warehouse made anew would have less than the published one, as raw segments are gone."""


class UnfinishedErasureError(FaultError):
    """The raw store is done, the warehouse is not."""


def _silent(_: Loaded) -> None:
    pass


# ---------------------------------------------------------------- all of it


def run(
    home: Home,
    progress: Progress = _silent,
    as_of: date | None = None,
    *,
    full: bool = False,
    accept_loss: bool = False,
) -> Brought:
    """Load what waits, build on it, publish, and compress the raw segments of past days.

    When a model or a test fails, nothing is published. A working file that is damaged, or of an earlier release, is
    made anew, if the raw store has all that is published. Raises LessThanBeforeError, and what `build` raises.
    """
    check_rebuild(home, accept_loss=accept_loss)
    try:
        return _run(home, progress, as_of, full=full)
    except (DamagedError, OldFormError) as why:
        if isinstance(why, DamagedError) and why.path != home.working:
            raise
        log.warning("%s", why)
    _set_aside(home)
    check_rebuild(home, accept_loss=accept_loss)
    return _run(home, progress, as_of, full=full)


def _run(home: Home, progress: Progress, as_of: date | None, *, full: bool) -> Brought:
    before = stamps(_edited(home))
    _own(home)
    _warn_of_missing(home)
    with ExitStack() as turn:
        with database.working(home) as connection:
            seen, _ = _load(home, connection, progress)
            turn.enter_context(lock.alone(home))
            if home.lake:  # others have loaded meanwhile
                seen = _keep_out(home, connection)
            _push(home)
            built = _build(home, connection, as_of, full=full)
            taken = set(loading.taken(connection))
        _publish(home)
        for path in home.warehouse.glob(f"{DAMAGED}*"):
            path.unlink()
        rawstore.compress_before(home.raw, datetime.now(UTC).date(), lambda path: rawstore.key(path) in taken)
        _push(home)
        Erasure(home).note_swept()
    now = segments.look(home.raw)
    # Into a file this run has loaded all that it saw; of a lake, another load may have had a day, and died.
    is_all_taken = home.lake is None or all(rawstore.is_among(path, taken) for path in now.closed.values())
    if is_all_taken and now.closed.keys() == seen.closed.keys() and stamps(_edited(home)) == before:
        _ledger(home).write(now, built.holds_until)
    return built.run.brought


def is_current(home: Home) -> bool:
    """Whether all that landed is loaded and published already. Takes a few milliseconds, with an object store or a
    lake a question to each, and no lock. Raises UnreachableError, LakeError."""
    return (
        _ledger(home).holds(home.raw)
        and not publishing.wals(home)
        and (home.store is None or Mirror(home, home.store).is_current())
    )


def _ledger(home: Home) -> Ledger:
    warehouse = [str(home.lake.published())] if home.lake else stamps([home.working, home.published])
    return Ledger(home.warehouse / "taken.json", [warehouse, stamps([*_edited(home), *sweep.files(home)])])


def _edited(home: Home) -> list[Path]:
    """The files by which a customer changes what is built."""
    return [*(home.mappings / name for name in mappings.FILES), *inputs.files(home.inputs).values()]


# ---------------------------------------------------------------- its steps


def load(
    home: Home, progress: Progress = _silent, *, retry_rejects: bool = False, accept_loss: bool = False
) -> Loaded:
    """Load what waits into the working file; with `retry_rejects`, read the rejected deliveries again."""
    check_rebuild(home, accept_loss=accept_loss)
    with database.working(home) as connection:
        _, loaded = _load(home, connection, progress, retry_rejects=retry_rejects)
    _push(home)
    return loaded


def pull(home: Home) -> None:
    """Fetch what receivers shipped, where there is an object store. Hold the lock."""
    if home.store:
        Mirror(home, home.store).pull()


def build(home: Home, as_of: date | None = None, *, full: bool = False) -> Run:
    """Build and test the marts in the working file. Raises UnfinishedError, and what `build.build` raises."""
    _check_load(home)
    _own(home)
    with lock.alone(home), database.working(home) as connection:
        return _build(home, connection, as_of, full=full).run


def publish(home: Home) -> None:
    """Put a finished copy of the working file under its public name.

    Raises UnfinishedError when there is nothing to publish, or not yet.
    """
    _check_load(home)
    _own(home)
    with lock.alone(home):
        with database.working(home) as connection:
            if not state.is_built(connection) or state.is_outdated(connection):
                raise UnfinishedError("the marts do not hold what is loaded: run `kobra build` first")
            if retention.finds(connection, retention.read(home)):
                raise UnfinishedError("personal data has to be blanked first: run `kobra build`, which does it")
        _publish(home)


def _publish(home: Home) -> None:
    """Publish what was built. Where somebody was erased or blanked, no byte of it stays in a file."""
    if not (erasure := Erasure(home)).wants_rewrite:
        publishing.publish(home)
        _own(home)
        return
    with database.working(home) as connection:
        erasure.clean(connection)
    publishing.rewrite(home)
    publishing.publish(home)
    publishing.purge(home)
    if erasure.is_unfinished:
        _export_again(home)
    erasure.end()
    _own(home)


def _check_load(home: Home) -> None:
    """Raise UnfinishedError when the working file holds nothing, or but a part of what a load was to bring."""
    if not database.exists(home):
        raise UnfinishedError("nothing is loaded yet: run `kobra load` first")
    if loading.leftovers(home):
        raise UnfinishedError("a load was cut short: run `kobra load` first, it makes that good")


def _look(home: Home) -> Seen:
    pull(home)
    segments.tidy(home)
    return segments.look(home.raw)


def _push(home: Home) -> None:
    """Bring what was erased, put together or removed here to the object store, where there is one."""
    if home.store:
        Mirror(home, home.store).push(retention.removed_days(home), sweep.digest(home))


def _load(
    home: Home, connection: "DuckDBPyConnection", progress: Progress, *, retry_rejects: bool = False
) -> tuple[Seen, Loaded]:
    """Load what waits; answers also with what was there. What others load into a lake meanwhile is left to them."""
    seen = None
    if Erasure(home).marks or loading.leftovers(home):
        with lock.alone(home):
            loading.clean_up(home, connection)
            seen = _keep_out(home, connection)
            if home.lake:  # before others fetch what was erased
                _push(home)
    with lock.loading(home, alone=not loading.is_loaded(connection)) as is_mine:
        seen, again = seen or _look(home), Loaded()
        region_of = mappings.region_of(home.mappings)
        if retry_rejects:
            again = loading.reload_rejects(home, connection, seen, region_of)
        waiting = _waiting(connection, seen)
        if home.lake:
            waiting = _not_of_others(connection, waiting, is_mine)
        first = list(islice(waiting, 1))
        if not first and loading.is_loaded(connection):
            return seen, again
        return seen, again.plus(loading.load(home, connection, chain(first, waiting), region_of, progress))


def _keep_out(home: Home, connection: "DuckDBPyConnection") -> Seen:
    """Erase what came of erased persons, loaded or not. Answers with what is there."""
    seen = _look(home)
    Erasure(home).keep_out(connection, [path for _, path in _waiting(connection, seen)])
    return seen


def _waiting(connection: "DuckDBPyConnection", seen: Seen) -> Iterator["Segment"]:
    taken = loading.taken(connection)
    return ((segment, path) for segment, path in seen.closed.items() if not rawstore.is_among(path, taken))


def _not_of_others(
    connection: "DuckDBPyConnection", waiting: Iterator["Segment"], is_mine: Callable[[date], bool]
) -> Iterator["Segment"]:
    """Those of days that no other load has now, and that none has taken in the meantime."""

    def day(segment: "Segment") -> date:
        return rawstore.received_date(segment[1])

    for received_date, of_day in groupby(sorted(waiting, key=day), day):
        if is_mine(received_date):
            taken = loading.taken(connection)
            yield from (segment for segment in of_day if not rawstore.is_among(segment[1], taken))


def _build(home: Home, connection: "DuckDBPyConnection", as_of: date | None, *, full: bool = False) -> "Built":
    from pipelines.build.build import build  # noqa: PLC0415 - a run with nothing to do never gets here

    built = build(home, connection, as_of, full=full)
    if retention.finds(connection, retention.read(home)):  # only now: which answers are text, the models know
        Erasure(home).begin_rewrite()
        retention.blank(connection)
        build(home, connection, as_of)
    state.note_run(connection, built.run)
    return built


def _export_again(home: Home) -> None:
    """Write anew what `kobra export` wrote to its usual folder before somebody was forgotten."""
    try:
        export.export_again(partial(attached, home), home.exports)
    except export.ExportBusyError as why:
        raise BusyError(str(why)) from why


# ---------------------------------------------------------------- a working file that is made anew


def check_rebuild(home: Home, *, accept_loss: bool) -> None:
    """Raise LessThanBeforeError when there is no working file, and a new one would have less than is published.

    A published file that is damaged says nothing of that.
    """
    if accept_loss or database.exists(home):
        return
    pull(home)
    try:
        gone = verify.missing(home, with_removed=True)
    except DamagedError:
        log.warning("the published file is damaged: nobody can tell whether the raw store has all that it had")
        return
    if gone:
        told = "\n".join(f"  {each}" for each in gone)
        raise LessThanBeforeError(
            "the working file is to be made anew, and the raw store has less than what is published:\n"
            f"{told}\nput those days back from a backup, or say --accept-loss, and what people read has less"
        )


def _set_aside(home: Home) -> None:
    """Put a working file aside that is of no use: it goes once another one is published."""
    for path in (home.working, wal(home.working)):
        if path.exists():
            path.replace(path.with_name(path.name.replace(home.working.stem, DAMAGED)))


def _warn_of_missing(home: Home) -> None:
    try:
        gone = verify.missing(home)
    except (DamagedError, HeldError) as why:
        log.warning("%s", why)
        return
    for each in gone:
        log.warning("the raw store has less than was loaded: %s", each)


# ---------------------------------------------------------------- a lake from which persons were erased


def take_over(home: Home) -> None:
    """Have this home build a lake in the place of the one that keeps the marks, and finish an erasure that the other
    may have begun. Hold the lock. Raises OwnerError."""
    if home.lake is None:
        raise OwnerError("--take-over is for a lake, and KOBRA_WAREHOUSE names none")
    Erasure(home).begin()
    owner.claim(home, home.lake, len(Erasure(home).marks))


def _own(home: Home, *, erases: bool = False) -> None:
    """See that no other home keeps the marks of a lake; where there are any, or are to be, this home keeps them."""
    if home.lake is None:
        return
    marks = len(Erasure(home).marks)
    owner.check(home, home.lake, marks)
    if erases or marks or retention.read(home).pii_days is not None:
        owner.claim(home, home.lake, marks)


# ---------------------------------------------------------------- personal data


def forget(home: Home, persons: Persons, progress: Progress = _silent, *, rejects: bool = False) -> Forgot:
    """Erase persons everywhere, publish without them, and let nothing of them in again.

    `rejects`: erase also what nobody can read and has the bare id of an account in it.

    May be run again at any time, and does what is left to do. Raises UnfinishedErasureError when the marts cannot be
    built: then the raw store is done, and the next run that comes to its end does the rest.
    """
    _own(home, erases=True)
    with lock.alone(home):
        pull(home)
        forgot = forgetting.erase(home, persons, rejects=rejects)
        _push(home)
    if not (database.exists(home) or rawstore.partitions(home.raw)):
        Erasure(home).end()
        return forgot
    try:
        run(home, progress)
    except FaultError as why:
        raise UnfinishedErasureError(
            f"{why}\nThe raw store holds nothing of them any more; what is published still does. Mend this, and "
            "the next kobra run finishes the erasure."
        ) from why
    return forgot


def retain(home: Home, told: Policy, progress: Progress = _silent) -> Retained:
    """Keep no more than the policy says, and remember it: what it does not say stays as it was told before.

    Raises ContradictionError, ClockError. Partitions go last, when everything in them is loaded and published.
    """
    if database.exists(home):
        with database.working(home) as connection:
            retention.check_clock(connection)
    _own(home, erases=told.pii_days is not None)
    policy = retention.remember(home, told)
    if not database.exists(home) and not rawstore.partitions(home.raw):
        return Retained([], policy)
    Erasure(home).begin_rewrite()
    run(home, progress)
    if told.raw_days is None:
        return Retained([], policy)
    with database.working(home) as connection:
        since = retention.limit(told.raw_days, retention.reckoned_from(connection))
        taken = set(loading.taken(connection))
    removed = retention.remove_partitions(home, since, taken)
    _push(home)
    return Retained(removed, policy)
