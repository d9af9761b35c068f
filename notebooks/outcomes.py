"""A worked analysis: is the contact rate of this week really different from that of the week before?

Run it, `python notebooks/outcomes.py`, or open it with `marimo edit notebooks/outcomes.py`.
"""

import marimo

app = marimo.App(width="medium", app_title="Outcomes")


@app.cell
def _():
    import altair as alt
    import marimo as mo

    from notebooks import published
    from notebooks.ratios import low95, ratio

    warehouse = published.connect(published.place())
    return alt, low95, mo, ratio, warehouse


@app.cell
def _(low95, ratio, warehouse):
    # Sums first, ratios of the sums afterwards: a mean of daily rates would weigh a Sunday like a Monday.
    weeks = warehouse.sql(f"""
        with weeks as (
            select product_id, date_trunc('week', local_date)::date as week,
                sum(visits_completed)::bigint as visits, sum(contact_known)::bigint as contact_known,
                sum(contacts)::bigint as contacts, sum(rpcs)::bigint as rpcs, sum(promises)::bigint as promises
            from outcomes_daily where local_date is not null and product_id is not null group by all
        )
        select *, {ratio("contacts", "contact_known")} as contact_rate,
            {low95("contacts", "contact_known")} as low,
            1 - {low95("contact_known - contacts", "contact_known")} as high
        from weeks order by product_id, week
    """).df()
    print(weeks.to_string(index=False))
    weeks.round({"contact_rate": 3, "low": 3, "high": 3})
    return (weeks,)


@app.cell
def _(alt, mo, weeks):
    points = [
        {**row, "week": row["week"].date().isoformat()}
        for row in weeks[weeks["contact_known"] > 0].to_dict(orient="records")
    ]
    base = alt.Chart(alt.Data(values=points), width=alt.Step(18)).encode(
        x=alt.X("week:O", title=None), xOffset="product_id:N", color=alt.Color("product_id:N")
    )
    rate = alt.Y("low:Q", axis=alt.Axis(format=".0%"), title="contact rate")
    whiskers = base.mark_rule(strokeWidth=2).encode(y=rate, y2="high:Q")
    marks = base.mark_point(filled=True, size=70).encode(
        y="contact_rate:Q", tooltip=["week:O", "product_id:N", "contacts:Q", "contact_known:Q"]
    )
    mo.vstack([
        mo.md("## Contact rate by week, with the 95 % interval\n\nWhere intervals do not overlap, it has changed."),
        whiskers + marks,
    ])  # fmt: skip
    return


@app.cell
def _(mo, ratio, warehouse):
    # Who answers decides what comes of it.
    by_class = warehouse.sql(f"""
        select coalesce(contact_class, 'unmapped') as met, count(*) as contacts,
            count(*) filter (is_promise) as promises,
            {ratio("promises", "contacts")} as promises_per_contact, median(promise_amount) as median_amount
        from visits where is_contact and product_id = 1
        group by 1 order by contacts desc
    """).df()
    print(by_class.to_string(index=False))
    mo.vstack([mo.md("## Promises, by who was met"), by_class.round(3)])
    return


@app.cell
def _(mo, ratio, warehouse):
    # A first visit that settles the matter, among episodes that are over.
    resolved = warehouse.sql(f"""
        select product_id, count(*) filter (is_closed) as closed,
            count(*) filter (is_closed and visits = 1 and first_resolved) as settled_at_once,
            {ratio("settled_at_once", "closed")} as first_visit_resolution
        from account_episodes group by 1 order by 1
    """).df()
    print(resolved.to_string(index=False))
    mo.vstack([mo.md("## First-visit resolution"), resolved.round(3)])
    return


if __name__ == "__main__":
    app.run()
