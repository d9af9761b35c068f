"""Promises to pay: what falls due, what was kept, and how much of it was paid."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import marimo as mo

from notebooks.figures import Figure
from notebooks.ratios import ratio
from notebooks.view import CHOSEN, OF_SOURCES, View

FILTERS = ("days", "sources", "products", "agents")

_STATUSES = ("kept", "partial", "broken", "replaced", "open", "unknown")
_WAITING = "promise_check = 'valid' and status in ('open', 'unknown')"
_DUE = f"""
    select count(*) filter (promise_date = $as_of) as due_today,
        if(due_today = 0, 0, sum(promise_amount) filter (promise_date = $as_of)) as due_today_amount,
        count(*) filter (date_trunc('week', promise_date) = date_trunc('week', $as_of::date)) as due_this_week,
        if(due_this_week = 0, 0, sum(promise_amount) filter (
            date_trunc('week', promise_date) = date_trunc('week', $as_of::date)
        )) as due_this_week_amount,
        count(*) filter (promise_date < $as_of and deadline >= $as_of) as in_grace
    from promises where {CHOSEN} and {_WAITING}
"""
# Up to which day the payments of a source are known.
_REACH = f"select source, max(payments_until) as day from promises where {OF_SOURCES} group by 1 order by 1"
_IS_SETTLED = "is_over and status in ('kept', 'partial', 'broken')"
# What became of valid promises that fell due; NULL where no payments say so. Rates are as in promise_cohorts.
_SETTLED = f"""
    count(*) as due,
    if(bool_or(status <> 'unknown'), count(*) filter (status = 'kept'), null) as kept,
    if(bool_or(status <> 'unknown'), count(*) filter (status = 'partial'), null) as partial,
    if(bool_or(status <> 'unknown'), count(*) filter (status = 'broken'), null) as broken,
    if(bool_or(status <> 'unknown'), count(*) filter (status = 'open'), null) as open,
    if(bool_or(status <> 'unknown'), count(*) filter (status = 'replaced'), null) as replaced,
    count(*) filter (status = 'unknown') as unknown,
    if(kept is null, null, count(*) filter ({_IS_SETTLED} and status = 'kept')) as over_kept,
    if(kept is null, null, count(*) filter ({_IS_SETTLED})) as over_settled,
    if(due = 0, 0, sum(promise_amount)) as promised_amount,
    sum(promise_amount) filter ({_IS_SETTLED}) as settled_promised_amount,
    sum(greatest(0, least(paid_amount, promise_amount))) filter ({_IS_SETTLED} and promise_amount is not null)
        as settled_paid_capped_amount,
    {ratio("over_kept", "over_settled")} as kept_rate,
    {ratio("settled_paid_capped_amount", "settled_promised_amount")} as amount_kept_rate
"""
_PERIOD = f"""
    select {_SETTLED} from promises
    where {CHOSEN} and promise_check = 'valid' and promise_date between $since and $until
"""
_BEFORE = _PERIOD.replace("$since", "$before_since").replace("$until", "$before_until")
_COHORTS = f"""
    select strftime(promise_date, '%Y-%m') as due_month, {_SETTLED},
        bool_or(status = 'open' or status = 'unknown' and window_end > payments_until) as is_unsettled
    from promises where {CHOSEN} and promise_check = 'valid' group by 1 order by 1 desc
"""
_LIST = f"""
    select promises.source, promises.account_id, v.client_name, coalesce(v.agent_name, promises.agent_key) as agent,
        promises.made_date, promises.promise_date, promises.deadline, promises.promise_amount,
        promises.payment_method_code, promises.status
    from (from promises where {CHOSEN} and {_WAITING}) as promises
    join visits as v using (source, visit_id)
    where date_trunc('week', promises.promise_date) = date_trunc('week', $as_of::date)
        or promises.promise_date < $as_of and promises.deadline >= $as_of
    order by promises.promise_date, promises.promise_amount desc nulls last, promises.account_id
