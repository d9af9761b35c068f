"""Agents: how much they do, what comes of it, how far they travel, what about their visits is odd."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import marimo as mo

from notebooks.figures import Figure
from notebooks.ratios import low95, ratio
from notebooks.view import OF_AGENTS, OF_SOURCES, View

FILTERS = ("days", "sources", "agents")

_FLAGS = (
    "gps_missing", "gps_emulator_default", "negative_duration", "too_short", "too_long", "clock_skew", "late_arrival",
    "time_zone_unknown", "start_in_gap", "out_of_hours", "third_party_contact", "overlaps_previous",
    "impossible_speed", "same_spot", "promise_without_contact", "out_of_place", "tag_conflict",
)  # fmt: skip
# Signs that a visit may not have been as it says; the other flags are about devices, or about the day.
_DOUBTS = (
    "gps_emulator_default", "negative_duration", "too_short", "overlaps_previous", "impossible_speed", "same_spot",
    "out_of_place", "tag_conflict", "promise_without_contact",
)  # fmt: skip
_AGENTS = f"""
    with settings as (select source, min_visits_heatmap from w.staging.stg_settings),
    worked as (
        select source, agent_key, count(*) as days, sum(visits)::bigint as visits,
            sum(productive_visits)::bigint as productive_visits, sum(travel_km) as travel_km,
            count(travel_km) as days_with_travel,
            sum(on_site_min) as on_site_min, sum(promise_amount) as known_amount
        from agent_days
        where {OF_SOURCES} and {OF_AGENTS} and local_date between $since and $until
        group by all
    ),
    met as (
        select source, agent_key, count(is_contact) as contact_known, count(*) filter (is_contact) as contacts,
            count(*) filter (is_rpc) as rpcs,
            -- Where no question about promises was answered, or none is mapped, there is nothing to count.
            if(count(promise_made) > 0, count(*) filter (is_promise), null) as promises
        from visits
        where {OF_SOURCES} and {OF_AGENTS} and state = 'completed' and local_date between $since and $until
        group by all
    ),
    flagged as (
        select source, agent_key, count(*) as tested, count(*) filter ({" or ".join(_DOUBTS)}) as doubtful
        from visit_quality
        where {OF_SOURCES} and {OF_AGENTS} and local_date between $since and $until
        group by all
    )
    select worked.*, if(promises = 0, 0, known_amount) as promise_amount,
        met.* exclude (source, agent_key), flagged.tested, flagged.doubtful,
        coalesce(agents.agent_name, worked.agent_key) as agent,
        {ratio("worked.visits", "worked.days")} as visits_per_day,
        {ratio("productive_visits", "worked.visits")} as productive_rate,
        {low95("productive_visits", "worked.visits")} as productive_low95,
        {ratio("contacts", "contact_known")} as contact_rate,
        {ratio("rpcs", "contact_known")} as rpc_rate,
        {ratio("on_site_min", "worked.visits")} as on_site_per_visit,
        {ratio("worked.travel_km", "days_with_travel")} as travel_per_day,
        {ratio("doubtful", "tested")} as doubtful_rate,
        worked.visits >= settings.min_visits_heatmap as is_ranked,
        not is_ranked as too_few
    from worked
    join met using (source, agent_key)
    join flagged using (source, agent_key)
    join settings using (source)
    left join agents using (source, agent_key)
    order by is_ranked desc, productive_low95 desc, worked.visits desc, agent
"""
# A flag is NULL where it cannot be tested.
_FOUND = f"""
    select {", ".join(f"count(*) filter ({flag}) as {flag}, count({flag}) as {flag}_tested" for flag in _FLAGS)}
    from visit_quality
    where {OF_SOURCES} and {OF_AGENTS} and local_date between $since and $until
"""

_COLUMNS = (
    Figure("rank", "text"),
    Figure("agent", "text"),
    Figure("visits", defined="agent_days.visits"),
    Figure("visits_per_day", "number", of=("visits", "days")),
    Figure("productive_rate", "rate", "agent_days.productive_visits", ("productive_visits", "visits")),
    Figure("productive_low95", "rate", of=("productive_visits", "visits")),
    Figure("contact_rate", "rate", "outcomes_daily.contact_rate", ("contacts", "contact_known")),
    Figure("rpc_rate", "rate", "outcomes_daily.rpc_rate", ("rpcs", "contact_known")),
    Figure("promises", defined="agent_days.promises"),
    Figure("promise_amount", "money", "agent_days.promise_amount"),
    Figure("on_site_per_visit", "number", "agent_days.on_site_min"),
    Figure("travel_per_day", "number", "agent_days.travel_km"),
    Figure("doubtful_rate", "rate", of=("doubtful", "tested")),
)


def controls(_view: View, _kept: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def show(view: View, _chosen: Mapping[str, Any]) -> object:
    rows = view.rows(_AGENTS)
    if not rows:
        return view.note("nothing_here")
    ranked = [{**row, "rank": str(number) if row["is_ranked"] else "–"} for number, row in enumerate(rows, 1)]
    found = view.row(_FOUND)
    flags = [
        {
            "check": view.words(flag),
            "failed": found[flag],
            "tested": found[f"{flag}_tested"],
            "failed_share": found[flag] / found[f"{flag}_tested"] if found[f"{flag}_tested"] else None,
        }
        for flag in _FLAGS
    ]
    columns = (
        Figure("check", "text"),
        Figure("failed", defined="data_quality.failed"),
        Figure("tested", defined="data_quality.tested"),
        Figure("failed_share", "rate", of=("failed", "tested")),
    )
    return mo.vstack([
        view.note("agents_note", enough=view.enough),
        _scatter(view, [row for row in rows if row["is_ranked"]]),
        view.title("ranking"),
        view.table(_COLUMNS, ranked, "agents", grey="too_few"),
        view.title("quality_flags"),
        view.table(columns, sorted(flags, key=lambda flag: -(flag["failed_share"] or 0)), "flags"),
    ])  # fmt: skip


def _scatter(view: View, rows: list[dict[str, Any]]) -> object:
    words = view.words
    names = ("agent", "visits", "visits_per_day", "productive_rate", "productive_low95", "doubtful_rate")
    points = [{name: row[name] for name in names} for row in rows]
    drawn = (
        alt.Chart(alt.Data(values=points))
        .mark_circle(opacity=0.85)
        .encode(
            x=alt.X("visits_per_day:Q", title=words("visits_per_day"), scale=alt.Scale(zero=False, nice=True)),
            y=alt.Y("productive_rate:Q", title=words("productive_rate"), axis=alt.Axis(format=".0%"),
                    scale=alt.Scale(zero=False, nice=True)),
            size=alt.Size("visits:Q", title=words("visits"), legend=alt.Legend(tickCount=3),
                          scale=alt.Scale(range=[40, 400])),
            color=alt.Color("doubtful_rate:Q", title=words("doubtful_rate"),
                            legend=alt.Legend(format=".1%", tickCount=4), scale=alt.Scale(scheme="orangered")),
            tooltip=[
                alt.Tooltip("agent:N", title=words("agent")),
                alt.Tooltip("visits:Q", title=words("visits"), format=","),
                alt.Tooltip("visits_per_day:Q", title=words("visits_per_day"), format=".1f"),
                alt.Tooltip("productive_rate:Q", title=words("productive_rate"), format=".1%"),
                alt.Tooltip("productive_low95:Q", title=words("productive_low95"), format=".1%"),
                alt.Tooltip("doubtful_rate:Q", title=words("doubtful_rate"), format=".1%"),
            ],
        )
    )  # fmt: skip
    return view.chart(drawn, width="container", height=280)
