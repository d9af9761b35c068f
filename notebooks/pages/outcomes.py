"""What came of the visits: contact, right party, promises, promises kept; by day or week, and by whom."""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any

import altair as alt
import marimo as mo

from notebooks.figures import Figure
from notebooks.ratios import ratio
from notebooks.view import CHOSEN, View, label_of

# One row per visit, and one per valid promise on the day on which it falls due.
FILTERS = ("days", "sources", "products", "agents")

_FACTS = f"""
    facts as (
        select source, product_id, agent_key, local_date as day,
            state = 'completed' as completed, state = 'cancelled' as cancelled, is_contact, is_rpc,
            state = 'completed' and promise_made is not null as promise_asked,
            is_contact and promise_made is not null as asked_in_contact,
            is_promise as promised, is_promise and is_contact as promised_in_contact,
            if(is_promise, promise_amount, null) as promised_amount,
            validation in ('validated', 'refuted') as was_concluded, validation = 'validated' as was_validated,
            null::boolean as was_kept, null::boolean as was_settled, false as is_undecided
        from visits
        union all by name
        select source, product_id, agent_key, promise_date as day,
            if(status = 'unknown', null, is_over and status = 'kept') as was_kept,
            if(status = 'unknown', null, is_over and status in ('kept', 'partial', 'broken')) as was_settled,
            status = 'open' or status = 'unknown' and window_end > payments_until as is_undecided
        from promises where promise_check = 'valid'
    ),
    chosen as (from facts where {CHOSEN})
"""
_MEASURES = f"""
    count(*) filter (completed) as visits_completed,
    count(*) filter (cancelled) as visits_cancelled,
    visits_completed + visits_cancelled as visits_ended,
    count(is_contact) as contact_known,
    count(*) filter (is_contact) as contacts,
    count(*) filter (is_rpc) as rpcs,
    -- Where no question about promises was answered, or none is mapped, there is nothing to count.
    if(count(*) filter (promise_asked) > 0, count(*) filter (promised), null) as promises,
    if(promises is null, null, count(*) filter (promised_in_contact)) as promises_in_contact,
    count(*) filter (asked_in_contact) as contacts_asked,
    if(promises = 0, 0, sum(promised_amount)) as promise_amount,
    count(*) filter (was_validated) as validated,
    count(*) filter (was_concluded) as concluded,
    if(count(was_settled) > 0, count(*) filter (was_kept), null) as over_kept,
    if(count(was_settled) > 0, count(*) filter (was_settled), null) as over_settled,
    count(*) filter (is_undecided) as undecided,
    {ratio("contacts", "contact_known")} as contact_rate,
    {ratio("rpcs", "contact_known")} as rpc_rate,
    {ratio("promises_in_contact", "contacts_asked")} as ptp_per_contact,
    {ratio("validated", "concluded")} as validated_rate,
    {ratio("visits_cancelled", "visits_ended")} as cancellation_rate,
    {ratio("over_kept", "over_settled")} as kept_rate
"""
_TOTAL = f"with {_FACTS} select {_MEASURES} from chosen where day between $since and $until"
_BEFORE = f"with {_FACTS} select {_MEASURES} from chosen where day between $before_since and $before_until"
_TREND = f"""
    with {_FACTS}
    select date_trunc($bucket, day)::date as day, {_MEASURES}
    from chosen where day between $since and $until group by 1 order by 1
"""
_LABELS = 14
_GROUPS = {
    "product": "coalesce(product_id, 0)",
    "agent": "concat(source, '/', coalesce(agent_key, ''))",
    "source": "source",
}

FIGURES = (
    Figure("visits_completed", defined="outcomes_daily.visits_completed"),
    Figure("contact_rate", "rate", "outcomes_daily.contact_rate", ("contacts", "contact_known")),
    Figure("rpc_rate", "rate", "outcomes_daily.rpc_rate", ("rpcs", "contact_known")),
    Figure("promises", defined="outcomes_daily.promises"),
    Figure("ptp_per_contact", "rate", "outcomes_daily.ptp_per_contact", ("promises_in_contact", "contacts_asked")),
    Figure("promise_amount", "money", "outcomes_daily.promise_amount"),
    Figure("kept_rate", "rate", "promise_cohorts.kept_rate", ("over_kept", "over_settled")),
    Figure("validated_rate", "rate", "outcomes_daily.validated_rate", ("validated", "concluded")),
    Figure("cancellation_rate", "rate", "outcomes_daily.cancellation_rate", ("visits_cancelled", "visits_ended")),
)
_COLOURS = {"contact_rate": "#4c78a8", "rpc_rate": "#f58518", "ptp_per_contact": "#e45756", "kept_rate": "#2e7d32"}
_RATES = [figure for figure in FIGURES if figure.name in _COLOURS]
# So that days stand below each other in both charts.
_WIDE = {"minExtent": 40, "maxExtent": 40}


def controls(view: View, kept: Mapping[str, Any]) -> dict[str, Any]:
    buckets = {view.words(name): name for name in ("day", "week")}
    groups = {view.words(name): name for name in _GROUPS}
    return {
        "bucket": mo.ui.radio(buckets, label_of(buckets, kept.get("bucket")), inline=True),
        "by": mo.ui.dropdown(groups, label_of(groups, kept.get("by")), label=view.words("by")),
    }


