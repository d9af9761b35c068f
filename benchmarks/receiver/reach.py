"""The ratios that the receiver has to reach, and the table that says whether it did.

A ratio is taken within a round and its median over the rounds: figures of different rounds are never divided.
"""

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from benchmarks.receiver.contest import Contest, Round
from benchmarks.receiver.contestants import (
    FLASK,
    FLASK_AS_IT_COMES,
    LIMIT,
    NOTHING_STORED,
    ONE_FILE,
    OURS,
    POSTGRES,
    REDIS,
    Contestant,
)
from benchmarks.receiver.traffic import Answered
from benchmarks.table import OK, SHORT

ONE_CONNECTION_OF_LIMIT, ABOVE_SYNC_MS = 0.6, 1.0
OF_NOTHING_STORED = 0.45
P99_OF_ONE_FILE = 0.25
TIMES = {ONE_FILE: 5.0, POSTGRES: 5.0, REDIS: 3.5, FLASK_AS_IT_COMES: 12.0}
IDLE_SHARE = 0.01
START_S = 1.0
OTHERS_SHARE = 0.1  # beyond it, no verdict is worth much


class Row(NamedTuple):
    """One line of the table; figures are medians, `seen` the lowest and highest requests/s of the rounds."""

    what: str
    connections: int | None
    requests_s: float | None
    seen: tuple[float, float] | None
    p50_ms: float | None
    p99_ms: float | None
    ratio: str
    target: str
    verdict: str


def rows(contest: Contest) -> list[Row]:
    """The whole table, ours first."""
    return [
        *_ours(contest),
        *_limit(contest),
        _nothing_stored(contest),
        *(_peer(contest, peer, times) for peer, times in TIMES.items()),
        _peer(contest, FLASK),
        _p99_of_one_file(contest),
        _floor(contest),
        _others(contest),
        *_standing(contest),
        _stored(contest),
    ]


def fell_short(table: list[Row]) -> list[Row]:
    """The rows whose target was not reached, our receiver's that could not be measured among them."""
    return [row for row in table if row.verdict.startswith(SHORT)]


def _ours(contest: Contest) -> list[Row]:
    if reason := contest.unavailable.get(OURS.name):
        return [_blank(OURS.name, "", f"{SHORT}: {reason}")]
    return [_row(contest, OURS, connections) for connections in OURS.connections]


def _limit(contest: Contest) -> list[Row]:
    if reason := contest.unavailable.get(LIMIT.name):
        return [_blank(LIMIT.name, "", f"skipped: {reason}")]
    table = []
    for connections in LIMIT.connections:
        share = _ratio(contest, _against(LIMIT, connections))
        table.append(_row(contest, LIMIT, connections, ratio=f"ours {_share(share)} of it"))
    share = _ratio(contest, _against(LIMIT, 1))
    above = _ratio(contest, lambda each: _of(each, OURS, 1).p50_ms - each[OURS.name].floor.p50_ms)
    if share is not None and above is not None:
        reached = share >= ONE_CONNECTION_OF_LIMIT or above <= ABOVE_SYNC_MS
        table[0] = table[0]._replace(
            ratio=f"{table[0].ratio}; p50 of ours is the disk's sync {above:+.2f} ms",
            target=f"≥ {ONE_CONNECTION_OF_LIMIT}, or p50 ≤ sync + {ABOVE_SYNC_MS:g} ms",
            verdict=OK if reached else SHORT,
        )
    return table


def _nothing_stored(contest: Contest) -> Row:
    share = _ratio(contest, _against(NOTHING_STORED, 32))
    return _row(
        contest,
        NOTHING_STORED,
        32,
        ratio=f"ours {_share(share)} of it",
        target=f"≥ {OF_NOTHING_STORED}",
        verdict=_at_least(share, OF_NOTHING_STORED),
    )


def _peer(contest: Contest, peer: Contestant, times: float | None = None) -> Row:
    share = _ratio(contest, _against(peer, 32))
    return _row(
        contest,
        peer,
        32,
        ratio=f"ours {_times(share)} it",
        target=f"≥ {times:g} ×" if times else "",
        verdict=_at_least(share, times) if times else "",
    )


def _p99_of_one_file(contest: Contest) -> Row:
    share = _ratio(contest, lambda each: _of(each, OURS, 32).p99_ms / _of(each, ONE_FILE, 32).p99_ms)
    verdict = "not measured" if share is None else OK if share <= P99_OF_ONE_FILE else SHORT
    ratio = f"ours {_share(share)} of it"
    return _blank("p99 of one file per webhook", f"≤ {P99_OF_ONE_FILE}", verdict)._replace(
        ratio=ratio, connections=32
    )


