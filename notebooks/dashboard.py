"""The dashboard: what the published file says, in English and Spanish. `kobra dashboard` serves it."""

import marimo

app = marimo.App(width="full", app_title="Kobra", css_file="dashboard.css")


@app.cell
def _():
    import marimo as mo

    from notebooks import filters, published
    from notebooks.figures import escape
    from notebooks.pages import PAGES
    from notebooks.view import View
    from notebooks.words import LANGUAGES, Words

    return LANGUAGES, PAGES, View, Words, escape, filters, mo, published


@app.cell
def _(mo, published):
    # All readers share what is open; what one of them chose is theirs.
    place = published.SHARED.at(published.place())
    kept, seen = {"pages": {}}, [place.stamp()]
    current, put_current = mo.state(seen[0])
    return current, kept, place, put_current, seen


@app.cell
def _(LANGUAGES, Words, mo):
    languages = mo.ui.radio(
        {name: code for code, name in LANGUAGES.items()},
        LANGUAGES[Words(str(mo.query_params().get("lang"))).language],
        inline=True,
    )
    return (languages,)


@app.cell
def _(PAGES, Words, kept, languages, mo):
    words = Words(languages.value)
    asked_for = kept.get("page") or mo.query_params().get("page")
    menu = mo.ui.tabs(
        {words(name): "" for name in PAGES}, value=words(asked_for if asked_for in PAGES else next(iter(PAGES)))
    )
    return menu, words


@app.cell
def _(PAGES, kept, menu, mo, words):
    kept["page"] = shown = {words(name): name for name in PAGES}[menu.value]
    # So that the address can be kept, and sent to others.
    mo.query_params().set("page", shown)
    mo.query_params().set("lang", words.language)
    return (shown,)


@app.cell
def _(current, filters, kept, place, words):
    # A new file makes this cell run again, and with it everything below.
    snapshot = place.now() if current() else None
    chosen = filters.controls(snapshot, words, kept) if snapshot else None
    return chosen, snapshot


@app.cell
def _(PAGES, View, chosen, filters, kept, mo, shown, snapshot, words):
    view, controls = None, None
    if snapshot:
        as_of = snapshot.row("select as_of from w.meta.build")["as_of"]
        view = View(snapshot, words, filters.values(chosen.value, as_of))
        controls = mo.ui.dictionary(PAGES[shown].controls(view, kept["pages"].get(shown, {})))
    return controls, view


@app.cell
def _(PAGES, chosen, controls, escape, kept, languages, menu, mo, shown, snapshot, view, words):
    def _head():
        stamp, said = "", ""
        if snapshot:
            stamp = f"{snapshot.stamp.number}-{snapshot.stamp.published_at.timestamp()}"
            said = words("published").format(at=f"{snapshot.stamp.published_at:%Y-%m-%d %H:%M}", day=view.as_of)
        return mo.Html(
            f"<style>:root {{ --kobra-all: '{words('all')}' }}</style>"
            f'<div class="kobra-head" data-language="{words.language}" data-page="{shown}" data-stamp="{stamp}">'
            f'<h1>{escape(words("title"))}</h1><span class="kobra-note">{escape(said)}</span></div>'
        )

    if snapshot:
        kept["pages"][shown] = controls.value

    def _frame():
        top = mo.hstack([_head(), languages], justify="space-between", align="center")
        if not snapshot:
            return [top, mo.md(words("nothing_published"))]
        offered = [chosen.elements[name] for name in PAGES[shown].FILTERS] + list(controls.elements.values())
        picked = mo.hstack(offered, justify="start", wrap=True, gap=1)
        return [top, menu, picked, PAGES[shown].show(view, controls.value)]

    mo.vstack(_frame(), gap=0.8)
    return


@app.cell
def _(mo):
    # By itself, at the end: a cell that shows it runs again whenever it looks.
    look = mo.ui.refresh(default_interval="3s")
    look
    return (look,)


@app.cell
def _(look, place, put_current, seen):
    look.value
    if place.stamp() != seen[0]:
        seen[0] = place.stamp()
        put_current(seen[0])
    return


if __name__ == "__main__":
    app.run()
