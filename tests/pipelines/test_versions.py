"""Which content of a visit is current, and what is remembered of the others."""

import json
from datetime import datetime
from typing import Any, NamedTuple

import pytest
from kobra_home import Home, Post, encoded, later, small
from oracle import hash_of

EARLY, LATE = "2026-03-01 09:00:00", "2026-03-01 10:00:00"
QUESTIONS = [{"questionID": 1, "questionName": "¿?", "answers": [{"value": "a"}, {"value": "b"}]}, {"questionID": 2}]
TEXT = "Señora / «niño» 👍"


class Came(NamedTuple):
    """A content named `says` that comes so many seconds after noon."""

    says: str
    after: float
    fields: dict[str, Any] = {}  # noqa: RUF012

    def post(self, visit_id: str, source: str = "lender_a") -> Post:
        payload = {"visitID": visit_id, "comment": self.says, "finished": True} | self.fields
        return Post(encoded(payload), later(seconds=self.after), source)


OPEN, CANCELLED = {"finished": False}, {"finished": False, "cancelled": True}
UNKNOWN = {"finished": None, "cancelled": None}
GREATER, LESSER = sorted(
    ("x", "y"), key=lambda says: hash_of({"visitID": "the greater hash", "comment": says, "finished": True})
)[::-1]

# What came before the first load, what before the second, and who is current after each.
STORIES: dict[str, tuple[list[Came], list[Came], str, str]] = {
    "finished beats open that came later": ([Came("done", 0)], [Came("open", 9, OPEN)], "done", "done"),
    "finished beats open with a later end": (
        [Came("done", 0, {"endDate": EARLY})], [Came("open", 9, OPEN | {"endDate": LATE})], "done", "done"),
    "finished beats open that came before": ([Came("open", 0, OPEN)], [Came("done", 9)], "open", "done"),
    "finished that came before beats open already loaded": (
        [Came("open", 9, OPEN)], [Came("done", 0)], "open", "done"),
    "cancelled is as good as finished": ([Came("done", 0)], [Came("cancelled", 9, CANCELLED)], "done", "cancelled"),
    "cancelled beats open": ([Came("cancelled", 0, CANCELLED)], [Came("open", 9, OPEN)], "cancelled", "cancelled"),
    "unknown is open": ([Came("done", 0)], [Came("unknown", 9, UNKNOWN)], "done", "done"),
    "the latest end": (
        [Came("ends late", 0, {"endDate": LATE})], [Came("ends early", 9, {"endDate": EARLY})],
        "ends late", "ends late"),
    "the latest end in one load": (
        [Came("ends late", 0, {"endDate": LATE}), Came("ends early", 9, {"endDate": EARLY})], [],
        "ends late", "ends late"),
    "any end beats none": ([Came("ends", 0, {"endDate": EARLY})], [Came("endless", 9)], "ends", "ends"),
    "an unreadable end is none": (
        [Came("ends", 0, {"endDate": EARLY})], [Came("zero", 9, {"endDate": "0000-00-00 00:00:00"})], "ends", "ends"),
    "the one first received last": ([Came("one", 0)], [Came("two", 9)], "one", "two"),
    "the one first received last, whatever was loaded first": ([Came("two", 9)], [Came("one", 0)], "two", "two"),
    "a microsecond later is later": ([Came("two", 0.000001)], [Came("one", 0)], "two", "two"),
    "the greater hash": ([Came(LESSER, 0)], [Came(GREATER, 0)], LESSER, GREATER),
    "A B A": ([Came("A", 0), Came("B", 1), Came("A", 2)], [], "B", "B"),
    "A B, later A": ([Came("A", 0), Came("B", 1)], [Came("A", 2)], "B", "B"),
    "A, later B A A": ([Came("A", 0)], [Came("B", 1), Came("A", 2), Came("A", 3)], "A", "B"),
    "late arrival of an older version": ([Came("new", 9)], [Came("old", 0)], "new", "new"),
    # The first delivery of the current content turns up in a segment that came late: so it is older than another
    # one, which neither this load brings nor the table of visits holds any more.
    "the winner turns out older": ([Came("X", 5), Came("Y", 9)], [Came("Y", 0)], "Y", "X"),
    "the loser turns out older": ([Came("X", 5), Came("Y", 9)], [Came("X", 0)], "Y", "Y"),
    "three and the winner turns out older": (
        [Came("X", 5), Came("Z", 7), Came("Y", 9)], [Came("Y", 0), Came("Y", 20)], "Y", "Z"),
}  # fmt: skip


