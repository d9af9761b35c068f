"""How unusual a silence is: compared with the same weekday and hour of past weeks, source by source.

Kobra documents no retry and no heartbeat. That visits stop coming is seen here, or by nobody.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_WEEKS = 8
_ENOUGH_WEEKS = 4
_UNUSUAL = 0.01  # of the time
_SHORT_S = 15 * 60  # nobody is called for less
_LONG_S = 7 * 86_400  # by then everybody knows

# Once for every source and once for all together (NULL). In the hour round the same moment of a past week, it was
# as quiet from the moment on when a gap between two deliveries had lasted that long until the second of them.
_SILENCES = f"""
    with heard as (
        select source, received_at from w.kobra.deliveries where received_at <= $until
        union all
        select null, received_at from w.kobra.deliveries where received_at <= $until
    ),
    last as (
        select source, min(received_at) as first_at, max(received_at) as last_at, $until - last_at as silence
        from heard group by source
    ),
    weeks as (
        select last.*, $until - to_days(7 * week::integer) as moment,
            moment - interval 30 minute as opens, moment + interval 30 minute as closes
        from last, range(1, {_WEEKS + 1}) as weeks(week)
        where moment <= last_at and opens - silence >= first_at
    ),
    around as (
        select weeks.source, moment, opens, closes, silence,
            list(received_at) filter (received_at between opens and closes) as within,
            max(received_at) filter (received_at < opens) as before,
            min(received_at) filter (received_at > closes) as after
        from weeks join heard on heard.source is not distinct from weeks.source
        group by all
    ),
    gaps as (
        select *, lead(begins) over (partition by source, moment order by begins) as ends
        from (select * exclude (within), unnest(list_concat([before], within, [after])) as begins from around)
        where begins is not null
    ),
    quiet as (
        select source, moment,
            sum(greatest(0, epoch(least(ends, closes)) - epoch(greatest(begins + silence, opens)))) as seconds
        from gaps where ends - begins > silence group by all
    ),
    counted as (
        select weeks.source, count(*) as weeks, sum(coalesce(quiet.seconds, 0)) / (3600 * count(*)) as share
        from weeks left join quiet on quiet.moment = weeks.moment and quiet.source is not distinct from weeks.source
        group by weeks.source
    )
    select last.source, last_at::varchar, epoch(silence), coalesce(weeks, 0), share
    from last left join counted on counted.source is not distinct from last.source
    order by last.source nulls first
"""


class Silence(NamedTuple):
    """Since when a source (None: all together) is silent, for how long, in how many past weeks that can be compared,
    and in which share of this hour and weekday it was as quiet. None: there is not enough history."""

    source: str | None
    last_at: str
    seconds: float
    weeks: int
    share: float | None

    @property
    def is_unusual(self) -> bool:
        """Whether somebody should look."""
        return self.share is not None and self.share < _UNUSUAL and _SHORT_S <= self.seconds <= _LONG_S

    def told(self) -> str:
        """In words, how usual this is."""
        if self.share is None:
            return "not enough history to say whether that is usual"
        share = "none" if not self.share else "hardly any" if self.share < _UNUSUAL else f"{self.share:.0%}"
        return f"in the past {self.weeks} weeks {share} of this weekday's hour was as quiet for as long"


def silences(connection: "DuckDBPyConnection", until: datetime) -> Iterator[Silence]:
    """The silence of all sources together, then of each, up to the moment until which everything is loaded."""
    for source, last_at, seconds, weeks, share in connection.execute(_SILENCES, {"until": until}).fetchall():
        yield Silence(source, last_at, seconds, weeks, share if weeks >= _ENOUGH_WEEKS else None)
