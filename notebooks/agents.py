"""A worked analysis: who does well, once it is counted how sure one can be, and where the day goes.

Run it, `python notebooks/agents.py`, or open it with `marimo edit notebooks/agents.py`.
"""

import marimo

app = marimo.App(width="medium", app_title="Agents")


@app.cell
def _():
    import altair as alt
    import marimo as mo

    from notebooks import published
    from notebooks.ratios import low95, ratio

    warehouse = published.connect(published.place())
    return alt, low95, mo, ratio, warehouse


@app.cell
def _(low95, mo, ratio, warehouse):
    # Twenty agents in a list of rates: one is on top by luck. The lower end of the interval is fairer to compare.
    ranking = warehouse.sql(f"""
        with worked as (
            select source, agent_key, arg_max(agent_name, local_date) as agent_name, count(*) as days,
                sum(visits)::bigint as visits, sum(productive_visits)::bigint as productive
            from agent_days group by source, agent_key
        )
        select worked.*, {ratio("productive", "visits")} as productive_rate,
            {low95("productive", "visits")} as at_least
        from worked join w.staging.stg_settings as settings using (source)
        where visits >= settings.min_visits_heatmap
        order by at_least desc, agent_key
    """).df()
    print(ranking.head(10).to_string(index=False))
    mo.vstack([mo.md("## Ranking"), ranking.round(3)])
    return (ranking,)


@app.cell
def _(alt, mo, ranking):
    drawn = (
        alt.Chart(alt.Data(values=ranking.head(20).to_dict(orient="records")))
        .mark_rule(strokeWidth=4)
        .encode(
            y=alt.Y("agent_name:N", sort=None, title=None, axis=alt.Axis(labelLimit=0)),
            x=alt.X(
                "at_least:Q", title="productive visits: from the 95 % bound to the rate", axis=alt.Axis(format=".0%")
            ),
            x2="productive_rate:Q",
            tooltip=["agent_name:N", "productive:Q", "visits:Q"],
        )
    )
    mo.vstack([mo.md("## The longer the bar, the less is known"), drawn])
    return


@app.cell
def _(mo, ratio, warehouse):
    # A day between its first start and its last end: on site, or between visits.
    days = warehouse.sql(f"""
        select date_part('isodow', local_date) as iso_dow, count(*) as agent_days, sum(visits)::bigint as visits,
            {ratio("sum(visits)", "count(*)")} as visits_per_day,
            {ratio("sum(on_site_min)", "sum(visits)")} as minutes_per_visit,
            {ratio("sum(between_min)", "sum(on_site_min) + sum(between_min)")} as share_between,
            {ratio("sum(travel_km)", "count(travel_km)")} as km_per_day
        from agent_days group by 1 order by 1
    """).df()
    print(days.to_string(index=False))
    mo.vstack([mo.md("## Where the day goes"), days.round(3)])
    return


@app.cell
def _(mo, ratio, warehouse):
    # Flags are questions to ask, not verdicts.
    flags = warehouse.sql(f"""
        select "check", sum(failed)::bigint as failed, sum(tested)::bigint as tested,
            {ratio("sum(failed)", "sum(tested)")} as share
        from data_quality group by 1 order by share desc nulls last, 1
    """).df()
    print(flags.to_string(index=False))
    mo.vstack([mo.md("## What is odd"), flags.round(4)])
    return


if __name__ == "__main__":
    app.run()