def written_otherwise(body: bytes) -> bytes:
    """The same JSON with other key order, spacing and escapes."""
    payload = json.loads(body)
    return json.dumps(dict(reversed(payload.items())), indent=2).replace("/", "\\/").encode()


A, B = (encoded(small("respelt", client=TEXT, comment=says, checklist=QUESTIONS)) for says in "AB")
FULL = small(
    "cleared", comment="x", agent="Ana", lat=1, lng=2, phones=["1"], emails=["a@x.mx"], checklist=QUESTIONS, y=1
)
NULLED = dict.fromkeys(FULL) | {"visitID": "cleared", "finished": True}
EMPTIED = {"checklist": [], "phones": [], "emails": []}
SHORTENED = {"checklist": QUESTIONS[:1]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("versions"))


@pytest.fixture(scope="module")
def after_one(home: Home) -> dict[str, Any]:
    """Visits by id after the first load."""
    home.land(
        *(came.post(story) for story, (first, *_) in STORIES.items() for came in first),
        Post(A, later(seconds=0)), Post(B, later(seconds=1)), Post(written_otherwise(A), later(seconds=2)),
        Post(encoded(FULL)),
        Post(encoded(FULL | {"visitID": "emptied"})), Post(encoded(FULL | {"visitID": "shortened"})),
        Came("of a", 0).post("shared"), Came("of b", 1).post("shared", "lender_b"),
    )  # fmt: skip
    home.run()
    return home.visits()


@pytest.fixture(scope="module")
def kobra(home: Home, after_one: dict[str, Any]) -> Home:
    """After the second load."""
    home.land(
        *(came.post(story) for story, (_, second, *_) in STORIES.items() for came in second),
        Post(written_otherwise(A), later(seconds=3)),
        Post(encoded(NULLED), later(seconds=9)),
        Post(encoded(FULL | {"visitID": "emptied"} | EMPTIED), later(seconds=9)),
        Post(encoded(FULL | {"visitID": "shortened"} | SHORTENED), later(seconds=9)),
        Came("of a again", 2).post("shared"),
    )
    home.run()
    return home


@pytest.mark.parametrize("story", STORIES)
def test_the_current_version_follows_the_rule(after_one: dict[str, Any], kobra: Home, story: str) -> None:
    *_, first, second = STORIES[story]
    assert after_one[story]["comment"] == first
    assert kobra.values("select comment from visits where visit_id = ?", story) == [second]


@pytest.mark.parametrize("story", STORIES)
def test_every_delivery_counts_once_as_new_or_as_a_duplicate(kobra: Home, story: str) -> None:
    first, second, *_ = STORIES[story]
    contents = {(came.says, *came.fields) for came in (*first, *second)}
    found = kobra.rows(
        "select count(*) as landed, count(*) filter (outcome = 'new') as new, "
        "count(*) filter (outcome = 'duplicate') as duplicates from deliveries where visit_id = ?", story,
    )  # fmt: skip
    landed = len(first) + len(second)
    assert found == [{"landed": landed, "new": len(contents), "duplicates": landed - len(contents)}]
    assert kobra.values("select versions from visits where visit_id = ?", story) == [len(contents)]
    assert kobra.values("select sum(deliveries)::int from visit_versions where visit_id = ?", story) == [landed]


@pytest.mark.parametrize("story", STORIES)
def test_exactly_one_version_is_current_and_it_is_the_visit(kobra: Home, story: str) -> None:
    assert kobra.rows(
        "select content_hash, valid_from, delivery_id, finished, cancelled, end_local from visit_versions "
        "where is_current and valid_to is null and visit_id = ?", story,
    ) == kobra.rows(
        "select content_hash, received_at as valid_from, delivery_id, finished, cancelled, end_local from visits "
        "where visit_id = ?", story,
    )  # fmt: skip
    assert kobra.values("select count(*) from visit_versions where valid_to is null and visit_id = ?", story) == [1]


