"""Built run by run, the tables are those of one build of everything: whatever came, in whatever order."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from built_home import AS_OF, CODES, PAYMENTS, ROLES, BuiltHome, differences, own_project, visit
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from kobra_home import Post, later

from pipelines.build import build
from pipelines.build.dbt import ChecksFailedError

HISTORIES = int(os.environ.get("KOBRA_STREAMS", "1"))  # 30 for a long look
RUNS = [(12, 24), (3, 8), (2, 5)]  # how many deliveries, at least and at most
LATER = date(2026, 6, 1)

# Few of each, so that visits crowd: one account's, on one agent's day, at one spot.
SOURCES = ["lender_a", "lender_a", "lender_b"]
VISITS = [*"123456789abc"]
AGENTS: list[dict[str, Any]] = [
    {"agentID": "A1", "agent": "Eva"}, {"agentID": "A2", "agent": "Ana"}, {"agentID": "A2", "agent": "ANA"},
    {"agentID": None, "agent": "Eva"}, {"agentID": " ", "agent": " EVA"}, {"agentID": None, "agent": None},
]  # fmt: skip
ACCOUNTS = ["110", "110", "120", "130", None, ""]
ENDINGS = [{}, {}, {}, {"finished": False}, {"cancelled": True}, {"finished": None, "tagName": None}]
PLACES = [{}, {}, {"lat": 19.5, "lng": -99.1}, {"lat": None}, {"lat": 37.422, "lng": -122.084}]
ZONES = ["America/Mexico_City", "America/Mexico_City", "America/Tijuana", "CST", None]
PRODUCTS = [1, 1, 1, 2, None]
LABELS = ["Nadie", "NADIE", "Prometió", "Algo nuevo"]
SAID: list[dict[str, str | None]] = [
    {}, {"Contacto": "No"}, {"Con quién": "Titular", "Nombre": "Rosa"}, {"Monto": "mil", "Promesa": "Sí"},
    {"Promesa": "Sí", "Fecha de promesa": "2026-03-10", "Monto": "1000", "Método": "OXXO"},
    {"Promesa": "Sí", "Fecha de promesa": "2026-03-04", "Monto": "500.50"},
    {"Regresar": "Sí", "Fecha de regreso": "2026-03-05"}, {"¿Algo más?": None}, {"¿Algo más?": "no", "Monto": "7"},
]  # fmt: skip
UNREADABLE = [b"{", b"", b"[1]", b'{"visitID": " "}', b"\xff"]


class Run(NamedTuple):
    """What happens until one run, and the day as of which it builds. A file of None is none."""

    posts: list[Post]
    accounts: str | None
    payments: str | None
    as_of: date


@st.composite
def new_posts(draw: st.DrawFn) -> Post:
    """A version of one of a few visits."""
    changes = draw(st.sampled_from(AGENTS)) | draw(st.sampled_from(ENDINGS)) | draw(st.sampled_from(PLACES))
    post = visit(
        draw(st.sampled_from(VISITS)),
        draw(st.integers(2, 5)),
        **{
            "externalID": draw(st.sampled_from(ACCOUNTS)),
            "timeZone": draw(st.sampled_from(ZONES)),
            "productID": draw(st.sampled_from(PRODUCTS)),
            "tagName": draw(st.sampled_from(LABELS)),
            "answers": draw(st.sampled_from(SAID)),
            **changes,
        },
    )
    return post._replace(source=draw(st.sampled_from(SOURCES)), at=draw(arrivals))


arrivals = st.builds(lambda hours: later(hours=hours), st.integers(0, 200))
rejects = st.builds(Post, st.sampled_from(UNREADABLE), arrivals, st.sampled_from(SOURCES))
points = st.sampled_from(["19.4326,-99.1332", "19.5,-99.1", "20.1,-99", ","])
account_lines = st.builds("{},2026-03-01,{}".format, st.sampled_from(["110", "120", "130"]), points)
payment_lines = st.builds(
    "{},2026-03-{:02},{}".format,
    st.sampled_from(["110", "120", "999"]),
    st.integers(1, 20),
    st.sampled_from([100, 500, 1000]),
)


def _file(header: str, lines: list[str]) -> str:
    return header + "".join(f"{line}\n" for line in lines)


def _payments(lines: list[str]) -> str:
    return _file(PAYMENTS, [f"p{number},{line}" for number, line in enumerate(lines)])


@st.composite
def histories(draw: st.DrawFn) -> list[Run]:
    """Some runs: what is new, what comes again, now and then under another source, and what nobody can read."""
    runs, sent = list[Run](), list[Post]()
    for fewest, most in RUNS:
        kinds = st.one_of(new_posts(), new_posts(), new_posts(), rejects)
        posts = draw(st.lists(kinds, min_size=fewest, max_size=most))
        if sent:
            again = draw(st.lists(st.sampled_from(sent), min_size=1, max_size=4))
            posts += [post._replace(at=draw(arrivals)) for post in again]
        sent += posts
        accounts = st.lists(account_lines, min_size=1, max_size=3).map(
            lambda lines: _file("external_id,as_of_date,lat,lng\n", lines)
        )
        runs.append(
            Run(
                posts,
                draw(st.one_of(accounts, accounts, st.none())),
                draw(st.none() | st.lists(payment_lines, max_size=3).map(_payments)),
                draw(st.sampled_from([AS_OF, LATER])),
            )
        )
    assume(all(moves(runs, field) for field in ("externalID", "agentID", "startDate")))
    assume(len({run.accounts for run in runs}) > 1)
    assume({post.source for post in sent} == {*SOURCES})
    return runs


def moves(runs: list[Run], field: str) -> bool:
    """Whether a later run has a visit with another value of this field."""
    seen: dict[tuple[str, Any], set[Any]] = {}
    for number, run in enumerate(runs):
        for source, payload in [
            (post.source, json.loads(post.body)) for post in run.posts if b"finished" in post.body
        ]:
            before = seen.setdefault((source, payload["visitID"]), set())
            if before - {(number, payload[field])} and payload[field] not in {value for _, value in before}:
                return True
            before.add((number, payload[field]))
    return False


def history_of(count: int, then: Callable[[list[Run]], None]) -> Callable[[], None]:
    """What is to hold of so many histories. Nothing is shrunk: a history takes its time."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize="KOBRA_STREAMS" not in os.environ,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )(given(histories())(then))


