"""Usual visits are read on a short cut: whoever takes it arrives where the long way leads."""

import json
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kobra_home import encoded, example

from pipelines.contract import ANSWER, ANSWERS, CHECKLIST, QUESTION, TOP_LEVEL
from pipelines.load import parse as reading
from pipelines.load.batches import documents_of
from pipelines.load.flatten import flattener
from pipelines.sample.visits import deliveries
from receiver import rawstore

NUMBERS = ("0", "-0", "7", "1500.50", "1e3", "-0.0", "110105499609.0", "18446744073709551617", "1e400", "9" * 40)
NUMBER = "a number stands here: "
PLAIN = st.one_of(
    st.none(), st.booleans(), st.text(max_size=3), st.sampled_from([f"{NUMBER}{number}" for number in NUMBERS])
)
ANYTHING = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)


def objects(names: tuple[str, ...], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these fields in any order, now and then with a strange value or a strange field."""
    usual = dict.fromkeys(names, PLAIN) | more
    fields = st.lists(
        st.sampled_from(sorted(usual)).flatmap(
            lambda name: st.tuples(st.just(name), usual[name] if name in more else PLAIN | ANYTHING)
        )
    )
    strange = st.lists(st.tuples(st.sampled_from(("zona", "0", "")), ANYTHING), max_size=1)
    return st.tuples(fields, strange).map(lambda both: dict(both[0] + both[1]))


ANSWER_LISTS = st.lists(objects(ANSWER), max_size=2)
CHECKLISTS = st.lists(objects(QUESTION, **{ANSWERS: ANSWER_LISTS | ANYTHING}), max_size=2)
VISITS = objects(tuple(TOP_LEVEL), **{CHECKLIST: CHECKLISTS | ANYTHING})


def body(payload: object) -> bytes:
    """JSON in which the numbers stand as spelled."""
    text = json.dumps(payload)
    for number in sorted(NUMBERS, key=len, reverse=True):
        text = text.replace(f'"{NUMBER}{number}"', number)
    return text.encode()


def both_ways(sent: bytes) -> tuple[Any, Any]:
    """The rows that are made of a body on the short cut and on the long way."""
    delivery = rawstore.delivery("id", "2026-03-01T12:00:00Z", "source", sent)
    with flattener(lambda _: "MX") as flatten:
        (short,) = flatten(documents_of([("segment", 1, delivery)]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "_parse_usual", refuse)
            (long,) = flatten(documents_of([("segment", 1, delivery)]))
    return tuple({name: rows.to_pylist() for name, rows in tables.items()} for tables in (short, long))


def refuse(_text: str) -> None:
    raise reading.msgspec.DecodeError("this way is closed")


@settings(max_examples=60, deadline=None)
@given(VISITS)
def test_any_visit_reads_the_same_both_ways(payload: dict[str, Any]) -> None:
    short, long = both_ways(body(payload))
    assert short == long


@pytest.mark.parametrize("field", ["visitID", "comment", "zona"])
def test_of_a_key_that_comes_twice_the_last_counts_both_ways(field: str) -> None:
    twice = b'{"visitID": "A", "%s": "first", "%s": {"b": 1, "a": 2.50}}' % (field.encode(), field.encode())
    short, long = both_ways(twice)
    assert short == long


def test_the_sample_reads_the_same_both_ways_and_mostly_on_the_short_cut() -> None:
    cut = 0
    for number, sent in enumerate(islice(deliveries(2000, seed=9), 2000)):
        delivery = rawstore.delivery("id", "at", "source", sent.body)
        if delivery.body_encoding or sent.body.count(b"[" * 100) or sent.body.count(b'{"a":' * 100):
            continue
        if number % 100 == 0:
            short, long = both_ways(sent.body)
            assert short == long
        try:
            reading._parse_usual(sent.body)
            cut += 1
        except reading.msgspec.DecodeError:
            pass
    assert cut > 1500


def test_kobras_own_example_is_a_usual_visit() -> None:
    reading._parse_usual(encoded(example()))