def versions(kobra: Home, visit_id: str, source: str = "lender_a") -> list[tuple[Any, ...]]:
    rows = kobra.rows(
        "select version_no, epoch(valid_from - ?) as began, epoch(valid_to - ?) as ended, deliveries, is_current "
        "from visit_versions where visit_id = ? and source = ? order by version_no",
        later(), later(), visit_id, source,
    )  # fmt: skip
    return [tuple(row.values()) for row in rows]


def test_versions_are_numbered_as_they_came_and_hold_until_a_better_one_came(kobra: Home) -> None:
    assert versions(kobra, "the one first received last") == [(1, 0, 9, 1, False), (2, 9, None, 1, True)]
    assert versions(kobra, "A, later B A A") == [(1, 0, 1, 3, False), (2, 1, None, 1, True)]


def test_a_version_that_was_never_current_ends_as_it_begins(kobra: Home) -> None:
    assert versions(kobra, "the latest end") == [(1, 0, None, 1, True), (2, 9, 9, 1, False)]
    assert versions(kobra, "three and the winner turns out older") == [
        (1, 0, 5, 3, False), (2, 5, 7, 1, False), (3, 7, None, 1, True),
    ]  # fmt: skip


def test_an_older_version_that_came_in_late_takes_its_place_in_the_past(kobra: Home) -> None:
    assert versions(kobra, "late arrival of an older version") == [(1, 0, 9, 1, False), (2, 9, None, 1, True)]


def test_the_same_content_in_other_key_order_spacing_and_escapes_never_wins_again(
    after_one: dict[str, Any], kobra: Home
) -> None:
    assert written_otherwise(A) != A
    assert after_one["respelt"]["comment"] == "B"
    assert kobra.rows("select comment, client_name, versions from visits where visit_id = 'respelt'") == [
        {"comment": "B", "client_name": TEXT, "versions": 2}
    ]
    assert versions(kobra, "respelt") == [(1, 0, 1, 3, False), (2, 1, None, 1, True)]
    assert kobra.values("select content_hash from visit_versions where visit_id = 'respelt' order by version_no") == [
        hash_of(json.loads(A)), hash_of(json.loads(B)),
    ]  # fmt: skip


def test_an_update_that_sets_a_value_to_null_clears_it(after_one: dict[str, Any], kobra: Home) -> None:
    assert (after_one["cleared"]["comment"], after_one["cleared"]["agent_name"]) == ("x", "Ana")
    (visit,) = kobra.rows("from visits where visit_id = 'cleared'")
    assert (visit["comment"], visit["agent_name"], visit["lat"], visit["lng"]) == (None,) * 4
    assert json.loads(visit["extra"]) == {"y": None}


@pytest.mark.parametrize("table", ["questions", "answers", "phones", "emails"])
@pytest.mark.parametrize("visit_id", ["cleared", "emptied"])
def test_an_update_without_questions_phones_or_emails_takes_the_old_ones_away(
    kobra: Home, visit_id: str, table: str
) -> None:
    assert kobra.values(f"select count(*) from {table} where visit_id = ?", visit_id) == [0]


def test_an_update_with_fewer_questions_takes_the_others_away(kobra: Home) -> None:
    assert kobra.values("select question_pos from questions where visit_id = 'shortened'") == [1]
    assert kobra.values("select value from answers where visit_id = 'shortened' order by all") == ["a", "b"]


def test_what_an_update_repeats_stands_there_once(kobra: Home) -> None:
    assert kobra.values("select value from phones where visit_id = 'shortened'") == ["1"]
    assert kobra.values("select value from emails where visit_id = 'shortened'") == ["a@x.mx"]


def test_the_same_visit_id_of_two_sources_is_two_visits(after_one: dict[str, Any], kobra: Home) -> None:
    assert kobra.rows("select source, comment, versions from visits where visit_id = 'shared' order by source") == [
        {"source": "lender_a", "comment": "of a again", "versions": 2},
        {"source": "lender_b", "comment": "of b", "versions": 1},
    ]
    assert versions(kobra, "shared", "lender_b") == [(1, 1, None, 1, True)]


def test_a_content_that_came_back_brings_its_own_end(kobra: Home) -> None:
    assert kobra.values("select end_local from visits where visit_id = 'the latest end'") == [
        datetime.fromisoformat(LATE)
    ]