def _floor(contest: Contest) -> Row:
    floors = [turn.floor for each in contest.rounds for turn in each.values()]
    rates = [floor.appends_s for floor in floors]
    return Row(
        f"disk: append and fdatasync on {contest.filesystem}",
        None,
        median(rates),
        (min(rates), max(rates)),
        median(floor.p50_ms for floor in floors),
        median(floor.p99_ms for floor in floors),
        "",
        "",
        "",
    )


def _others(contest: Contest) -> Row:
    share = median(turn.others_share for each in contest.rounds for turn in each.values())
    verdict = OK if share <= OTHERS_SHARE else "noisy: measure again when the machine is idle"
    return _blank("other work on the cores", f"≤ {OTHERS_SHARE:.0%}", verdict)._replace(ratio=f"{share:.0%}")


def _standing(contest: Contest) -> list[Row]:
    if contest.ours is None:
        return []
    idle, start = contest.ours
    return [
        _blank("idle CPU", f"≤ {IDLE_SHARE:.0%} of a core", OK if idle <= IDLE_SHARE else SHORT)._replace(
            ratio=f"{idle:.2%} of a core"
        ),
        _blank("start: spawn to first 200", f"< {START_S:g} s", OK if start < START_S else SHORT)._replace(
            ratio=f"{start:.2f} s"
        ),
    ]


def _stored(contest: Contest) -> Row:
    """Every turn counts for itself: a surplus in one must not hide a loss in another."""
    turns = [each[OURS.name] for each in contest.rounds if OURS.name in each]
    acknowledged, stored = sum(turn.acknowledged for turn in turns), sum(turn.stored or 0 for turn in turns)
    errors = sum(answered.errors for turn in turns for answered in turn.answered.values())
    sound = errors == 0 and all(turn.stored == turn.acknowledged for turn in turns)
    verdict = "not measured" if not turns else OK if sound else SHORT
    return _blank("ours: acknowledged and landed", "equal, no errors", verdict)._replace(
        ratio=f"{acknowledged} and {stored}, {errors} errors"
    )


# ---------------------------------------------------------------- figures


def _of(each: Round, contestant: Contestant, connections: int) -> Answered:
    return each[contestant.name].answered[connections]


def _against(peer: Contestant, connections: int) -> Callable[[Round], float]:
    return lambda each: _of(each, OURS, connections).requests_s / _of(each, peer, connections).requests_s


def _ratio(contest: Contest, of: Callable[[Round], float]) -> float | None:
    """The median over the rounds in which both sides were measured."""
    ratios = []
    for each in contest.rounds:
        try:
            ratios.append(of(each))
        except KeyError:
            continue
    return median(ratios) if ratios else None


def _at_least(share: float | None, target: float) -> str:
    return "not measured" if share is None else OK if share >= target else SHORT


def _share(share: float | None) -> str:
    return "?" if share is None else f"{share:.2f}"


def _times(share: float | None) -> str:
    return "?" if share is None else f"{share:.2f} ×"


def _row(
    contest: Contest,
    contestant: Contestant,
    connections: int,
    *,
    ratio: str = "",
    target: str = "",
    verdict: str = "",
) -> Row:
    if reason := contest.unavailable.get(contestant.name):
        return _blank(contestant.name, target, f"skipped: {reason}")
    seen = [_of(each, contestant, connections) for each in contest.rounds if contestant.name in each]
    errors = sum(each.errors for each in seen)
    rates = [each.requests_s for each in seen]
    return Row(
        contestant.name,
        connections,
        median(rates),
        (min(rates), max(rates)),
        median(each.p50_ms for each in seen),
        median(each.p99_ms for each in seen),
        f"{ratio} ({errors} errors)".strip() if errors else ratio,
        target,
        verdict,
    )


def _blank(what: str, target: str, verdict: str) -> Row:
    return Row(what, None, None, None, None, None, "", target, verdict)


# ---------------------------------------------------------------- Markdown


def markdown(table: list[Row]) -> str:
    """The rows as a Markdown table, readable as plain text too."""
    head = ("what", "connections", "requests/s", "seen", "p50 ms", "p99 ms", "ratio", "target", "")
    lines = [head, *map(_cells, table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)] + [len(SHORT)]
    padded = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        str(row.connections or ""),
        _thousands(row.requests_s),
        "" if row.seen is None else " – ".join(map(_thousands, row.seen)),
        _millis(row.p50_ms),
        _millis(row.p99_ms),
        row.ratio,
        row.target,
        row.verdict,
    )


def _thousands(figure: float | None) -> str:
    return "" if figure is None else f"{figure:,.0f}".replace(",", " ")


def _millis(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.2f}"
