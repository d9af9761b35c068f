"""The dashboard in a real browser: it shows what SQL says, follows what is published, and asks nobody else."""

import csv
import http.client
import io
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chromium import PROGRAM, Tab, browser
from dashboards import FORMULA, MARKUP, a_promise, answered, bring, dashboard, make_home, on, pay, rows
from kobra_home import KOBRA, kobra

from notebooks.pages import PAGES
from notebooks.spanish import DEFINITIONS
from notebooks.words import LANGUAGES, Words
from pipelines.contract import REJECTS

CHARTS = {"outcomes": 2, "hours": 1, "agents": 1, "map": 1}
PASSWORD = "contraseña-de-prueba"
SEEDS = Path(__file__).parents[2] / "sql" / "seeds"
# What a filter says where nothing is chosen.
_PLACEHOLDER = '[data-slot="select-root"] button .text-muted-foreground'
_SHOWN_FIRST = "each => getComputedStyle(each, '::after').content"
chromium = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium on this machine")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.getbasetemp() / "dashboard" / "home")


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with dashboard(home) as at:
        yield at


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def show(tab: Tab, address: str, page: str, language: str = "en") -> None:
    tab.open("about:blank")
    tab.asked.clear()
    tab.faults.clear()
    tab.open(f"{address}/?page={page}&lang={language}")
    wait_for(tab, page, language)


def wait_for(tab: Tab, page: str, language: str) -> None:
    ready = f"document.querySelector('[data-page={page}][data-language={language}]')"
    tab.wait(f"{ready} && document.querySelector('.kobra-table, .kobra-note[data-table]')")


def figures(tab: Tab) -> dict[str, str]:
    """The cards of the page: name to value, empty where not measurable."""
    script = "[...document.querySelectorAll('[data-figure]')].map(c => [c.dataset.figure, c.dataset.value])"
    return dict(tab.run(script))


def table(tab: Tab, name: str) -> list[list[str]]:
    """The values in a table of the page, row by row."""
    script = (
        f"[...document.querySelectorAll('[data-table={name}] tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.dataset.value))"
    )
    return list(tab.run(script))


def hosts(tab: Tab) -> set[str | None]:
    """Whom the page asked over the network."""
    return {urlsplit(url).hostname for url in tab.asked if urlsplit(url).scheme not in {"data", "blob", "about"}}


# ---------------------------------------------------------------- what is shown


@chromium
def test_every_page_renders_in_both_languages_without_a_fault_and_asks_only_this_machine(
    tab: Tab, address: str
) -> None:
    show(tab, address, "outcomes")
    for language, name in LANGUAGES.items():
        words = Words(language)
        tab.click("label", name)
        for page in PAGES:
            tab.click("[role=tab]", words(page))
            wait_for(tab, page, language)
            assert tab.run(f"location.search.includes('page={page}')")
            charts = tab.every("canvas.marks, svg.marks")
            tab.wait(f"{charts}.length >= {CHARTS.get(page, 0)}")
            shown_first = f"[...new Set({tab.every(_PLACEHOLDER)}.map({_SHOWN_FIRST}))]"
            assert tab.run(shown_first) == [f'"{words("all")}"'], page
            untold = "[...document.querySelectorAll('.kobra-card')].filter(card => !card.lastChild.textContent)"
            assert tab.run(f"{untold}.map(card => card.dataset.figure)") == [], page
            assert tab.faults == [], page
    assert hosts(tab) == {"127.0.0.1"}
    assert len(tab.asked) > 100


@chromium
def test_figures_are_what_sql_says(tab: Tab, address: str, home: Path) -> None:
    show(tab, address, "outcomes")
    (expected,) = rows(home, """
        select sum(visits_completed)::bigint as visits_completed, sum(promises)::bigint as promises,
            sum(contacts) / sum(contact_known) as contact_rate, sum(rpcs) / sum(contact_known) as rpc_rate,
            sum(promises_in_contact) / sum(contacts_asked) as ptp_per_contact, sum(promise_amount) as promise_amount,
            sum(validated) / sum(validated + refuted) as validated_rate,
            sum(visits_cancelled) / sum(visits_cancelled + visits_completed) as cancellation_rate
        from outcomes_daily, (select max(local_date) filter (local_date <= (select as_of from w.meta.build)) as until
            from visits)
        where local_date between until - 13 and until
    """)  # fmt: skip
    shown = figures(tab)
    assert expected["promises"] > 10
    for name, value in expected.items():
        assert float(shown[name]) == pytest.approx(float(value), abs=1e-12), name


