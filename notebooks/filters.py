"""What a reader may choose: the days, and whose visits of which product."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import marimo as mo

from notebooks.published import Snapshot
from notebooks.words import Words

_DAYS = 14  # shown at first


def controls(snapshot: Snapshot, words: Words, kept: dict[str, Any]) -> mo.ui.dictionary:
    """The filters for this file. `kept` remembers what was chosen, also when a new file is published."""
    days = snapshot.row("""
        select min(local_date) as first, max(local_date) as last,
            max(local_date) filter (local_date <= (select as_of from w.meta.build)) as latest
        from visits
    """)
    first, last = days["first"] or date.today(), days["last"] or date.today()
    until = min(max(days["latest"] or last, first), last)
    # A reader who never chose days follows the newest ones.
    since, until = kept.get("days") or (max(first, until - timedelta(_DAYS - 1)), until)
    offered: dict[str, Any] = {
        "days": mo.ui.date_range(
            start=min(first, since),
            stop=max(last, until),
            value=(since, until),
            label=words("days"),
            on_change=_remember(kept, "days"),
        )
    }
    for name, options in (
        ("sources", _sources(snapshot)),
        ("products", _products(snapshot, words)),
        ("agents", _agents(snapshot)),
    ):
        chosen = [label for label, value in options.items() if value in kept.get(name, [])]
        offered[name] = mo.ui.multiselect(
            options=options, value=chosen, label=words(name), on_change=_remember(kept, name)
        )
    return mo.ui.dictionary(offered)


def values(chosen: Mapping[str, Any], as_of: date | None) -> dict[str, object]:
    """What the queries are asked with. The period before is as long, and ends the day before."""
    since, until = chosen["days"]
    length = until - since + timedelta(1)
    return {
        "since": since,
        "until": until,
        "before_since": since - length,
        "before_until": until - length,
        "as_of": as_of,
        **{name: list(chosen[name]) for name in ("sources", "products", "agents")},
    }


def _remember(kept: dict[str, Any], name: str) -> Callable[[Any], None]:
    return lambda value: kept.__setitem__(name, value)


def _sources(snapshot: Snapshot) -> dict[str, str]:
    return {row["source"]: row["source"] for row in snapshot.rows("select distinct source from visits order by 1")}


def _products(snapshot: Snapshot, words: Words) -> dict[str, int]:
    found = snapshot.rows("select distinct coalesce(product_id, 0) as product_id from visits order by 1")
    return {words.product(row["product_id"]): row["product_id"] for row in found}


def _agents(snapshot: Snapshot) -> dict[str, str]:
    """By name; the key tells those of one name apart."""
    found = snapshot.rows("""
        select concat(source, '/', agent_key) as key,
            concat(
                coalesce(agent_name, agent_key),
                if(count(*) over same_name > 1, concat(' (', source, '/', agent_key, ')'), '')
            ) as label
        from agents where agent_key is not null
        window same_name as (partition by coalesce(agent_name, agent_key))
        order by label
    """)
    return {row["label"]: row["key"] for row in found}