def assert_as_built_at_once(history: list[Run]) -> None:
    with TemporaryDirectory() as folder:
        home = BuiltHome(Path(folder, "home"))
        home.path.mkdir()
        home.edit("mappings/question_roles.csv", ROLES)
        home.edit("mappings/answer_codes.csv", CODES)
        for number, run in enumerate(history):
            home.land(*run.posts)
            for name, text in (("accounts", run.accounts), ("payments", run.payments)):
                path = home.edit(f"inputs/{name}.csv", text or "")
                if text is None:
                    path.unlink()
            home.build(run.as_of)
            assert home.runs()[0]["is_full"] is (number == 0)
        run_by_run = Path(folder, "run by run.duckdb")
        shutil.copy(home.files.published, run_by_run)
        home.build(history[-1].as_of, full=True)
        assert differences(run_by_run, home.files.published, "landed", "kobra", "marts", "wide") == {}
        # From nothing it is one load: contents land once, and wide tables have another order of columns.
        at_once = BuiltHome(Path(folder, "at once"))
        for name in ("raw", "mappings", "inputs"):
            shutil.copytree(home.path / name, at_once.path / name)
        at_once.build(history[-1].as_of)
        assert differences(run_by_run, at_once.files.published, "kobra", "marts") == {}


def test_built_run_by_run_the_tables_are_those_of_one_build_of_everything() -> None:
    history_of(HISTORIES, assert_as_built_at_once)()


def _without_old_places(project: Path, _: pytest.MonkeyPatch) -> None:
    model = project / "models" / "intermediate" / "int_changed_keys.sql"
    text = model.read_text()
    assert "{{ source('landed', 'visits') }}" in text
    model.write_text(text.replace("{{ source('landed', 'visits') }}", "{{ ref('kobra_visits') }}"))


def _without_moved_accounts(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(build, "_OF_MOVED_ACCOUNTS", "select '' as source, '' as visit_id")


def _without_later_contents(project: Path, _: pytest.MonkeyPatch) -> None:
    model = project / "models" / "intermediate" / "int_changed_visits.sql"
    text = model.read_text()
    assert "where is_new" in text
    model.write_text(text.replace("where is_new", "where is_new and item > 1"))


@pytest.mark.slow
@pytest.mark.parametrize("broken", [_without_old_places, _without_moved_accounts, _without_later_contents])
def test_a_build_that_forgets_something_is_caught(
    broken: Callable[[Path, pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(own_project(tmp_path, monkeypatch), monkeypatch)
    with pytest.raises((AssertionError, ChecksFailedError)):
        history_of(5, assert_as_built_at_once)()