@chromium
@pytest.mark.slow
def test_the_best_hours_are_those_of_the_marts(tab: Tab, address: str, home: Path) -> None:
    show(tab, address, "hours")
    by_hour = rows(home, """
        select sum(contact_known)::bigint as known, sum(contacts)::bigint as contacts from contact_hours
        group by iso_dow, local_hour having sum(contact_known) >= 30
    """)  # fmt: skip
    best = table(tab, "best_hours")
    assert len(best) == min(10, len(by_hour))
    lows = [float(row[4]) for row in best]
    assert all(first >= second for first, second in pairwise(lows))
    assert {int(row[2]) for row in best} <= {row["known"] for row in by_hour}
    assert all(low < float(row[3]) for low, row in zip(lows, best, strict=True))


@chromium
@pytest.mark.slow
def test_agents_are_ranked_only_with_enough_visits(tab: Tab, address: str, home: Path) -> None:
    show(tab, address, "agents")
    ranked = [row for row in table(tab, "agents") if row[0] != "–"]
    visits = sorted((row["visits"] for row in rows(home, """
        select sum(visits)::bigint as visits from agent_days
        where local_date between date '2026-02-07' and date '2026-02-20' group by source, agent_key
        having sum(visits) >= 30
    """)), reverse=True)  # fmt: skip
    assert sorted((int(row[2]) for row in ranked), reverse=True) == visits
    assert [row[0] for row in ranked] == [str(number) for number in range(1, len(ranked) + 1)]


@chromium
def test_what_a_number_means_is_said_in_the_words_of_the_file_with_its_sums(
    tab: Tab, address: str, home: Path
) -> None:
    show(tab, address, "outcomes")
    tip = str(tab.run("document.querySelector('[data-figure=contact_rate] .kobra-tip').textContent"))
    (comment,) = rows(home, """
        select comment from duckdb_columns()
        where schema_name = 'marts' and table_name = 'outcomes_daily' and column_name = 'contact_rate'
    """)  # fmt: skip
    assert comment["comment"] in tip
    assert "Contacts / Visits with contact known = " in tip


@chromium
@pytest.mark.slow
def test_without_payments_nothing_is_called_kept(tab: Tab, address: str) -> None:
    for language, said in (("en", "not measurable"), ("es", "no medible")):
        show(tab, address, "outcomes", language)
        assert figures(tab)["kept_rate"] == ""
        assert said in tab.run("document.querySelector('[data-figure=kept_rate] .kobra-value').textContent")


