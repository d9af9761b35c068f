"""The visits of a day as routes, drawn from coordinates alone: kilometres from the middle of the agent's day."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import marimo as mo

from notebooks.figures import Figure
from notebooks.view import CHOSEN, View, label_of

FILTERS = ("days", "sources", "products", "agents")

_FAR_KM, _PANELS = 60, 12
_DAYS = f"""
    select local_date as day, count(*) as visits from visits
    where {CHOSEN} and state = 'completed' and local_date between $since and $until
    group by 1 order by 1 desc
"""
# One degree of latitude is 111.195 km on a sphere of the Earth's mean radius.
_POINTS = f"""
    with chosen as (
        select source, agent_key, coalesce(agent_name, agent_key) as agent, visit_id, account_id, start_at,
            start_local, outcome, is_contact, lat, lng,
            median(lat) over day as mid_lat, median(lng) over day as mid_lng,
            count(*) over day as visits
        from visits
        where {CHOSEN} and state = 'completed' and local_date = $day and agent_key is not null
        window day as (partition by source, agent_key)
    )
    select chosen.*, (lng - mid_lng) * 111.195 * cos(radians(mid_lat)) as east_km,
        (lat - mid_lat) * 111.195 as north_km,
        greatest(abs(east_km), abs(north_km)) > {_FAR_KM} as is_far,
        row_number() over (partition by chosen.source, chosen.agent_key order by start_at, visit_id) as stop,
        legs.travel_m / 1000 as leg_km, legs.travel_min, legs.speed_kmh,
        quality.gps_missing, quality.gps_emulator_default, quality.impossible_speed, quality.same_spot,
        quality.out_of_place
    from chosen
    join visit_quality as quality using (source, visit_id)
    left join legs using (source, visit_id)
    order by visits desc, agent, stop
"""
_REASONS = ("gps_missing", "gps_emulator_default", "impossible_speed", "same_spot", "out_of_place", "is_far")


def controls(view: View, kept: Mapping[str, Any]) -> dict[str, Any]:
    days = {f"{row['day']} ({row['visits']:,})": row["day"] for row in view.rows(_DAYS)}
    return {"day": mo.ui.dropdown(days, label_of(days, kept.get("day")), label=view.words("day"))}


def show(view: View, chosen: Mapping[str, Any]) -> object:
    if chosen["day"] is None:
        return view.note("nothing_here")
    points = view.rows(_POINTS, day=chosen["day"])
    odd = [
        {**point, "time": f"{point['start_local']:%H:%M}" if point["start_local"] else None,
         "reason": ", ".join(view.words(reason) for reason in _REASONS if point[reason])}
        for point in points
        if any(point[reason] for reason in _REASONS)
    ]  # fmt: skip
    drawable = [point for point in points if point["east_km"] is not None and not point["is_far"]]
    agents = list(dict.fromkeys(point["agent"] for point in drawable))
    columns = (
        Figure("agent", "text"),
        Figure("time", "text"),
        Figure("account_id", "text"),
        Figure("reason", "text"),
        Figure("leg_km", "number", "legs.travel_m"),
        Figure("travel_min", "number", "legs.travel_min"),
        Figure("speed_kmh", "number", "legs.speed_kmh"),
    )
    return mo.vstack([
        view.note("map_note", shown=min(_PANELS, len(agents)), all=len(agents), far=_FAR_KM),
        _panels(view, drawable, agents[:_PANELS]) if drawable else view.note("nothing_here"),
        view.title("outliers"),
        view.table(columns, odd, "outliers"),
    ])  # fmt: skip


def _panels(view: View, points: list[dict[str, Any]], agents: list[str]) -> object:
    words = view.words
    names = ("agent", "stop", "account_id", "east_km", "north_km", "leg_km", "travel_min")
    drawn_points = [
        {name: point[name] for name in names}
        | {
            "time": f"{point['start_local']:%H:%M}",
            "met": words({True: "contact", False: "no_contact", None: "unknown"}[point["is_contact"]]),
            "result": words.of_code(point["outcome"]),
        }
        for point in points
        if point["agent"] in agents
    ]
    panels = [
        _panel(
            view, agent, [point for point in drawn_points if point["agent"] == agent], 220 if len(agents) > 1 else 560
        )
        for agent in agents
    ]
    return view.chart(alt.concat(*panels, columns=4))


def _panel(view: View, agent: str, points: list[dict[str, Any]], side: int) -> alt.LayerChart:
    """A square as wide as the agent went: one kilometre is as long east as north."""
    words = view.words
    reach = max(0.5, *(max(abs(point["east_km"]), abs(point["north_km"])) for point in points)) * 1.1
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    axis = alt.Axis(tickCount=5)
    base = alt.Chart().encode(
        x=alt.X("east_km:Q", scale=scale, axis=axis, title=words("east_km")),
        y=alt.Y("north_km:Q", scale=scale, axis=axis, title=words("north_km")),
    )
    way = base.mark_line(color="#9db2cf", strokeWidth=1.2).encode(order="stop:Q")
    stops = base.mark_circle(size=side / 4, opacity=0.9).encode(
        color=alt.Color(
            "met:N", title=None, legend=alt.Legend(orient="top"),
            scale=alt.Scale(
                domain=[words(name) for name in ("contact", "no_contact", "unknown")],
                range=["#2e7d32", "#c62828", "#9aa0a8"],
            ),
        ),
        tooltip=[
            alt.Tooltip("agent:N", title=words("agent")),
            alt.Tooltip("stop:Q", title=words("stop")),
            alt.Tooltip("time:N", title=words("time")),
            alt.Tooltip("account_id:N", title=words("account_id")),
            alt.Tooltip("result:N", title=words("outcome")),
            alt.Tooltip("leg_km:Q", title=words("leg_km"), format=".1f"),
            alt.Tooltip("travel_min:Q", title=words("travel_min"), format=".0f"),
        ],
    )  # fmt: skip
    drawn = alt.layer(way, stops, data=alt.Data(values=points))
    return drawn.properties(width=side, height=side, title=alt.Title(agent, fontSize=11, fontWeight="normal"))
