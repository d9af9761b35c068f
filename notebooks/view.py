"""What a page is given: one published file, the reader's language, what was chosen to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import altair as alt
import marimo as mo

from notebooks import figures, sheets
from notebooks.figures import Figure, Row
from notebooks.published import Snapshot
from notebooks.words import Words

# Conditions for `where`; nothing chosen is everything.
OF_SOURCES = "(len($sources::varchar[]) = 0 or list_contains($sources::varchar[], source))"
OF_PRODUCTS = "(len($products::integer[]) = 0 or list_contains($products::integer[], coalesce(product_id, 0)))"
OF_AGENTS = (
    "(len($agents::varchar[]) = 0 or list_contains($agents::varchar[], concat(source, '/', coalesce(agent_key, ''))))"
)
_ENOUGH = f"select max(min_visits_heatmap) as enough from w.staging.stg_settings where {OF_SOURCES}"
CHOSEN = f"{OF_SOURCES} and {OF_PRODUCTS} and {OF_AGENTS}"


def label_of(options: Mapping[str, Any], value: object) -> str | None:
    """The label of a value among the options of a control; the first one where it is not among them."""
    return next((label for label, each in options.items() if each == value), next(iter(options), None))


@dataclass(frozen=True)
class View:
    """One look at one published file."""

    snapshot: Snapshot
    words: Words
    values: Mapping[str, object]  # since, until, before_since, before_until, sources, products, agents, as_of

    @property
    def as_of(self) -> date | None:
        return self.values["as_of"]  # type: ignore[return-value]

    @cached_property
    def enough(self) -> int:
        """From how many on a rate is compared with others: the strictest of the sources that are looked at."""
        return int(self.row(_ENOUGH)["enough"] or 0)

    def rows(self, query: str, **more: object) -> list[dict[str, Any]]:
        return self.snapshot.rows(query, {**self.values, **more})

    def row(self, query: str, **more: object) -> dict[str, Any]:
        return self.snapshot.row(query, {**self.values, **more})

    def cards(self, chosen: Sequence[Figure], row: Row, before: Row | None = None) -> mo.Html:
        return mo.Html(figures.cards(chosen, row, self.words, self.snapshot.definitions, before))

    def table(self, columns: Sequence[Figure], rows: Sequence[Row], name: str, **more: Any) -> mo.Html:
        """Of rows: `grey` names the column that sets one back, `most` how many are shown."""
        return mo.Html(figures.table(columns, rows, self.words, self.snapshot.definitions, name=name, **more))

    def title(self, name: str) -> mo.Html:
        return mo.Html(f"<h2>{figures.escape(self.words(name))}</h2>")

    def note(self, name: str, **more: object) -> mo.Html:
        return mo.Html(f'<p class="kobra-note">{figures.escape(self.words(name).format(**more))}</p>')

    def download(self, names: Mapping[str, str], rows: Sequence[Row], stem: str) -> mo.Html:
        """A button for a CSV of the rows, with the day as of which they hold in its name."""
        button = mo.download(
            sheets.csv_bytes(names, rows),
            filename=f"{stem}-{self.as_of}.csv",
            mimetype="text/csv",
            label=self.words("download"),
        )
        return mo.hstack([button], justify="start")

    def chart(self, drawn: alt.Chart | alt.LayerChart | alt.FacetChart, **size: Any) -> mo.Html:
        """A chart in the reader's language, without the menu that would open Vega's editor on the web."""
        drawn = drawn.properties(**size) if size else drawn
        drawn = drawn.configure(locale=self.words.locale).configure_view(strokeWidth=0)
        drawn.usermeta = {"embedOptions": {"actions": False}}
        return mo.as_html(drawn)
