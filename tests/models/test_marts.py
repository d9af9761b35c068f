"""The models say what the rules say: streams of odd visits, built step by step or at once, against the oracle."""

import csv
import os
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import marts_oracle
import pytest
import streams
from kobra_home import Home, Post
from marts_visits import Mappings

from pipelines.build import build as marts
from pipelines.build.mappings import STARTING_SET, init

AS_OF = date(2026, 11, 4)
SEEDS = range(int(os.environ.get("KOBRA_STREAMS", "1")))  # 30 for a long look
SIZE = 150
KEYS = {
    "visits": ("source", "visit_id"),
    "visit_quality": ("source", "visit_id"),
    "legs": ("source", "visit_id"),
    "promises": ("source", "visit_id"),
    "revisits": ("source", "visit_id"),
    "account_episodes": ("source", "account_id", "product_id", "episode_no"),
    "outcomes_daily": ("source", "product_id", "local_date"),
    "agent_days": ("source", "agent_key", "local_date"),
    "contact_hours": ("source", "product_id", "iso_dow", "local_hour"),
    "label_mix": ("source", "product_id", "month", "outcome", "label_key"),
    "payment_methods": ("source", "month", "code"),
    "promise_cohorts": ("source", "due_month", "agent_key"),
    "data_quality": ("source", "local_date", "check"),
    "agents": ("source", "agent_key"),
    "accounts": ("source", "account_id"),
    "questions": ("source", "product_id", "question_id", "question_name", "answer_name", "answer_type_id"),
    "reconciliation": ("source", "received_date"),
}


class Marts(Home):
    """A home whose files are edited and whose marts are built."""

    def build(self, *, full: bool = False) -> None:
        with self.warehouse.lock():
            marts.run(self.warehouse, lambda _: None, AS_OF, full=full)

    def edit(self, name: str, rows: Sequence[dict[str, str]]) -> None:
        """Write inputs/`name`.csv."""
        path = self.path / "inputs" / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list({column: None for row in rows for column in row}))
            writer.writeheader()
            writer.writerows(rows)

    def map(self, lines: Mappings) -> None:
        """Put lines of a lender's own behind the starting set, for all who have no line of their own."""
        init(self.path / "mappings")
        for name, rows in lines._asdict().items():
            path = self.path / "mappings" / f"{name}.csv"
            with path.open(newline="", encoding="utf-8-sig") as file:
                there = list(csv.DictReader(file))
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, ["source", *there[0]], restval="")
                writer.writeheader()
                writer.writerows([*there, *rows])

    def table(self, name: str) -> list[dict[str, Any]]:
        return self.rows(f"from w.{name}")


def keyed(rows: Sequence[dict[str, Any]], key: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    found = {tuple(row[column] for column in key): row for row in rows}
    assert len(found) == len(rows), f"{key} does not tell rows apart"
    return found


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, int | float | Decimal) and isinstance(theirs, int | float | Decimal):
        return float(ours) == pytest.approx(float(theirs), rel=1e-9, abs=1e-6)
    return bool(ours == theirs)


def differences(name: str, ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> Iterator[str]:
    mine, told = keyed(ours, KEYS[name]), keyed(theirs, KEYS[name])
    for key in mine.keys() ^ told.keys():
        yield f"{name} {key} is only in the {'marts' if key in mine else 'oracle'}"
    for key in mine.keys() & told.keys():
        for column in sorted(mine[key].keys() & told[key].keys()):
            if not same(mine[key][column], told[key][column]):
                yield f"{name} {key} {column}: {mine[key][column]!r}, the oracle says {told[key][column]!r}"


def oracle(home: Marts, seed: int) -> dict[str, list[dict[str, Any]]]:
    kobra = {name: home.table(f"kobra.{name}") for name in
             ("visits", "visit_versions", "questions", "answers", "deliveries", "rejects")}  # fmt: skip
    mappings = Mappings.read(STARTING_SET).and_more(streams.OWN_LINES)
    return marts_oracle.marts(kobra, mappings, streams.payments(seed), streams.accounts(seed), AS_OF)


@pytest.fixture(params=SEEDS, ids="stream {}".format)
def streamed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Marts, int]:
    """A stream that came in batches, each loaded and built on its own."""
    home = Marts(tmp_path / "home")
    home.path.mkdir()
    home.map(streams.OWN_LINES)
    home.edit("payments", streams.payments(request.param))
    for number, batch in enumerate(streams.stream(request.param, SIZE)):
        home.land(*(Post(*delivery) for delivery in batch))
        if number == 1:
            home.edit("accounts", streams.accounts(request.param))  # accounts may move after their visits
        home.build()
    return home, request.param


def test_the_marts_hold_what_the_rules_say_and_step_by_step_the_same_as_at_once(streamed: tuple[Marts, int]) -> None:
    home, seed = streamed
    expected = oracle(home, seed)
    step_by_step = {name: home.table(f"marts.{name}") for name in KEYS}
    found = [line for name in KEYS for line in differences(name, step_by_step[name], expected[name])]
    assert not found, "\n".join(found)
    home.build(full=True)
    for name in KEYS:
        assert list(differences(name, home.table(f"marts.{name}"), step_by_step[name])) == []