"""

_DUE_FIGURES = (
    Figure("due_today"),
    Figure("due_today_amount", "money"),
    Figure("due_this_week"),
    Figure("due_this_week_amount", "money"),
    Figure("in_grace"),
)
_FIGURES = (
    Figure("due", defined="promise_cohorts.due"),
    Figure("kept_rate", "rate", "promise_cohorts.kept_rate", ("over_kept", "over_settled")),
    Figure(
        "amount_kept_rate", "rate", "promise_cohorts.amount_kept_rate",
        ("settled_paid_capped_amount", "settled_promised_amount"),
    ),
    Figure("open", defined="promise_cohorts.open"),
    Figure("promised_amount", "money", "promise_cohorts.promised_amount"),
)  # fmt: skip
_COHORT_COLUMNS = (
    Figure("due_month", "text"),
    Figure("due", defined="promise_cohorts.due"),
    *(Figure(status, defined=f"promise_cohorts.{status}") for status in _STATUSES),
    *(figure for figure in _FIGURES if figure.name not in {"due", "open"}),
)
LIST_COLUMNS = (
    Figure("account_id", "text"),
    Figure("client_name", "text"),
    Figure("agent", "text"),
    Figure("made_date", "date"),
    Figure("promise_date", "date"),
    Figure("deadline", "date"),
    Figure("promise_amount", "money", "promises.promise_amount"),
    Figure("payment_method_code", "code"),
    Figure("status", "code"),
)


def controls(_view: View, _kept: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def show(view: View, _chosen: Mapping[str, Any]) -> object:
    waiting, cohorts, reach = view.rows(_LIST), view.rows(_COHORTS), _reach(view)
    names = {"source": view.words("source"), **{column.name: view.words(column.name) for column in LIST_COLUMNS}}
    return mo.vstack([
        view.note("as_of", day=view.as_of),
        *([view.note("payments_until", reach=reach)] if reach else []),
        view.cards(_DUE_FIGURES, view.row(_DUE)),
        view.title("due_in_period"),
        view.cards(_FIGURES, view.row(_PERIOD), view.row(_BEFORE)),
        view.title("cohorts"),
        _bars(view, cohorts),
        view.table(_COHORT_COLUMNS, cohorts, "cohorts", grey="is_unsettled"),
        *([view.note("grey_months")] if any(cohort["is_unsettled"] for cohort in cohorts) else []),
        view.title("waiting_promises"),
        view.download(names, waiting, "promises"),
        view.table(LIST_COLUMNS, waiting, "waiting_promises"),
    ])  # fmt: skip


def _reach(view: View) -> str:
    """The sources whose payments end before the day of the build, with the last day known; none without any."""
    until = view.rows(_REACH)
    short = [row for row in until if row["day"] is None or row["day"] < view.as_of]
    if all(row["day"] is None for row in until):
        return ""
    return ", ".join(f"{row['source']} {row['day'] or view.words('no_day')}" for row in short)


def _bars(view: View, cohorts: list[dict[str, Any]]) -> object:
    words = view.words
    points = [
        {"month": cohort["due_month"], "status": words(status), "order": order, "promises": cohort[status]}
        for cohort in cohorts
        for order, status in enumerate(_STATUSES)
        if cohort[status] is not None
    ]
    if all(cohort["kept"] is None for cohort in cohorts):
        return view.note("no_payments")
    drawn = (
        alt.Chart(alt.Data(values=points))
        .mark_bar()
        .encode(
            y=alt.Y("month:O", title=None, sort="descending"),
            x=alt.X("promises:Q", title=words("promises")),
            order="order:Q",
            color=alt.Color(
                "status:N", title=None,
                scale=alt.Scale(
                    domain=[words(status) for status in _STATUSES],
                    range=["#2e7d32", "#f9a825", "#c62828", "#90a4ae", "#1e88e5", "#e0e0e0"],
                ),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=[
                alt.Tooltip("month:N", title=words("due_month")),
                alt.Tooltip("status:N", title=words("status")),
                alt.Tooltip("promises:Q", title=words("promises"), format=","),
            ],
        )
    )  # fmt: skip
    return view.chart(drawn, width="container", height=alt.Step(26))
