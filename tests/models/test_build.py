"""What `kobra run` and `kobra build` make: every table at once, as of the right day, by what the customer edited."""

import os
import shutil
import subprocess
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from built_home import AS_OF, CODES, PAID_LAST, PAYMENTS, BuiltHome, differences, promise, settled, visit
from fast_build import without_marts
from interruptions import DIED, Plan, finish

from pipelines import run
from pipelines.build import build, dbt
from pipelines.errors import FaultError
from pipelines.load import segments
from pipelines.operate import status
from pipelines.warehouse.home import Home
from pipelines.warehouse.lock import lock

LATER = date(2026, 6, 1)
MEXICO = ZoneInfo("America/Mexico_City")

# By hand from docs/metrics.md.
PROMISED = {
    "visits": """source visit_id product_id agent_id agent_name account_id client_name visit_type lat lng
        interest rebound tag_name finished cancelled cancellation_reason start_local end_local time_zone_raw
        content_hash received_at delivery_id versions state time_zone time_zone_known start_at end_at
        start_ambiguous start_in_gap local_date local_hour iso_dow duration_s delivery_lag_s contact_made
        contact_with contact_name promise_made payment_method promise_amount promise_date revisit revisit_date
        slot1_start slot1_end slot2_start slot2_end validation_result tag contact_class outcome
        payment_method_code validation is_contact is_rpc is_promise agent_key""",
    "visit_quality": """source visit_id gps_missing gps_emulator_default negative_duration too_short
        too_long clock_skew late_arrival time_zone_unknown start_in_gap out_of_hours third_party_contact
        overlaps_previous impossible_speed same_spot promise_without_contact out_of_place tag_conflict""",
    "legs": "source visit_id agent_key local_date prev_visit_id travel_min travel_m speed_kmh overlaps_previous",
    "promises": """source visit_id promise_check made_date promise_date horizon_days deadline window_end
        promise_amount paid_amount status payments_until is_over""",
    "revisits": "source visit_id status in_slot revisit_date",
    "account_episodes": """source account_id product_id episode_no visits first_date last_date
        first_resolved ever_contacted ever_rpc ever_promised is_closed""",
    "outcomes_daily": """source product_id local_date visits_completed visits_cancelled visits_open
        contact_known contacts rpcs contacts_asked promises promises_in_contact promises_without_contact
        promise_amount promises_with_amount claims_paid rebounds rebound_known validated refuted inconclusive
        recovered_amount cancellation_rate contact_rate rpc_rate ptp_per_contact ptp_per_visit rebound_rate
        validated_rate conclusive_rate""",
    "agent_days": """source agent_key local_date agent_name visits accounts productive_visits contacts
        promises promise_amount first_start_at last_end_at on_site_min between_min travel_km
        legs_left_out recovered_amount""",
    "contact_hours": """source product_id iso_dow local_hour visits contacts rpcs contact_rate rpc_rate
        contact_rate_low95 is_ranked""",
    "label_mix": "source product_id month outcome label_key label visits",
    "payment_methods": "source month code promises share",
    "promise_cohorts": """source due_month agent_key due kept partial broken open replaced unknown promised_amount
        paid_capped_amount over_kept over_settled kept_rate amount_kept_rate""",
    "recoveries": """source account_id payment_line payment_id paid_date amount currency channel visit_id agent_key
        visit_date days_after_visit promise_visit_id is_on_promise""",
    "data_quality": "source local_date check failed tested",
    "agents": "source agent_key agent_name names_seen first_visit_on last_visit_on visits",
    "accounts": """source account_id client_name visits last_outcome last_contact_on open_promise_date
        open_promise_amount as_of_date product_id portfolio balance past_due days_past_due lat lng agent_id
        assigned_on currency""",
    "questions": """source product_id question_id question_name answer_name answer_type_id role value_type
        matched_by answers answered""",
    "reconciliation": "source received_date landed new_versions duplicates rejected is_balanced",
}
NOTHING_NEW = """
import sys
from pipelines.cli import main
code = main(["run"])
print(code, sorted({"dlt", "dbt", "duckdb", "pandas", "pyarrow", "numpy"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    """For looking at only."""
    return settled(tmp_path_factory)


@pytest.fixture
def home(built: BuiltHome, tmp_path: Path) -> BuiltHome:
    return built.copy(tmp_path / "home")


def missing(home: BuiltHome) -> dict[str, set[str]]:
    """Promised columns that are not there, by table."""
    there: dict[str, set[str]] = {}
    for row in home.rows("from duckdb_columns() where database_name = 'w' and schema_name = 'marts'"):
        there.setdefault(row["table_name"], set()).add(row["column_name"])
    return {
        table: gone for table, columns in PROMISED.items() if (gone := set(columns.split()) - there.get(table, set()))
    }


def statuses(home: BuiltHome) -> dict[str, Any]:
    return {
        "promise": home.values("select status from w.marts.promises where visit_id = 'P'"),
        "revisit": home.values("select status from w.marts.revisits"),
        "closed": home.values("select bool_and(is_closed) from w.marts.account_episodes"),
    }


def outcomes(home: BuiltHome) -> dict[str, Any]:
    """What mappings, payments and accounts say of visits of long ago."""
    return {
        "outcome": home.values("select outcome from w.marts.visits where visit_id = 'N'"),
        "promised": home.values("select promise_made from w.marts.visits where visit_id = 'P'"),
        "promise": home.values("select status from w.marts.promises where visit_id = 'P'"),
        "place": home.values("select out_of_place from w.marts.visit_quality where visit_id = 'N'"),
    }


# ---------------------------------------------------------------- tables


def test_run_loads_builds_tests_and_publishes(built: BuiltHome) -> None:
    assert "5 deliveries from 5 segment(s): 4 new" in (built.path / "printed").read_text()
    assert built.values("select visit_id from w.marts.visits order by all") == ["N", "P", "R", "Z"]
    (run,) = built.runs()
    assert (run["as_of"], run["deliveries"], run["rejected"], run["is_full"]) == (AS_OF, 5, 1, True)
    checks = list((built.files.warehouse / "dbt" / "run").rglob("models/*/*.yml/*.sql"))
    assert len(checks) > 20


def test_every_mart_and_column_is_there_after_the_first_run_on_an_empty_store(tmp_path: Path) -> None:
    home = BuiltHome(tmp_path / "home")
    assert home.here("run") == 0
    assert missing(home) == {}
    assert [home.values(f"select count(*) from w.marts.{table}") for table in PROMISED] == [[0]] * len(PROMISED)


@pytest.mark.slow
def test_every_mart_and_column_is_there_when_all_that_ever_came_was_rejected(tmp_path: Path) -> None:
    home = BuiltHome(tmp_path / "home")
    home.land(b"", b"{", b"[1]")
    home.build()
    assert missing(home) == {}
    assert home.values("select rejected from w.marts.reconciliation where is_balanced") == [3]
    assert home.values("select count(*) from w.marts.visits") == [0]


# ---------------------------------------------------------------- days


@pytest.mark.slow
def test_a_build_told_another_day_moves_what_depends_on_it_and_shows_it_to_nobody_until_published(
    home: BuiltHome,
) -> None:
    assert statuses(home) == {"promise": ["open"], "revisit": ["pending"], "closed": [False]}
    before = home.files.published.read_bytes()
    done = home.kobra("build", "--as-of", str(LATER))
    assert (done.returncode, done.stderr) == (0, "")
    assert str(LATER) in done.stdout
    assert home.files.published.read_bytes() == before
    assert home.here("publish") == 0
    assert statuses(home) == {"promise": ["broken"], "revisit": ["missed"], "closed": [True]}
    assert home.values("select as_of from w.meta.build") == [LATER]


@pytest.mark.parametrize(
    "forgets",
    [
        pytest.param(False, id="as it is"),
        pytest.param(True, id="without the visits of accounts that moved", marks=pytest.mark.slow),
    ],
)
def test_days_and_files_come_and_go_as_if_all_was_built_at_once(
    built: BuiltHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgets: bool
) -> None:
    if forgets:
        monkeypatch.setattr(build, "_OF_MOVED_ACCOUNTS", "select '' as source, '' as visit_id")
    home = built.copy(tmp_path / "home")
    home.build(full=True)
    seen, wrong = set(), list[str]()
    for number, (as_of, payment) in enumerate(
        [(LATER, "p1,999,2026-03-03,5"), (AS_OF, "p1,999,2026-03-03,5"), (AS_OF, "p1,110,2026-03-03,1000"),
         (LATER, "p1,110,2026-03-03,10"), (LATER, None)]
    ):  # fmt: skip
        payments = home.edit("inputs/payments.csv", f"{PAYMENTS}{PAID_LAST}{payment}\n")
        if payment is None:
            payments.unlink()
        lats = {110: 19, 120: 19, 130: 19 + number, 140: 19}
        lines = "".join(f"{account},2026-03-01,{number},{lat},-99.1\n" for account, lat in lats.items())
        home.edit("inputs/accounts.csv", f"external_id,as_of_date,balance,lat,lng\n{lines}")
        home.build(as_of)
        assert home.runs()[0]["is_full"] is False
        seen |= {*statuses(home)["promise"], *statuses(home)["revisit"]}
        if number in (1, 3, 4):  # a build of everything takes its time
            at_once = home.copy(tmp_path / f"{number}")
            at_once.build(as_of, full=True)
            wrong += differences(home.files.published, at_once.files.published)
    assert seen == {"open", "kept", "partial", "broken", "unknown", "pending", "missed"}
    assert set(wrong) == ({"marts.visit_quality", "marts.data_quality"} if forgets else set())


@pytest.mark.slow
def test_a_load_cut_short_when_all_was_written_leaves_its_visits_to_the_next_build(
    home: BuiltHome, tmp_path: Path
) -> None:
    home.build()  # which takes the files of a home that was copied for edited ones
    home.land(visit("N", 8, tagName="Prometió"), visit("new", 9))
    plan = Plan(dies_after=("pipelines.load.load", "_check_arrived", 1), arguments=("load",))
    assert finish(home.path, plan) == DIED
    home.build()
    assert home.runs()[0]["is_full"] is False
    at_once = home.copy(tmp_path / "at once")
    at_once.build(full=True)
    assert differences(home.files.published, at_once.files.published) == {}


def test_a_build_cut_short_before_it_began_leaves_the_next_one_to_reckon_what_ran_out(home: BuiltHome) -> None:
    run = ("run", "--as-of", str(LATER))
    plan = Plan(dies_after=("pipelines.build.mappings", "write", 1), arguments=run, builds=True)
    assert finish(home.path, plan) == DIED
    assert home.here(*run) == 0
    assert statuses(home) == {"promise": ["broken"], "revisit": ["missed"], "closed": [True]}


def test_status_says_up_to_which_day_payments_are_known_where_that_is_before_the_day_of_the_build(
    built: BuiltHome, home: BuiltHome
) -> None:
    def told(home: BuiltHome) -> tuple[object, list[str]]:
        found = status.look(home.files)
        return found.figures["payments_until"], [
            line.strip() for line in found.text().splitlines() if "payments" in line
        ]

    assert told(built) == ({"lender_a": "2026-03-31"}, [])
    home.build(LATER)
    line = "payments end before 2026-06-01: lender_a 2026-03-31; what comes after is unknown"
    assert told(home) == ({"lender_a": "2026-03-31"}, [line])
    home.edit("mappings/settings.csv", "key,value\npayments_until,2026-06-01\n")
    home.build(LATER)
    assert told(home) == ({"lender_a": "2026-06-01"}, [])
    (home.path / "inputs" / "payments.csv").unlink()
    home.build(LATER)
    assert told(home) == ({}, [])


def test_a_payment_is_credited_to_the_visit_and_the_promise_before_it_and_adds_up_in_its_day(home: BuiltHome) -> None:
    assert home.values("select distinct recovered_amount from w.marts.agent_days") == [0]
    lines = "p1,110,2026-03-05,600\np2,110,2026-03-20,500\np3,110,2026-03-20,-100\np4,120,2026-03-02,7\n"
    home.edit("inputs/payments.csv", PAYMENTS + lines)
    home.build()
    assert home.rows("""
        select payment_line, visit_id, agent_key, days_after_visit, promise_visit_id, is_on_promise, source
        from w.marts.recoveries order by all
    """) == [
        {"payment_line": line, "visit_id": visit_id, "agent_key": agent_key, "days_after_visit": days,
         "promise_visit_id": promised, "is_on_promise": on_promise, "source": "lender_a"}
        for line, visit_id, agent_key, days, promised, on_promise in [
            (2, "P", "A1", 3, "P", True), (3, "P", "A1", 18, "P", False), (4, "P", "A1", 18, "P", False),
            (5, None, None, None, None, None),
        ]
    ]  # fmt: skip
    for table in ("outcomes_daily", "agent_days"):
        query = f"select local_date, recovered_amount from w.marts.{table} where recovered_amount <> 0"
        assert home.rows(query) == [{"local_date": date(2026, 3, 2), "recovered_amount": 1000}]


@pytest.fixture(scope="module")
def today(built: BuiltHome, tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    """After the plain run that followed one that was told a day."""
    home = built.copy(tmp_path_factory.mktemp("today") / "home")
    assert home.here("run") == 0
    return home


def test_the_plain_run_after_one_that_was_told_a_day_speaks_of_today(today: BuiltHome) -> None:
    assert abs(today.runs()[0]["as_of"] - datetime.now(MEXICO).date()) <= timedelta(days=1)
    assert today.values("select as_of from w.meta.build") == [today.runs()[0]["as_of"]]
    assert statuses(today)["promise"] == ["broken"]


def test_a_run_with_nothing_new_loads_no_engine(today: BuiltHome) -> None:
    before = today.files.published.stat()
    environ = os.environ | {"KOBRA_HOME": str(today.path)}
    answer = subprocess.check_output([sys.executable, "-c", NOTHING_NEW], env=environ, text=True)
    assert answer == "0 []\n"
    assert today.files.published.stat() == before


def test_a_run_with_nothing_new_holds_until_midnight_in_the_default_zone_and_no_longer(
    today: BuiltHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = today.runs()[0]["as_of"] + timedelta(days=1)
    midnight = datetime.combine(day, time(), MEXICO).timestamp()
    for moment, holds in ((midnight - 1, True), (midnight, False)):
        monkeypatch.setattr(segments, "time", lambda moment=moment: moment)
        assert run.is_current(today.files) is holds


# ---------------------------------------------------------------- what a customer edits


@pytest.mark.slow
def test_what_was_edited_takes_effect_with_the_next_plain_run_for_old_visits_too_and_so_does_what_was_removed(
    today: BuiltHome, tmp_path: Path
) -> None:
    home = BuiltHome(tmp_path / "moved")
    shutil.copytree(today.path, home.path)
    assert outcomes(home) == {"outcome": ["no_contact"], "promised": [True], "promise": ["broken"], "place": [None]}
    home.edit("mappings/answer_codes.csv", CODES.replace("no_contact", "absent"))
    home.edit("inputs/payments.csv", PAYMENTS + PAID_LAST + "p2,110,2026-03-05,950\n")
    home.place(("130", 20.5, -99.1332))
    assert home.here("run") == 0
    assert outcomes(home) == {"outcome": ["absent"], "promised": [True], "promise": ["kept"], "place": [True]}
    assert home.runs()[0]["deliveries"] == 0
    for name in ("mappings/answer_codes.csv", "mappings/question_roles.csv"):
        (home.path / name).unlink()  # the starting set holds, which maps none of these questions
    for name in ("inputs/payments.csv", "inputs/accounts.csv"):
        (home.path / name).unlink()
    assert home.here("run") == 0
    assert outcomes(home) == {"outcome": [None], "promised": [None], "promise": [], "place": [None]}


FILES = """mappings/question_roles.csv mappings/answer_codes.csv mappings/settings.csv inputs/payments.csv
    inputs/accounts.csv""".split()


def test_every_file_that_is_edited_comes_or_goes_makes_the_next_run_look(tmp_path: Path) -> None:
    home = BuiltHome(tmp_path / "home")
    home.land(visit("1"))
    home.run()
    for name in FILES:
        for change in (lambda path: path.write_text("a"), lambda path: path.write_text("b"), Path.unlink):
            assert run.is_current(home.files)
            path = home.path / name
            path.parent.mkdir(exist_ok=True)
            change(path)
            assert not run.is_current(home.files)
            home.run()


@pytest.mark.parametrize("name", ["mappings/settings.csv", "inputs/payments.csv"])
def test_a_file_that_is_edited_while_a_run_is_at_work_is_taken_in_by_the_next_one(tmp_path: Path, name: str) -> None:
    home = BuiltHome(tmp_path / "home")
    home.land(visit("1"))

    for is_current in (False, True):
        with lock(home.files), without_marts():
            run.run(home.files, lambda _: home.edit(name, PAYMENTS))
        assert run.is_current(home.files) is is_current


# ---------------------------------------------------------------- builds that broke off, and second thoughts


def break_off(home: BuiltHome) -> None:
    """A build whose models stand, and which came to no end: its checks failed, or somebody stopped it."""
    built = dbt.build

    def failing(home: Home, *, full: bool) -> None:
        built(home, full=full)
        raise FaultError("a check failed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dbt, "build", failing)
        with pytest.raises(FaultError):
            home.build()


@pytest.mark.parametrize("name", ["mappings/answer_codes.csv", "inputs/accounts.csv"])
@pytest.mark.slow
def test_an_edit_that_was_taken_back_after_its_build_failed_leaves_no_trace(
    built: BuiltHome, home: BuiltHome, name: str
) -> None:
    if name.startswith("inputs"):
        home.place(("130", 20.5, -99.1332))
    else:
        home.edit(name, CODES.replace("no_contact", "absent"))
    break_off(home)
    if name.startswith("inputs"):
        (home.path / name).unlink()
    else:
        home.edit(name, CODES)
    home.build()
    assert differences(home.files.published, built.files.published) == {}


def test_the_promised_names_are_those_of_metrics_and_landed_visits_fill_them(built: BuiltHome) -> None:
    assert missing(built) == {}
    filled = {table for table in PROMISED if built.values(f"select count(*) from w.marts.{table}") != [0]}
    assert PROMISED.keys() - filled <= {"legs"}


@pytest.mark.slow
def test_absurd_amounts_and_years_stop_no_build(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    home = settled(tmp_path_factory).copy(tmp_path / "home")
    absurd = [promise(f"absurd{n}", 20, "9999-12-31", answers={"Monto": "99999999999999"}) for n in range(110)]
    home.land(*absurd, visit("far", 20, startDate="9999-12-31 23:59:59", endDate="0000-01-01 00:00:00"))
    home.build()
    query = "select count(*), max(promise_amount) from w.marts.promises where visit_id like 'absurd%'"
    assert home.rows(query) == [{"count_star()": 110, "max(promise_amount)": Decimal(99999999999999)}]
    assert home.values("select promise_amount from w.marts.outcomes_daily where promises = 110") == [None]
    assert home.values("select end_local from w.kobra.visits where visit_id = 'far'") == [None]
