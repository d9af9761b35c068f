"""From loaded visits to the tables that people open: mappings, models, tests, wide tables."""

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from pipelines.build import comments, inputs, mappings, project, wide
from pipelines.build import dbt as models
from pipelines.privacy import retention
from pipelines.privacy.sweep import Erasure
from pipelines.warehouse import state as meta
from pipelines.warehouse.damage import DamagedError
from pipelines.warehouse.warehouse import Loaded, Warehouse

if TYPE_CHECKING:
    from pipelines.build.mappings import Mappings


log = logging.getLogger(__name__)


class Built(NamedTuple):
    """As of which day the marts speak, and until when that is today (seconds since 1970; 0: it was told)."""

    as_of: date
    holds_until: float


def run(
    warehouse: Warehouse,
    progress: Callable[[Loaded], None],
    as_of: date | None = None,
    *,
    full: bool = False,
    accept_loss: bool = False,
) -> Loaded:
    """Load what waits, build on it, publish. Hold the lock. When `build` raises, nothing is published.

    A working file that is damaged is made anew, if the raw store has all that is published. Raises
    LessThanBeforeError, and what `build` raises.
    """
    warehouse.check_rebuild(accept_loss=accept_loss)

    def once() -> Loaded:
        return warehouse.run(lambda loaded: build(warehouse, loaded, as_of, full=full).holds_until, progress)

    try:
        return once()
    except DamagedError as why:
        if why.path != warehouse.working:
            raise
        log.warning("%s", why)
    warehouse.set_aside()
    warehouse.check_rebuild(accept_loss=accept_loss)
    return once()


def build(warehouse: Warehouse, loaded: Loaded, as_of: date | None = None, *, full: bool = False) -> Built:
    """Build and test the models and the wide tables in the working file. Hold the lock.

    `as_of` is today in the default zone unless told. History is built afresh where `full` says so, where models or
    mappings are not those of the last build, and where visits came or went that nobody noted; else what changed
    visits touch. Raises UnfinishedError, MappingError, InputError, ChecksFailedError: then the next build starts from
    where this one did.
    """
    warehouse.check_load()
    started = datetime.now(UTC)
    known = mappings.read(warehouse.home / "mappings")
    built = _as_of(known, as_of)
    fingerprint = sha256(f"{known.fingerprint} {project.fingerprint()}".encode()).hexdigest()
    with warehouse.open() as connection:
        meta.prepare(connection, built.as_of)
        mappings.write(connection, known)
        inputs_now = inputs.fingerprint(warehouse.home / "inputs")
        is_edited = meta.inputs_as(connection) != inputs_now
        # What a build that was cut short put where, nothing tells once the next one was cut short, too.
        is_full = full or meta.is_cut_short(connection) or meta.built_as(connection) != fingerprint
        meta.begin(connection, is_full=is_full, is_edited=is_edited)
        if is_edited or is_full:
            inputs.write(connection, warehouse.home / "inputs")
            meta.note_inputs(connection, inputs_now)
        models.build(warehouse.home, full=is_full)
        touched = None if is_full else "staging.touched_visits"
        wide.build(connection, touched)
        comments.write(connection)
        meta.remember(connection, touched)
        is_astray = not is_full and not meta.remembers_all(connection)
        is_too_old = not is_astray and retention.finds(connection, retention.read(warehouse.home))
        if is_too_old:  # only now: which answers are text, the models know
            Erasure(warehouse.home).begin_rewrite()
            retention.blank(connection)
            meta.settle(connection, fingerprint)
        elif not is_astray:
            meta.record(connection, started, built.as_of, loaded, fingerprint, touched=touched)
    return build(warehouse, loaded, as_of, full=is_astray) if is_too_old or is_astray else built


def _as_of(known: "Mappings", told: date | None) -> Built:
    if told is not None:
        return Built(told, 0)
    zone = ZoneInfo(next(row.value for row in known.settings if row.key == "default_time_zone" and not row.source))
    today = datetime.now(zone).date()
    tomorrow = datetime.combine(today + timedelta(days=1), time(), zone)
    return Built(today, tomorrow.timestamp())
