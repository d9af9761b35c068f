"""Any order, any batching, any number of resends: the same tables."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb
import fast_build
import oracle
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kobra_home import NOON, Home, Post, encoded, instant, micros, small

from pipelines.load import batches, load
from receiver import rawstore

EXAMPLES = int(os.environ["KOBRA_EXAMPLES"]) if "KOBRA_EXAMPLES" in os.environ else None
"""Streams, each of seven histories on average: 300 for a long look."""
MOMENTS = [NOON + timedelta(microseconds=step) for step in (0, 1, 2, 999, 1000, 60_000_000)]
WORDS = ("Titular", "Sí", "", "Ñandú 👍", "a/b")
answer_lists = st.lists(st.lists(st.sampled_from(WORDS), max_size=2), max_size=3)
optional = st.sampled_from([None, True, False])


class Batch(NamedTuple):
    """Segments that one load finds waiting."""

    segments: list[list[rawstore.Delivery]]


@st.composite
def payloads(draw: st.DrawFn) -> dict[str, Any]:
    end = draw(st.sampled_from([None, "0000-00-00 00:00:00", "2026-03-01 10:00:00", "2026-03-01 10:00:01"]))
    payload: dict[str, Any] = {"finished": draw(optional), "cancelled": draw(optional), "endDate": end}
    payload["tagName"] = draw(st.sampled_from([None, *WORDS]))
    checklist = draw(st.none() | answer_lists)
    payload["checklist"] = checklist and [
        {"questionName": f"¿{place}?", "answers": [{"value": value} for value in values]}
        for place, values in enumerate(checklist)
    ]
    payload["phones"] = draw(st.none() | st.lists(st.sampled_from(["1", "2"]), max_size=2))
    return payload


@st.composite
def bodies(draw: st.DrawFn, payload: dict[str, Any]) -> bytes:
    """The same content in one of the ways in which it may be written."""
    keys = draw(st.permutations(sorted(payload)))
    text = json.dumps(
        {key: payload[key] for key in keys},
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1])),
    )
    return (text.replace("/", "\\/") if draw(st.booleans()) else text).encode()


@st.composite
def histories(draw: st.DrawFn) -> list[Post]:
    """Everything that came of a few visits, from two lenders that use the same ids."""
    posts = []
    for visit_id in "AB"[: draw(st.integers(1, 2))]:
        sent = draw(st.lists(payloads(), min_size=1, max_size=4))
        if draw(st.booleans()):  # alike in all that the rule looks at but the time of arrival
            sent = [sent[0] | {"tagName": word} for word in WORDS[:3]]
        contents = [{"visitID": visit_id, **payload} for payload in sent]
        for content in draw(st.lists(st.sampled_from(contents), min_size=1, max_size=6)):
            posts.append(
                Post(draw(bodies(content)), draw(st.sampled_from(MOMENTS)), draw(st.sampled_from(["a", "a", "b"])))
            )
    if draw(st.booleans()):
        posts.append(Post(b"{", draw(st.sampled_from(MOMENTS)), "a"))
    return posts


@st.composite
def drawn_batches(draw: st.DrawFn) -> list[Batch]:
    """Many visits' histories, shuffled into segments, the segments spread over loads."""
    several = draw(st.lists(histories(), min_size=2, max_size=12))
    posts = [
        post._replace(body=post.body.replace(b'"visitID": "', b'"visitID": "%d-' % number))
        for number, history in enumerate(several)
        for post in history
    ]
    tails = draw(st.permutations(range(len(posts))))
    records = [
        rawstore.delivery(rawstore.delivery_id(micros(post.at), tail), instant(post.at), post.source, post.body)
        for post, tail in zip(draw(st.permutations(posts)), tails, strict=True)
    ]
    cuts = sorted(draw(st.lists(st.integers(0, len(records)), max_size=2)))
    segments = [records[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    found: list[Batch] = [Batch([])]
    for segment in segments:
        if found[-1].segments and draw(st.booleans()):
            found.append(Batch([]))
        found[-1].segments.append(segment)
    return found


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    """Every segment a load of its own, every delivery a chunk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "LOAD_SEGMENTS", 1)
        patch.setattr(batches, "CHUNK_DELIVERIES", 1)
        yield


def streams(examples: int | None) -> Callable[[Callable[[list[Batch]], None]], Callable[[], None]]:
    """So many batches drawn at random, new ones every time; None: a few, the same ones every time."""
    return lambda check: settings(
        max_examples=examples or 5,
        derandomize=examples is None,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if examples else [])],  # finding the smallest takes minutes
        suppress_health_check=list(HealthCheck),
    )(given(drawn_batches())(check))


def assert_as_defined(batches: list[Batch]) -> None:
    with TemporaryDirectory() as folder:
        home = Home(Path(folder))
        arrivals = []
        for batch in batches:
            for segment in batch.segments:
                home.land_records(segment)
                arrivals += map(oracle.arrival, segment)
            home.run()
            expected, rows = oracle.tables(arrivals), found(home)
            for table in oracle.TABLES:
                assert rows[table] == expected[table]
            assert home.values("select segment from segments order by all") == [
                rawstore.identity(path) for path in home.segments()
            ]


def test_any_order_and_any_batching_of_any_resends_gives_the_tables_of_the_definitions() -> None:
    streams(EXAMPLES)(assert_as_defined)()


@pytest.mark.slow
def test_a_loader_for_which_the_last_arrival_wins_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "coalesce(finished, false) or coalesce(cancelled, false),\n                end_local nulls first,"
    models = [(*of, query.replace(rule, "")) for *of, query in fast_build.models()]
    assert models != [tuple(model) for model in fast_build.models()]
    monkeypatch.setattr(fast_build, "models", lambda: models)
    with pytest.raises(AssertionError):
        streams(None)(assert_as_defined)()


# ---------------------------------------------------------------- several writers


def land_crosswise(home: Home) -> list[list[str]]:
    """Two writers, of which the one that began first ends last; what is loaded after each of them ends."""
    first, second = rawstore.Landing(home.raw), rawstore.Landing(home.raw)
    for writer, name in ((first, "a"), (second, "b")):
        record = Post(encoded(small(name))).record()
        writer.append(NOON.date(), [rawstore.encode(record)])
    loaded = []
    for writer in (second, first):
        writer.close()
        home.run()
        loaded.append(home.values("select visit_id from visits order by all"))
    return loaded


def test_a_segment_that_began_earlier_and_ends_later_is_loaded_when_it_ends(tmp_path: Path) -> None:
    assert land_crosswise(Home(tmp_path)) == [["b"], ["a", "b"]]


def test_a_loader_that_remembers_only_the_last_segment_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = load.taken

    def up_to_the_last(connection: duckdb.DuckDBPyConnection) -> dict[rawstore.Key, str]:
        last = max(honest(connection), default=None)
        keys = map(rawstore.key, rawstore.closed(tmp_path / "raw").values())
        return {key: key.name for key in keys if last and key <= last}

    monkeypatch.setattr(load, "taken", up_to_the_last)
    assert land_crosswise(Home(tmp_path))[-1] == ["b"]


def found(home: Home) -> oracle.Rows:
    with home.reading() as connection:
        return {name: sorted(connection.execute(query).fetchall(), key=repr) for name, query in oracle.TABLES.items()}
