"""When somebody is met: local hour by weekday, with how sure one may be of it."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import marimo as mo

from notebooks.figures import Figure
from notebooks.ratios import low95, ratio
from notebooks.view import OF_PRODUCTS, OF_SOURCES, View, label_of

FILTERS = ("sources", "products")

_CELLS = f"""
    select iso_dow, local_hour, sum(visits)::bigint as visits, sum(contact_known)::bigint as contact_known,
        sum(contacts)::bigint as contacts, sum(rpcs)::bigint as rpcs,
        {ratio("sum(contacts)", "sum(contact_known)")} as contact_rate,
        {ratio("sum(rpcs)", "sum(contact_known)")} as rpc_rate,
        {low95("sum(contacts)", "sum(contact_known)")} as contact_rate_low95,
        {low95("sum(rpcs)", "sum(contact_known)")} as rpc_rate_low95,
        sum(contact_known) >= $enough as is_ranked
    from contact_hours where {OF_SOURCES} and {OF_PRODUCTS}
    group by iso_dow, local_hour order by iso_dow, local_hour
"""
_BEST = 10


def controls(view: View, kept: Mapping[str, Any]) -> dict[str, Any]:
    rates = {view.words(name): name for name in ("contact_rate", "rpc_rate")}
    return {"rate": mo.ui.dropdown(rates, label_of(rates, kept.get("rate")), label=view.words("figure"))}


def show(view: View, chosen: Mapping[str, Any]) -> object:
    rate = chosen["rate"]
    cells = view.rows(_CELLS, enough=view.enough)
    if not cells:
        return view.note("nothing_here")
    above = "contacts" if rate == "contact_rate" else "rpcs"
    columns = (
        Figure("weekday", "text"),
        Figure("hour", "text"),
        Figure("contact_known", defined="contact_hours.contact_known"),
        Figure(rate, "rate", f"contact_hours.{rate}", (above, "contact_known")),
        Figure(f"{rate}_low95", "rate", "contact_hours.contact_rate_low95" if rate == "contact_rate" else "",
               (above, "contact_known")),
    )  # fmt: skip
    ranked = sorted((cell for cell in cells if cell["is_ranked"]), key=lambda cell: -cell[f"{rate}_low95"])
    best = [
        {**cell, "weekday": view.words.weekday(cell["iso_dow"]), "hour": _clock(cell["local_hour"])}
        for cell in ranked[:_BEST]
    ]
    return mo.vstack([
        view.note("hours_note"),
        _heat_map(view, cells, rate),
        view.title("best_hours"),
        view.table(columns, best, "best_hours"),
    ])  # fmt: skip


def _clock(hour: int) -> str:
    return f"{hour:02}:00"


def _heat_map(view: View, cells: list[dict[str, Any]], rate: str) -> object:
    words = view.words
    above = "contacts" if rate == "contact_rate" else "rpcs"
    lows = [cell[f"{rate}_low95"] for cell in cells if cell["is_ranked"]]
    bright = min(lows, default=0) + (max(lows, default=0) - min(lows, default=0)) * 0.6
    points = [
        {
            "weekday": words.weekday(cell["iso_dow"]),
            "hour": _clock(cell["local_hour"]),
            "rate": cell[rate],
            "low": cell[f"{rate}_low95"],
            "above": cell[above],
            "below": cell["contact_known"],
            "ranked": cell["is_ranked"],
            "ink": ("#1d2430" if cell[f"{rate}_low95"] > bright else "white") if cell["is_ranked"] else "#8a93a1",
            "enough": words("yes") if cell["is_ranked"] else words("no"),
        }
        for cell in cells
    ]
    hours = [cell["local_hour"] for cell in cells]
    # Hours and days without visits have their place, too.
    day = [_clock(hour) for hour in range(min(hours), max(hours) + 1)]
    week = [words.weekday(number) for number in range(1, 8)]
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("hour:O", title=words("local_hour"), axis=alt.Axis(labelAngle=0, labelOverlap=True),
                scale=alt.Scale(domain=day)),
        y=alt.Y("weekday:O", title=None, sort=week, scale=alt.Scale(domain=week)),
    )  # fmt: skip
    squares = base.mark_rect(stroke="white").encode(
        color=alt.condition(
            "datum.ranked",
            alt.Color(
                "low:Q",
                title=words("at_least"),
                scale=alt.Scale(scheme="viridis", domain=[min(lows, default=0), max(lows, default=1)]),
                legend=alt.Legend(format=".0%"),
            ),
            alt.value("#e3e5e8"),
        ),
        tooltip=[
            alt.Tooltip("weekday:N", title=words("weekday")),
            alt.Tooltip("hour:N", title=words("hour")),
            alt.Tooltip("rate:Q", title=words(rate), format=".1%"),
            alt.Tooltip("low:Q", title=words("at_least"), format=".1%"),
            alt.Tooltip("above:Q", title=words(above), format=","),
            alt.Tooltip("below:Q", title=words("contact_known"), format=","),
            alt.Tooltip("enough:N", title=words("enough")),
        ],
    )
    numbers = base.mark_text(fontSize=11).encode(
        text=alt.Text("rate:Q", format=".0%"),
        color=alt.Color("ink:N", scale=None),
    )
    both = (squares + numbers).resolve_scale(color="independent")
    return view.chart(both, width="container", height=260)
