"""Numbers for people: cards and tables in which every number says what it means and what it was counted over."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date
from decimal import Decimal
from html import escape
from typing import Any, NamedTuple

from notebooks.words import Words

Row = Mapping[str, Any]
Definitions = Mapping[tuple[str, str], str]

_NBSP = "\u00a0"
_LONG = 24  # characters; a longer text goes over several lines


_FORMS: Mapping[str, Callable[[Any], str]] = {
    "count": lambda value: f"{value:,}",
    "rate": lambda value: f"{value * 100:,.1f}{_NBSP}%",
    "money": lambda value: f"{Decimal(value):,.0f}",
    "number": lambda value: f"{value:,.1f}",
    "date": date.isoformat,
    "instant": lambda value: f"{value.astimezone(UTC):%Y-%m-%d %H:%M}",
}


class Figure(NamedTuple):
    """A column of an answer: how it is shown, the column of marts that defines it, what it is a ratio of."""

    name: str
    kind: str = "count"  # one of _FORMS, code or text
    defined: str = ""  # table.column of marts; else the page's own words say what it is
    of: tuple[str, str] | None = None


def shown(value: Any, kind: str, words: Words) -> str:
    """A value as people read it. What is not known is said, and never 0."""
    if value is None:
        return words("unknown" if kind in {"text", "code", "date", "instant"} else "not_measurable")
    if kind in _FORMS:
        return _FORMS[kind](value)
    if kind == "code":
        return words.of_code(value)
    return str(value)


def meaning(figure: Figure, row: Row | None, words: Words, definitions: Definitions) -> str:
    """What is said on hover: the definition, and the sums that a ratio was made of."""
    if figure.defined:
        table, _, column = figure.defined.partition(".")
        said = words.of_file(definitions.get((table, column), ""))
    else:
        said = words.told(figure.name)
    lines = [said] if said else []
    if row is not None and figure.of:
        above, below = figure.of
        sums = " / ".join(shown(row[each], "money" if "amount" in each else "count", words) for each in figure.of)
        lines.append(f"{words(above)} / {words(below)} = {sums}")
    return "\n".join(lines)


def card(figure: Figure, row: Row, words: Words, definitions: Definitions, before: Row | None = None) -> str:
    """One figure, how it changed, and on hover or focus what it means."""
    value = row[figure.name]
    told = escape(meaning(figure, row, words, definitions)).replace("\n", "<br>")
    change = "" if before is None else _change(value, before[figure.name], figure.kind, words)
    return (
        f'<div class="kobra-card" tabindex="0" data-figure="{figure.name}" data-value="{_raw(value)}">'
        f'<div class="kobra-label">{escape(words(figure.name))}</div>'
        f'<div class="kobra-value{_look(figure, value)}">'
        f"{escape(shown(value, figure.kind, words))}</div>{change}"
        f'<div class="kobra-tip" role="tooltip">{told}</div></div>'
    )


def cards(
    figures: Sequence[Figure], row: Row, words: Words, definitions: Definitions, before: Row | None = None
) -> str:
    # A period in which nothing was counted says nothing about this one.
    compared = before if before and any(before[figure.name] for figure in figures) else None
    inside = "".join(card(figure, row, words, definitions, compared) for figure in figures)
    return f'<div class="kobra-cards">{inside}</div>'


def _look(figure: Figure, value: Any) -> str:
    return " kobra-none" if value is None else " kobra-when" if figure.kind == "instant" else ""


def _raw(value: Any) -> str:
    return "" if value is None else escape(str(value))


def _change(value: Any, before: Any, kind: str, words: Words) -> str:
    """Against the period before: rates in points, other numbers in per cent."""
    was = f"{words('before')}: {shown(before, kind, words)}"
    if value is None or before is None or (kind != "rate" and not before):
        return f'<div class="kobra-change">{escape(was)}</div>'
    difference = (value - before) * 100 if kind == "rate" else (value - before) / abs(before) * 100
    unit = words("points") if kind == "rate" else "%"
    arrow = "▲" if difference > 0 else "▼" if difference < 0 else "＝"
    size = f"{arrow} {abs(difference):,.1f}{_NBSP}{unit}"
    return f'<div class="kobra-change">{escape(size)} · {escape(was)}</div>'


def table(
    columns: Sequence[Figure],
    rows: Sequence[Row],
    words: Words,
    definitions: Definitions,
    *,
    name: str,
    grey: str = "",
    most: int = 200,
) -> str:
    """A table; rows in which the column `grey` is true are set back. Of more than `most` rows it says how many."""
    if not rows:
        return f'<p class="kobra-note" data-table="{name}" data-rows="0">{escape(words("nothing_here"))}</p>'
    head = "".join(
        f'<th class="{_side(column)}" title="{escape(meaning(column, None, words, definitions))}">'
        f"{escape(words(column.name))}</th>"
        for column in columns
    )
    body = "".join(_line(columns, row, words, definitions, grey) for row in rows[:most])
    rest = ""
    if len(rows) > most:
        rest = f'<p class="kobra-note">{escape(words("first_of").format(shown=most, all=f"{len(rows):,}"))}</p>'
    return (
        f'<div class="kobra-scroll"><table class="kobra-table" data-table="{name}" data-rows="{len(rows)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{rest}"
    )


def _side(column: Figure) -> str:
    return "kobra-left" if column.kind in {"text", "code", "date", "instant"} else "kobra-right"


def _line(columns: Sequence[Figure], row: Row, words: Words, definitions: Definitions, grey: str) -> str:
    cells = []
    for column in columns:
        value = row[column.name]
        told = escape(meaning(column, row, words, definitions)) if column.kind not in {"text", "date"} else ""
        title = f' title="{told}"' if told else ""
        text = shown(value, column.kind, words)
        faint = " kobra-none" if value is None else " kobra-long" if len(text) > _LONG else ""
        cells.append(f'<td class="{_side(column)}{faint}" data-value="{_raw(value)}"{title}>{escape(text)}</td>')
    back = ' class="kobra-grey"' if grey and row[grey] else ""
    return f"<tr{back}>{''.join(cells)}</tr>"
