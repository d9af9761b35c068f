"""One poisonous delivery harms nobody but itself."""

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from kobra_home import Home, Post, encoded, example, later, small

from pipelines.contract import REJECTS
from pipelines.load import batches
from pipelines.load.parse import Visit, read_body
from pipelines.sample.malformed import POISON, spoiled
from receiver.rawstore import Delivery

GOOD_EACH = 1000  # among which each kind of poison comes once
NAME = "SECRETISIMA"  # stands in every body below; nothing of a body may turn up in a reject
LOADS = "loads"
EITHER = ("loads", "too_deep")  # nested nearly as deep as can be read


def nested(depth: int) -> str:
    return "[" * depth + "1" + "]" * depth


def wrapped(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def raw(fields: str) -> bytes:
    """A visit of which some fields are written by hand."""
    return f'{{"visitID":"VID","client":"{NAME}",{fields}}}'.encode()


def text(**fields: Any) -> bytes:
    return encoded({"visitID": "VID", "client": NAME} | fields)


MIB = 1 << 20


def keys(number: int) -> str:
    """So many keys of which the greatest comes first."""
    return ",".join(['"zzzzzz":1', *(f'"{at:06}":1' for at in range(number - 1))])


OURS: dict[str, tuple[bytes, str | tuple[str, ...]]] = {
    "an integer of 400 digits": (raw('"interest":' + "9" * 400), LOADS),
    "an integer of 5 000 digits": (raw('"interest":' + "9" * 5000), LOADS),
    "a visit id of 5 000 digits": (b'{"visitID":' + b"9" * 5000 + b"}", "no_visit_id"),
    "a position of 5 000 digits": (raw('"phones":{"' + "9" * 5000 + '":"1"}'), LOADS),
    "a checklist position of 5 000 digits": (raw('"checklist":{"' + "9" * 5000 + '":{}}'), LOADS),
    "minus zero": (raw('"interest":-0,"lat":-0,"lng":-0.0'), LOADS),
    "1e400": (raw('"interest":1e400'), LOADS),
    "an exponent beyond any number": (
        raw(f'"agentID":1e-{"9" * 20},"externalID":1e{"9" * 20},"x":1e{"9" * 20}'), LOADS),
    "the same as the id": (b'{"visitID":1e99999999999999999999}', "no_visit_id"),
    "1e308 as an account": (raw('"externalID":1e308'), LOADS),
    "1e-400": (raw('"lat":1e-400,"lng":1e-400'), LOADS),
    "a NUL in the visit id": (text(visitID="VI\0D"), LOADS),
    "a NUL in keys and values": (text(**{"cla\0ve": "va\0lor", "phones": [{"phone": "1\0", "k\0": "v"}]}), LOADS),
    "quotes and dots in keys": (text(**{'a.b"c\'d': 1, "$.x": 2, "": 3, "a[0]": 4, "*": 5, "a\\b": 6}), LOADS),
    "quotes and dots in keys of phones": (text(phones=[{'pho.ne"\'': 1, "": 2, "$": 3}, {"*": {"tel": 1}}]), LOADS),
    "SQL in everything": (text(visitID="VID'; drop table kobra.visits;--", comment="'); select 1 --"), LOADS),
    "a list as visit id": (text(visitID=["VID"]), "no_visit_id"),
    "an object as visit id": (text(visitID={"id": "VID"}), "no_visit_id"),
    "true as visit id": (text(visitID=True), "no_visit_id"),
    "a fraction as visit id": (text(visitID=1.5), "no_visit_id"),
    "300 KB in every text": (text(comment="ñ" * 300_000, tagName="x" * 300_000, agentID="9" * 300_000), LOADS),
    "300 KB as visit id": (text(visitID="V" * 300_000), LOADS),
    "300 KB as a key": (text(**{"k" * 300_000: 1}), LOADS),
    "5 000 questions": (text(checklist=[{"answers": [{"value": n}] * 2} for n in range(5000)]), LOADS),
    "5 000 answers": (
        text(checklist=[{"answers": [{"answerTypeID": 4, "value": str(n)} for n in range(5000)]}]), LOADS),
    "a checklist of odd things": (
        text(checklist=[None, 1, "x", [], True, {}, {"answers": [None, 1, "x", []]}]), LOADS),
    "phones of odd things": (text(phones=[None, 1, [], [1], True, {}, {"phone": {}}, {"phone": []}, "x"]), LOADS),
    **{
        f"{where} nested {depth} deep as {kind}": (raw(f'"{where}":{make(depth)}'), outcome)
        for where in ("extra", "comment", "checklist", "phones")
        for kind, make in (("lists", nested), ("objects", wrapped))
        for depth, outcome in ((200, LOADS), (900, EITHER), (5000, "too_deep"), (100_000, "too_deep"))
    },
    "an answer nested 200 deep": (raw(f'"checklist":[{{"answers":[{{"value":{nested(200)}}}]}}]'), LOADS),
    "a phone nested 200 deep": (raw(f'"phones":[{{"phone":{nested(200)},"x":{wrapped(200)}}}]'), LOADS),
    "nested too deep behind a byte order mark": (b"\xef\xbb\xbf" + raw(f'"x":{nested(100_000)}'), "too_deep"),
    "half an emoji": (raw('"comment":"\\ud83d"'), LOADS),
    "half an emoji as visit id": (raw('"visitID":"\\ud83d"'), LOADS),
    "half an emoji in a key": (raw('"\\ude00":"\\ud83d\\ud83d"'), LOADS),
    "a byte order mark": (b"\xef\xbb\xbf" + text(), LOADS),
    "a byte order mark and nothing else": (b"\xef\xbb\xbf", ("empty", "not_json")),
    "Latin-1": (text(comment="ÑANDÚ").decode().encode("latin-1"), "not_utf8"),
    "UTF-16": (text().decode().encode("utf-16"), "not_utf8"),
    "UTF-16 without a mark": (text().decode().encode("utf-16-le"), "not_json"),
    "bytes": (bytes(range(256)), "not_utf8"),
    "a UTF-8 surrogate": (b'{"visitID":"VID","comment":"\xed\xa0\xbd"}', "not_utf8"),
    "cut short": (text()[:-1], "not_json"),
    "cut short in an escape": (raw('"comment":"\\u00')[:-1], "not_json"),
    "an array": (b"[" + text() + b"]", LOADS),
    "an array without a visit": (b"[1, [], null]", "not_an_object"),
    "text": (encoded(NAME), "not_an_object"),
    "false": (b"false", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "empty": (b"", "empty"),
    "only spaces": (b" \t\r\n ", "empty"),
    "one NUL": (b"\0", "not_json"),
    "the same key twice": (raw('"visitID":"VID","interest":1,"interest":2'), LOADS),
    "NaN": (raw('"interest":NaN'), "not_json_number"),
    "Infinity": (raw('"lat":Infinity'), "not_json_number"),
    "comments": (raw('/* x */ "interest":1'), "not_json"),
    "a leading zero": (raw('"interest":007'), "not_json"),
    "a form": (f"visitID=VID&client={NAME}".encode(), "not_json"),
    # A MiB of everything that some parser, some day, reads in more than linear time.
    "70 000 keys, the greatest first": (raw(keys(70_000)), "too_many_keys"),
    "70 000 keys in an answer": (raw(f'"checklist":[{{"answers":[{{{keys(70_000)}}}]}}]'), "too_many_keys"),
    "70 000 keys of a phone": (raw(f'"phones":[{{{keys(70_000)}}}]'), "too_many_keys"),
    **{
        f"70 000 keys in JSON text as {where}": (text(**{where: f"{{{keys(70_000)}}}"}), LOADS)
        for where in ("checklist", "phones", "data")
    },
    **{
        f"JSON text nested {depth} deep as {where}": (text(**{where: make(depth)}), LOADS)
        for where in ("checklist", "phones", "data")
        for make in (nested, wrapped)
        for depth in (400, 900, 100_000)
    },
    "9 000 keys, the greatest first": (raw(keys(9_000)), LOADS),
    "9 000 keys of a phone": (raw(f'"phones":[{{"tel":"1",{keys(9_000)}}}]'), LOADS),
    "one key 150 000 times": (raw(",".join(['"a":1'] * 150_000)), LOADS),
    "a MiB of brackets": (b"[" * MIB, "too_deep"),
    "a MiB of braces": (b'{"a":' * (MIB // 5), "too_deep"),
    "350 000 lists": (raw(f'"x":[{",".join(["[]"] * 350_000)}]'), LOADS),
    "a checklist of 90 000 objects": (raw(f'"checklist":[{",".join(["{}"] * 90_000)}]'), LOADS),
    "60 000 checklists in each other's place": (raw(f'"checklist":{{{keys(9_000)}}}'), LOADS),
    "a MiB of digits": (raw(f'"externalID":{"9" * MIB}'), LOADS),
    "a MiB of decimals": (raw(f'"externalID":1.{"0" * MIB}'), LOADS),
    "a MiB of digits as visit id": (b'{"visitID":' + b"9" * MIB + b"}", "no_visit_id"),
    "a MiB of exponent": (raw(f'"agentID":1e{"9" * MIB},"lat":1e-{"9" * 9}'), LOADS),
    "a MiB of escapes": (raw('"comment":"' + "\\u00f1" * (MIB // 6) + '"'), LOADS),
    "a MiB of half emojis": (raw('"comment":"' + "\\ud83d" * (MIB // 6) + '"'), LOADS),
    "a MiB of quotation marks": (raw('"comment":"' + '\\"' * (MIB // 2)), "not_json"),
    "a MiB of text that is no phone": (raw(f'"phones":["{"5 " * (MIB // 2)}"]'), LOADS),
    "a MiB of blanks": (b" " * MIB, "empty"),
    "600 000 questions, packed": (
        gzip.compress(raw(f'"checklist":[{",".join(["{}"] * 600_000)}]')), "too_many_values"),
    "600 000 unknown values, packed": (gzip.compress(raw(f'"x":[{",".join("5" * 600_000)}]')), "too_many_values"),
    "a text with 600 000 commas": (raw(f'"comment":"{"," * 600_000}"'), LOADS),
    "a phone of 14 MiB, packed": (gzip.compress(raw(f'"phones":[{{"x":"{"a" * 14 * MIB}"}}]')), LOADS),
    "a phone with 90 000 numbers": (raw(f'"phones":["{" ".join(["5512345678"] * 90_000)}"]'), LOADS),
    "a bomb": (gzip.compress(bytes(64 << 20)), "packed"),
    "a packed visit": (gzip.compress(text()), LOADS),
}  # fmt: skip
REFUSED_MESS = {
    "nan_literal": "not_json_number", "infinity_literal": "not_json_number",
    "nul_byte": "not_json", "raw_line_break": "not_json", "nested_5000_deep": "too_deep", "latin1_bytes": "not_utf8",
    "utf16_bytes": "not_utf8", "truncated_json": "not_json", "trailing_comma": "not_json",
    "single_quotes": "not_json", "two_documents": "not_json",
    "json_text": "not_an_object", "json_number": "not_an_object", "json_null": "not_an_object",
    "empty_object": "no_visit_id", "empty_body": "empty", "white_space": "empty", "plain_text": "not_json",
    "html_page": "not_json", "form_encoded": "not_json",
}  # fmt: skip
KINDS = OURS | {
    mess.__name__: (
        spoiled(mess, encoded(example(visitID="VID", client=NAME)), Random(7).random),
        REFUSED_MESS.get(mess.__name__, LOADS),
    )
    for mess in POISON
}


class Fed:
    """A home that was fed all the poison, and under which delivery ids."""

    def __init__(self, home: Home, bad: dict[str, str], good: set[str]) -> None:
        self.home = home
        self.bad = bad
        self.good = good
        self.loaded = home.run()
        self.outcomes = {row["delivery_id"]: row for row in home.rows("from deliveries")}
        self.rejects = {row["delivery_id"]: row for row in home.rows("from rejects")}


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Fed:
    return feed(Home(tmp_path_factory.mktemp("poison")), GOOD_EACH)


def feed(home: Home, good_each: int) -> Fed:
    bad, good = {}, set[str]()
    for at, (kind, (body, _)) in enumerate(KINDS.items()):
        spoilt = body.replace(b'"VID', b'"V%d' % at)
        posts = [Post(encoded(small(f"good {at} {n}", comment="bien")), later(seconds=at)) for n in range(good_each)]
        ids = home.land(*posts[: good_each // 2], Post(spoilt, later(seconds=at)), *posts[good_each // 2 :])
        bad[kind] = ids.pop(good_each // 2)
        good.update(ids)
    return Fed(home, bad, good)


@pytest.mark.parametrize("kind", KINDS)
def test_poison_loads_or_is_rejected_with_a_reason(fed: Fed, kind: str) -> None:
    expected = KINDS[kind][1]
    reject = fed.rejects.get(fed.bad[kind])
    assert (reject["reason"] if reject else LOADS) in (expected if isinstance(expected, tuple) else (expected,))
    assert fed.outcomes[fed.bad[kind]]["outcome"] == ("rejected" if reject else "new")


def test_all_the_good_ones_load(fed: Fed) -> None:
    assert {fed.outcomes[name]["outcome"] for name in fed.good} == {"new"}
    assert fed.home.values("select count(*) from visits where comment = 'bien' and finished") == [len(fed.good)]


def test_visits_of_more_parts_than_memory_holds_at_once_load_among_the_good_ones(tmp_path: Path) -> None:
    home = Home(tmp_path)
    large = raw(f'"checklist":[{",".join(["{}"] * 340_000)}]')
    home.land(
        *(Post(large.replace(b"VID", b"large %d" % number), later(seconds=number)) for number in range(12)),
        *(Post(encoded(small(f"good {number}")), later(seconds=number)) for number in range(100)),
    )
    assert home.run().new == 112
    assert home.values("select count(*) from questions where visit_id like 'large%'") == [12 * 340_000]


def test_what_landed_is_new_or_duplicate_or_rejected(fed: Fed) -> None:
    landed = len(fed.good) + len(fed.bad)
    assert len(fed.outcomes) == landed == fed.loaded.deliveries
    assert fed.loaded.new + fed.loaded.duplicates + fed.loaded.rejected == landed
    assert fed.home.values("select sum(lines)::int from segments") == [landed]
    assert fed.home.values(
        "select count(*) from deliveries where outcome not in ('new', 'duplicate', 'rejected')"
    ) == [0]
    assert fed.rejects.keys() == {name for name, row in fed.outcomes.items() if row["outcome"] == "rejected"}


@pytest.mark.slow
def test_a_reader_that_passes_over_what_it_cannot_read_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = batches._Documents.add

    def add_readable(documents: batches._Documents, segment: str, line: int, delivery: Delivery) -> None:
        if all(isinstance(found, Visit) for found in read_body(delivery)):
            honest(documents, segment, line, delivery)

    monkeypatch.setattr(batches._Documents, "add", add_readable)
    with pytest.raises(AssertionError):
        test_what_landed_is_new_or_duplicate_or_rejected(feed(Home(tmp_path), 2))


def test_a_reject_names_a_known_reason_and_nothing_of_the_content(fed: Fed) -> None:
    assert {row["reason"] for row in fed.rejects.values()} <= REJECTS.keys()
    for row in fed.rejects.values():
        assert 10 < len(row["detail"]) < 200
        assert not any(word in row["detail"] for word in (NAME, "V1", 'interest":', "1.5", "html>"))


def test_a_rejected_delivery_has_no_visit_id_and_no_hash_but_its_place_in_the_raw_store(fed: Fed) -> None:
    for name, reject in fed.rejects.items():
        delivery = fed.outcomes[name]
        assert (delivery["visit_id"], delivery["content_hash"]) == (None, None)
        assert (delivery["segment"], delivery["line"]) == (reject["segment"], reject["line"])
        assert delivery["received_at"] == reject["received_at"]


def only(home: Home, query: str, kind: str, fed: Fed) -> Any:
    return home.values(f"{query} where visit_id = ?", fed.outcomes[fed.bad[kind]]["visit_id"])


def test_what_can_be_read_of_poison_is_read(fed: Fed) -> None:
    home = fed.home
    assert only(home, "select interest from visits", "an integer of 400 digits", fed) == [None]
    assert only(home, "select interest from visits", "the same key twice", fed) == [2.0]
    assert only(home, "select length(comment) from visits", "300 KB in every text", fed) == [300_000]
    assert only(home, "select comment from visits", "half an emoji", fed) == ["\ufffd"]
    assert only(home, "select client_name from visits", "a byte order mark", fed) == [NAME]
    assert only(home, "select count(*) from questions", "5 000 questions", fed) == [5000]
    assert only(home, "select count(*) from answers", "5 000 questions", fed) == [10_000]
    assert only(home, "select sum(value_number)::int from answers", "5 000 answers", fed) == [12_497_500]
    assert only(home, "select count(*) from questions", "a checklist of odd things", fed) == [7]
    assert only(home, "select count(*) from phones", "phones of odd things", fed) == [9]
    assert only(home, "select value from phones", "a NUL in keys and values", fed) == ["1\0"]
    (extra,) = only(home, "select extra from visits", "quotes and dots in keys", fed)
    assert json.loads(extra) == {"a.b\"c'd": 1, "$.x": 2, "": 3, "a[0]": 4, "*": 5, "a\\b": 6}
    (value,) = only(home, "select value from answers", "an answer nested 200 deep", fed)
    assert value == nested(200)
