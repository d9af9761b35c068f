"""Follow-ups: the visits that were agreed, which of them are due, and which were late or missed."""

from collections.abc import Mapping
from typing import Any

import marimo as mo

from notebooks.figures import Figure
from notebooks.ratios import ratio
from notebooks.view import CHOSEN, View

FILTERS = ("days", "sources", "products", "agents")

_AHEAD_DAYS, _BACK_DAYS = 7, 30
_STANDS = f"""
    select count(*) filter (status = 'pending' and revisit_date <= $as_of) as revisits_due,
        count(*) filter (status = 'pending' and revisit_date > $as_of) as revisits_ahead
    from revisits where {CHOSEN}
"""
_PERIOD = f"""
    select count(*) filter (status in ('early', 'on_time', 'late', 'missed')) as revisits_settled,
        count(*) filter (status = 'on_time') as on_time, count(*) filter (status = 'late') as late,
        count(*) filter (status = 'missed') as missed,
        count(in_slot) as slot_known, count(*) filter (in_slot) as in_slot,
        {ratio("on_time", "revisits_settled")} as on_time_rate,
        {ratio("missed", "revisits_settled")} as missed_rate,
        {ratio("count(*) filter (in_slot)", "slot_known")} as in_slot_rate
    from revisits where {CHOSEN} and revisit_date between $since and $until
"""
_BEFORE = _PERIOD.replace("$since", "$before_since").replace("$until", "$before_until")
# Late ones were made in the end: they are not work any more, and shown when asked for.
_LIST = f"""
    select r.source, r.status, r.revisit_date, $as_of::date - r.revisit_date as days_overdue, r.account_id,
        v.client_name, coalesce(v.agent_name, r.agent_key) as agent, r.product_id, r.asked_on,
        concat_ws(' · ', left(r.slot1_start::varchar, 5) || '–' || left(r.slot1_end::varchar, 5),
            left(r.slot2_start::varchar, 5) || '–' || left(r.slot2_end::varchar, 5)) as slots,
        v.lat, v.lng, r.visit_id
    from (from revisits where {CHOSEN}) as r
    join visits as v using (source, visit_id)
    where list_contains($statuses::varchar[], r.status)
        and r.revisit_date between $as_of::date - {_BACK_DAYS} and $as_of::date + {_AHEAD_DAYS}
    order by r.revisit_date, r.account_id, r.visit_id
"""
_FIGURES = (
    Figure("revisits_settled"),
    Figure("on_time_rate", "rate", of=("on_time", "revisits_settled")),
    Figure("late"),
    Figure("missed"),
    Figure("missed_rate", "rate", of=("missed", "revisits_settled")),
    Figure("in_slot_rate", "rate", "revisits.in_slot", ("in_slot", "slot_known")),
)
LIST_COLUMNS = (
    Figure("status", "code"),
    Figure("revisit_date", "date"),
    Figure("days_overdue"),
    Figure("account_id", "text"),
    Figure("client_name", "text"),
    Figure("agent", "text"),
    Figure("slots", "text"),
    Figure("asked_on", "date"),
)
_ALSO_IN_THE_FILE = ("source", "product_id", "lat", "lng", "visit_id")


def controls(view: View, kept: Mapping[str, Any]) -> dict[str, Any]:
    words = view.words
    options = {words(status): status for status in ("pending", "missed", "late")}
    chosen = kept.get("statuses", ["pending", "missed"])
    return {"statuses": mo.ui.multiselect(options, [words(status) for status in chosen], label=words("status"))}


def show(view: View, chosen: Mapping[str, Any]) -> object:
    work = view.rows(_LIST, statuses=list(chosen["statuses"]))
    names = {column.name: view.words(column.name) for column in LIST_COLUMNS}
    names |= {name: view.words(name) for name in _ALSO_IN_THE_FILE}
    return mo.vstack([
        view.note("as_of", day=view.as_of),
        view.cards((Figure("revisits_due"), Figure("revisits_ahead")), view.row(_STANDS)),
        view.title("revisits_in_period"),
        view.cards(_FIGURES, view.row(_PERIOD), view.row(_BEFORE)),
        view.title("work_list"),
        view.note("work_list_note", back=_BACK_DAYS, ahead=_AHEAD_DAYS),
        view.download(names, work, "follow-ups"),
        view.table(LIST_COLUMNS, work, "work_list"),
    ])  # fmt: skip