@chromium
@pytest.mark.slow
def test_what_is_too_little_or_not_asked_is_said_and_not_shown_as_a_rate(tab: Tab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    asked = a_promise("1", "2026-02-12")
    never_asked = answered("2", {}, productID=99, **on("2026-02-10"))
    never_asked["checklist"] = []
    bring(home, "few", [asked, never_asked])
    with dashboard(home) as address:
        show(tab, address, "outcomes")
        by_product = table(tab, "by_product")
        assert "No rate is counted over 30 or more here" in tab.text()
        assert "there is nothing to compare with" in tab.text()
        tab.wait(f"{tab.every('canvas.marks, svg.marks')}.length === 1")
        assert tab.run("document.querySelectorAll('.kobra-change').length") == 0
        assert tab.run("document.querySelectorAll('[data-table=by_product] .kobra-grey').length") == 2
    assert [(row[0], row[1], row[4], row[6]) for row in by_product] == [
        ("Debt collection", "1", "1", "500.00"),
        ("Product 99", "1", "", ""),
    ]


@chromium
@pytest.mark.slow
def test_months_with_open_promises_are_set_back(tab: Tab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    pay(home, "774", "2026-02-12")
    bring(home, "months", [a_promise("4", "2026-02-12"), a_promise("5", "2026-03-12")])
    with dashboard(home) as address:
        show(tab, address, "promises")
        assert [row[0] for row in table(tab, "cohorts")] == ["2026-03", "2026-02"]
        grey = "[...document.querySelectorAll('[data-table=cohorts] tbody tr')].map(row => row.className)"
        assert tab.run(grey) == ["kobra-grey", ""]


@pytest.mark.slow
@chromium
def test_promises_that_can_still_be_paid_do_not_count_and_how_far_payments_reach_is_said(
    tab: Tab, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    pay(home, "776", "2026-02-18")
    # One broken, one paid early and one not yet paid whose windows are open, one over that payments do not reach.
    due = {"4": "2026-02-12", "6": "2026-02-18", "5": "2026-02-18", "3": "2026-02-16"}
    asked = [a_promise(visit_id, day) for visit_id, day in due.items()]
    bring(home, "reach", [*asked, answered("2", {11: "false", 14: "false"}, externalID="772", **on("2026-02-19"))])
    (cohort,) = rows(home, "select due, kept, broken, open, unknown, over_settled, kept_rate from promise_cohorts")
    assert cohort == {"due": 4, "kept": 1, "broken": 1, "open": 1, "unknown": 1, "over_settled": 1, "kept_rate": 0.0}
    said = {
        "en": "Payments are known up to: lender_b 2026-02-18.",
        "es": "Los pagos se conocen hasta: lender_b 2026-02-18.",
    }
    with dashboard(home) as address:
        for language, note in said.items():
            show(tab, address, "promises", language)
            assert note in tab.text()
            assert figures(tab)["kept_rate"] == "0.0"
        show(tab, address, "outcomes")
        assert figures(tab)["kept_rate"] == "0.0"


@pytest.mark.parametrize("language", LANGUAGES)
def test_codes_of_the_starting_set_and_reasons_are_said_in_words(language: str) -> None:
    with (SEEDS / "answer_codes.csv").open(encoding="utf-8", newline="") as file:
        codes = {row["code"] for row in csv.DictReader(file) if row["role"] != "contact_with"} | set(REJECTS)
    assert [code for code in sorted(codes) if Words(language).of_code(code) == code.replace("_", " ")] == []


@chromium
@pytest.mark.slow
def test_the_work_list_downloads_without_formulas_and_shows_no_markup(tab: Tab, address: str, home: Path) -> None:
    show(tab, address, "follow_ups")
    shown = [row[4] for row in table(tab, "work_list")]
    assert {FORMULA, MARKUP} <= set(shown)
    # The download button holds a link; fetch what a click would save.
    links = tab.every("a[download]")
    tab.wait(f"{links}.length === 1")
    text = tab.run(f"fetch({links}[0].href).then(answer => answer.text())")
    heading, *listed = csv.reader(io.StringIO(str(text)))
    client = heading.index("Client")
    assert len(listed) > len(shown) == 200
    assert [row[client] for row in listed[:200]] == [f"'{name}" if name.startswith("=") else name for name in shown]
    assert tab.faults == []


def test_every_translated_definition_is_one_of_the_file(home: Path) -> None:
    found = rows(home, "select distinct comment from duckdb_columns() where schema_name = 'marts'")
    assert set(DEFINITIONS) - {row["comment"] for row in found} == set()


# ---------------------------------------------------------------- what is published meanwhile


@chromium
def test_a_new_publish_appears_by_itself_and_is_not_hindered(tab: Tab, tmp_path: Path, home: Path) -> None:
    with dashboard(home) as address:
        show(tab, address, "outcomes")
        before, stamp = figures(tab), tab.run("document.querySelector('[data-stamp]').dataset.stamp")
        pay(home, "775", "2026-02-12")
        # `kobra run`, while the page is open.
        bring(home, "more", [a_promise("4", "2026-02-12"), a_promise("5", "2026-02-12")])
        tab.wait(f"document.querySelector('[data-stamp]').dataset.stamp !== '{stamp}'")
        tab.wait("document.querySelector('[data-figure=kept_rate]').dataset.value !== ''")
        after = figures(tab)
    assert int(after["visits_completed"]) == int(before["visits_completed"]) + 2
    (kept,) = rows(home, """
        select count(*) filter (is_over and status = 'kept')
                / count(*) filter (is_over and status in ('kept', 'partial', 'broken')) as rate
        from promises, (select max(local_date) filter (local_date <= (select as_of from w.meta.build)) as until
            from visits)
        where promise_check = 'valid' and promise_date between until - 13 and until
    """)  # fmt: skip
    assert kept["rate"] == 0.5
    assert float(after["kept_rate"]) == pytest.approx(kept["rate"])
    assert tab.faults == []


@chromium
@pytest.mark.slow
def test_before_the_first_publish_it_waits_for_it(tab: Tab, tmp_path: Path, home: Path) -> None:
    with dashboard(tmp_path / "new") as address:
        tab.open(address)
        tab.wait("document.body?.innerText.includes('Nothing is published yet')")
        (tmp_path / "new" / "warehouse").mkdir(parents=True)
        subprocess.run(
            ["cp", home / "warehouse" / "analytics.duckdb", tmp_path / "new" / "warehouse" / "analytics.duckdb"],
            check=True,
        )
        tab.wait("document.querySelector('[data-figure=visits_completed]')")


# ---------------------------------------------------------------- who may look


def ask(address: str, path: str = "/", method: str = "GET", body: str | None = None, **headers: str) -> Any:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def test_other_web_sites_are_refused(address: str) -> None:
    assert ask(address)[0] == 200
    assert ask(address, Host="kobra.example.com")[0] == 403
    assert ask(address, Origin="http://kobra.example.com")[0] == 403
    assert ask(address, "/ws?session_id=s_1", Origin="http://kobra.example.com", **UPGRADE)[0] == 403
    assert "connect-src 'self'" in ask(address)[1]["content-security-policy"]


def test_without_the_password_nothing_is_shown(home: Path) -> None:
    with dashboard(home, KOBRA_DASHBOARD_PASSWORD=PASSWORD) as address:
        for path in ("/", "/?page=agents", "/api/status", "/assets/"):
            status, _, body = ask(address, path)
            assert (status, "password" in body) == (401, True), path
        assert ask(address, "/ws?session_id=s_1", **UPGRADE)[0] == 403
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        for wrong in ("password=guess", "password=", "", f"password={'x' * 5000}"):
            status, headers, _ = ask(address, "/login", "POST", wrong, **form)
            assert status in {401, 413}
            assert "set-cookie" not in headers
        assert ask(address, Cookie="kobra-dashboard=guess")[0] == 401


@chromium
def test_a_wrong_password_is_refused_and_the_right_one_opens(tab: Tab, home: Path) -> None:
    enter = "document.querySelector('#password').value = '{}'; document.forms[0].submit()"
    with dashboard(home, "--password", PASSWORD) as address:
        tab.open(address)
        tab.wait("document.querySelector('#password')")
        tab.run(enter.format("guess"))
        tab.wait("document.querySelector('[role=alert]')")
        assert "Kobra visits" not in tab.text()
        tab.run(enter.format(PASSWORD))
        tab.wait("document.querySelector('.kobra-card')")


def test_others_are_let_in_only_with_a_password(home: Path) -> None:
    done = kobra(home, "dashboard", "--host", "0.0.0.0", "--port", "0")
    assert (done.returncode, "KOBRA_DASHBOARD_PASSWORD" in done.stderr) == (2, True)


def test_a_port_that_is_taken_is_said(address: str, home: Path) -> None:
    done = kobra(home, "dashboard", "--port", str(urlsplit(address).port))
    assert (done.returncode, "cannot listen" in done.stderr) == (2, True)


def test_the_command_is_where_it_is_looked_for() -> None:
    assert KOBRA.exists()