def show(view: View, chosen: Mapping[str, Any]) -> object:
    total, before = view.row(_TOTAL), view.row(_BEFORE)
    groups = _breakdown(view, chosen["by"])
    trend = view.rows(_TREND, bucket=chosen["bucket"])
    return mo.vstack([
        view.note(
            "against" if before["visits_ended"] else "nothing_before",
            since=view.values["before_since"], until=view.values["before_until"],
        ),
        view.cards(FIGURES, total, before),
        view.title("trend"),
        _trend(view, trend) if trend else view.note("nothing_here"),
        view.title("breakdown"),
        view.table(
            (Figure("group", "text"), *FIGURES), groups, f"by_{chosen['by']}", grey="too_few"
        ),
        *([view.note("grey_groups", enough=view.enough)] if any(group["too_few"] for group in groups) else []),
    ])  # fmt: skip


def _breakdown(view: View, by: str) -> list[dict[str, Any]]:
    rows = view.rows(f"""
        with {_FACTS},
        named as (select source as s, agent_key as k, agent_name from agents)
        select {_GROUPS[by]} as "group", any_value(named.agent_name) as agent_name, {_MEASURES},
            visits_completed < $enough as too_few
        from chosen left join named on named.s = source and named.k = agent_key
        where day between $since and $until
        group by 1 order by visits_completed desc, 1
    """, enough=view.enough)  # fmt: skip
    if by == "product":
        return [{**row, "group": view.words.product(row["group"])} for row in rows]
    return [{**row, "group": row["agent_name"] or row["group"]} if by == "agent" else row for row in rows]


def _is_comparable(view: View, row: Mapping[str, Any], figure: Figure) -> bool:
    """Enough to be no chance; of days whose promises are not all decided, those kept are known before the others."""
    below = row[figure.of[1]] if figure.of else None
    return (below or 0) >= max(1, view.enough) and not (figure.name == "kept_rate" and row["undecided"])


def _trend(view: View, rows: list[dict[str, Any]]) -> object:
    # A label under every day, or under every so many, and never two under one.
    every = -(-len(rows) // _LABELS)
    named = [int(datetime.combine(row["day"], time(), UTC).timestamp() * 1000) for row in rows[::every]]
    axis = alt.Axis(values=named, format="%d %b", labelOverlap=True, grid=False)
    day = alt.X("day:T", title=None, scale=alt.Scale(type="utc", padding=14), axis=axis)
    drawn = [figure for figure in _RATES if any(_is_comparable(view, row, figure) for row in rows)]
    lines = (
        [view.note("left_out", enough=view.enough), _lines(view, rows, drawn, day)]
        if drawn
        else [view.note("too_few_to_draw", enough=view.enough)]
    )
    return mo.vstack([*lines, view.note("visits_completed"), _bars(view, rows, day)])


def _lines(view: View, rows: list[dict[str, Any]], drawn: list[Figure], day: alt.X) -> object:
    words = view.words
    points = [
        {
            "day": row["day"].isoformat(),
            "figure": words(figure.name),
            "rate": row[figure.name] if _is_comparable(view, row, figure) else None,
            "above": row[figure.of[0]],
            "below": row[figure.of[1]],
        }
        for row in rows
        for figure in drawn
        if figure.of
    ]
    lines = (
        alt.Chart(alt.Data(values=points))
        .mark_line(point=alt.OverlayMarkDef(size=40, filled=True), strokeWidth=2)
        .encode(
            x=day,
            y=alt.Y("rate:Q", title=None, axis=alt.Axis(format=".0%", **_WIDE)),
            color=alt.Color(
                "figure:N", title=None, legend=alt.Legend(orient="top", columns=2, labelLimit=0),
                scale=alt.Scale(domain=[words(figure.name) for figure in drawn],
                                range=[_COLOURS[figure.name] for figure in drawn]),
            ),
            tooltip=[
                _told_day(view),
                alt.Tooltip("figure:N", title=words("figure")),
                alt.Tooltip("rate:Q", title=words("share"), format=".1%"),
                alt.Tooltip("above:Q", title=words("counted"), format=","),
                alt.Tooltip("below:Q", title=words("out_of"), format=","),
            ],
        )
    )  # fmt: skip
    return view.chart(lines, width="container", height=260)


def _bars(view: View, rows: list[dict[str, Any]], day: alt.X) -> object:
    visits = [{"day": row["day"].isoformat(), "visits": row["visits_completed"]} for row in rows]
    bars = (
        alt.Chart(alt.Data(values=visits))
        .mark_bar(color="#b8c4d6", size=max(2, min(18, 600 // len(rows))))
        .encode(
            x=day,
            y=alt.Y("visits:Q", title=None, axis=alt.Axis(tickCount=3, **_WIDE)),
            tooltip=[_told_day(view), alt.Tooltip("visits:Q", title=view.words("visits_completed"), format=",")],
        )
    )
    return view.chart(bars, width="container", height=110)


def _told_day(view: View) -> alt.Tooltip:
    return alt.Tooltip("day:T", title=view.words("day"), format="%Y-%m-%d", formatType="utc")
