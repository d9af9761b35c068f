"""History comes in through the same landing, from files of many kinds, and never twice."""

import gzip
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard
from kobra_home import Home, Post, encoded, instant, later, small

from pipelines.load.import_files import bring_in
from receiver import rawstore

VISITS = [small(f"v{n}", comment="¿Ñandú? / 👍") for n in range(3)]
BODIES = [encoded(visit) for visit in VISITS]
RECEIVED = [later(days=-n, seconds=n) for n in range(3)]


def envelope(at: str, body: Any, **more: Any) -> dict[str, Any]:
    return {"received_at": at, "source": "lender_a", "body": body} | more


def ndjson(*values: Any) -> bytes:
    return b"".join(encoded(value) + b"\n" for value in values)


def zipped(members: dict[str, bytes]) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


ENVELOPES = [envelope(instant(at), body.decode()) for at, body in zip(RECEIVED, BODIES, strict=True)]
RECORDS = b"".join(rawstore.encode(Post(body, at).record()) for at, body in zip(RECEIVED, BODIES, strict=True))
# Files that all hold the same three deliveries; the first group says when they came.
DATED: dict[str, bytes] = {
    "envelopes.ndjson": ndjson(*ENVELOPES),
    "envelopes.json": encoded(ENVELOPES),
    "pretty.json": json.dumps(ENVELOPES, indent=2).encode(),
    "bodies_as_objects.ndjson": b"".join(
        b'{"source":"lender_a","received_at":"%b","body":%b}\n' % (instant(at).encode(), body)
        for at, body in zip(RECEIVED, BODIES, strict=True)
    ),
    "records.jsonl": RECORDS,
    "records.jsonl.gz": gzip.compress(RECORDS),
    "records.jsonl.zst": zstandard.compress(RECORDS),
    "frames.jsonl.zst": b"".join(map(zstandard.compress, RECORDS.splitlines(keepends=True))),
    "members.jsonl.gz": b"".join(map(gzip.compress, RECORDS.splitlines(keepends=True))),
    "windows.ndjson": b"\xef\xbb\xbf" + ndjson(*ENVELOPES).replace(b"\n", b"\r\n") + b"\r\n\r\n",
}
BARE: dict[str, bytes] = {
    "payloads.ndjson": b"\n".join(BODIES),
    "payloads.json": b"[" + b", ".join(BODIES) + b"]",
    "payloads.ndjson.gz": gzip.compress(b"\n".join(BODIES)),
    "payloads.zst": zstandard.compress(b"\n\n".join(BODIES) + b"\n"),
}
SPANISH = encoded(small("v3", client="José Ñandú"))
# Files whose names, compression or encoding are not what they should be; each holds SPANISH.
PLAINLY_MEANT: dict[str, bytes] = {
    "compressed.json": gzip.compress(SPANISH),
    "compressed.gz": zstandard.compress(SPANISH),
    "visits.zip": zipped({"visits.ndjson": SPANISH}),
    "utf16.ndjson": SPANISH.decode().encode("utf-16"),
    "utf16-without-a-mark.json": SPANISH.decode().encode("utf-16-le"),
    "utf16.gz": gzip.compress(SPANISH.decode().encode("utf-16-be")),
    "windows.ndjson": SPANISH.decode().encode("cp1252"),
    "windows-array.json": b"[" + SPANISH.decode().encode("cp1252") + b"]",
}
ALL = DATED | BARE


class Counts(NamedTuple):
    """What was read, landed, and known already."""

    read: int
    landed: int
    known: int


Bring = Callable[..., Counts]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def bring(home: Home, tmp_path: Path) -> Bring:
    """Bring in a file of this name and content."""

    def bring(name: str, content: bytes, source: str | None = "lender_a") -> Counts:
        path = tmp_path / name
        path.write_bytes(content)
        return Counts(*bring_in(home.raw, [path], source)[:3])

    return bring


def landed(home: Home) -> list[rawstore.Delivery]:
    found = [item for path in home.segments() for item in rawstore.read_segment(path)]
    return sorted((item.delivery for item in found if isinstance(item, rawstore.Landed)), key=lambda each: each.body)


@pytest.mark.parametrize("name", ALL)
def test_a_file_of_this_kind_lands_byte_for_byte(home: Home, bring: Bring, name: str) -> None:
    assert bring(name, ALL[name]) == (3, 3, 0)
    assert [each.exact_body() for each in landed(home)] == BODIES
    assert {each.source for each in landed(home)} == {"lender_a"}


@pytest.mark.parametrize("name", PLAINLY_MEANT)
def test_what_is_plainly_meant_is_read(home: Home, bring: Bring, name: str) -> None:
    assert bring(name, PLAINLY_MEANT[name]) == (1, 1, 0)
    assert [each.exact_body() for each in landed(home)] == [SPANISH]


@pytest.mark.parametrize("name", DATED)
def test_a_dated_delivery_lands_in_its_own_day_under_its_own_time(home: Home, bring: Bring, name: str) -> None:
    bring(name, DATED[name], None)
    assert [each.received_at for each in landed(home)] == [instant(at) for at in RECEIVED]
    assert [folder.name for folder in rawstore.partitions(home.raw)] == [
        "received_date=2026-02-27", "received_date=2026-02-28", "received_date=2026-03-01",
    ]  # fmt: skip
    ids = [each.delivery_id for each in landed(home)]
    assert ids == sorted(ids, reverse=True)  # ids sort by the time of arrival; these came the last one first


def test_what_is_one_pretty_printed_object_is_one_delivery(home: Home, bring: Bring) -> None:
    body = json.dumps(VISITS[0], indent=4).encode()
    assert bring("one.json", body + b"\n") == (1, 1, 0)
    assert landed(home)[0].exact_body() == body


def test_nothing_lands_twice_from_whatever_file(home: Home, bring: Bring) -> None:
    assert bring("records.jsonl", DATED["records.jsonl"]).landed == 3
    for name, content in DATED.items():
        assert bring(f"again-{name}", content) == (3, 0, 3)
    for name, content in BARE.items():
        assert bring(f"again-{name}", content) == (3, 0, 3)
    assert len(landed(home)) == 3


def test_what_stands_twice_in_a_file_lands_once(home: Home, bring: Bring) -> None:
    assert bring("twice.ndjson", b"\n".join([*BODIES, *BODIES])) == (6, 3, 3)
    assert bring("dated.ndjson", DATED["envelopes.ndjson"] * 2) == (6, 3, 3)


def test_the_same_body_at_another_time_or_from_another_source_is_another_delivery(home: Home, bring: Bring) -> None:
    assert bring("a.ndjson", ndjson(ENVELOPES[0])).landed == 1
    assert bring("b.ndjson", ndjson(ENVELOPES[0] | {"received_at": instant(later(seconds=0.000001))})).landed == 1
    assert bring("c.ndjson", ndjson(ENVELOPES[0] | {"source": "lender_b"})).landed == 1
    assert bring("d.ndjson", BODIES[0], "lender_c").landed == 1


def test_what_the_receiver_landed_itself_does_not_land_again(home: Home, bring: Bring) -> None:
    home.land(*(Post(body, at) for body, at in zip(BODIES, RECEIVED, strict=True)))
    store = b"".join(path.read_bytes() for path in home.segments())
    for name, content in (ALL | {"copied-segments.jsonl": store}).items():
        assert bring(name, content) == (3, 0, 3), name


def test_what_a_receiver_is_still_writing_does_not_land_again(home: Home, bring: Bring) -> None:
    writer = rawstore.Landing(home.raw)
    writer.append(RECEIVED[0].date(), [rawstore.encode(Post(BODIES[0], RECEIVED[0]).record())])
    assert bring("envelopes.ndjson", DATED["envelopes.ndjson"]) == (3, 2, 1)
    writer.close()


@pytest.mark.parametrize(
    ("sent", "lands", "day"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000000Z", "2026-03-01"),
        ("2026-03-01T12:00:00.123456Z", "2026-03-01T12:00:00.123456Z", "2026-03-01"),
        ("2026-03-01 12:00:00", "2026-03-01T12:00:00.000000Z", "2026-03-01"),
        ("2026-03-01T22:00:00-06:00", "2026-03-02T04:00:00.000000Z", "2026-03-02"),
        ("2026-03-01T01:00:00+02:00", "2026-02-28T23:00:00.000000Z", "2026-02-28"),
        ("2026-03-01", "2026-03-01T00:00:00.000000Z", "2026-03-01"),
    ],
)
def test_an_instant_without_a_zone_is_utc_and_one_with_an_offset_is_converted(
    home: Home, bring: Bring, sent: str, lands: str, day: str
) -> None:
    bring("one.ndjson", ndjson(envelope(sent, BODIES[0].decode())))
    (delivery,) = landed(home)
    (segment,) = home.segments()
    assert (delivery.received_at, str(rawstore.received_date(segment))) == (lands, day)


def test_a_body_that_is_not_utf8_comes_through_records_unchanged(home: Home, bring: Bring) -> None:
    body = '{"visitID":"Ñ"}'.encode("latin-1")
    assert bring("records.jsonl", rawstore.encode(Post(body).record())).landed == 1
    assert landed(home)[0].exact_body() == body


def test_a_damaged_line_is_landed_and_shows_among_the_rejects(home: Home, bring: Bring) -> None:
    half = BODIES[1][:20]
    assert bring("damaged.ndjson", b"\n".join([BODIES[0], half, BODIES[2]])).landed == 3
    assert bring("damaged-first.ndjson", b"\n".join([b"{half", BODIES[1]])).landed == 2
    home.run()
    assert home.values("select visit_id from visits order by all") == ["v0", "v1", "v2"]
    assert home.values("select reason from rejects") == ["not_json", "not_json"]


def test_history_that_came_in_later_takes_its_place_before_what_is_there(home: Home, bring: Bring) -> None:
    home.land(Post(encoded(small("v0", comment="today")), later()))
    home.run()
    old = encoded(small("v0", comment="long ago")).decode()
    bring("old.ndjson", ndjson(envelope(instant(later(days=-400)), old)))
    home.run()
    assert home.rows("select comment, versions from visits") == [{"comment": "today", "versions": 2}]
    assert home.values("select received_date::varchar from segments order by all") == ["2025-01-25", "2026-03-01"]


FAULTY = {
    "no-source.ndjson": (BODIES[0], "--source"),
    "damaged.ndjson.gz": (gzip.compress(b"\n".join(BODIES) * 50)[:-40], "cannot be read"),
    "damaged.zst": (zstandard.compress(b"\n".join(BODIES) * 50)[:-40], "cannot be read"),
    "cut-between-frames.zst": (zstandard.compress(BODIES[0] + b"\n") + zstandard.compress(BODIES[1])[:20], "cannot"),
    "no.gz": (b"this is no gzip", "cannot be read"),
    "table.csv": (b"visitID;agent\nU1;x\n", "table"),
    "two.zip": (zipped({"a.json": BODIES[0], "b.json": BODIES[1]}), "archive of 2 files"),
    "table.zip": (zipped({"a.csv": b"visitID,agent\nU1,x\n"}), "table"),
    "image.json": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "cannot be read"),
    "source-name.ndjson": (ndjson(envelope(instant(later()), "{}", source="a/b")), "source"),
    "damaged.ndjson.zst": (b"\x28\xb5\x2f\xfd and then nothing of the kind", "cannot be read"),
    "array.json": (b'[{"visitID":"1"},', "JSON array"),
    "when.ndjson": (ndjson(envelope("yesterday", "{}")), "received_at"),
    "far.ndjson": (ndjson(envelope("0001-01-01T00:00:00+14:00", "{}")), "received_at"),
    "before-computers.ndjson": (ndjson(envelope("1931-05-05T00:00:00Z", "{}")), "received_at"),
    "whose.ndjson": (ndjson(envelope(instant(later()), "{}", source=5)), "received_at"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_file_is_told_in_one_sentence_without_content_and_exit_code_2(
    home: Home, tmp_path: Path, name: str
) -> None:
    content, word = FAULTY[name]
    path = tmp_path / name
    path.write_bytes(content)
    done = home.kobra("import", *([] if "source" in name else ["--source", "lender_a"]), path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("kobra: ")
    assert done.stderr.count("\n") == 1
    assert word in done.stderr
    assert "yesterday" not in done.stderr
    assert "visitID" not in done.stderr


def test_a_missing_file_is_told_in_one_sentence_and_exit_code_2(home: Home) -> None:
    done = home.kobra("import", "--source", "lender_a", home.path / "nowhere.ndjson")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nowhere.ndjson" in done.stderr


def test_the_command_says_how_many_were_read_landed_and_known(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "payloads.ndjson"
    path.write_bytes(BARE["payloads.ndjson"])
    first, second = (home.kobra("import", "--source", "lender_a", path) for _ in range(2))
    assert first.stdout == "3 deliveries read, 3 landed, 0 known already\n"
    assert second.stdout == "3 deliveries read, 0 landed, 3 known already\n"
    assert first.returncode == second.returncode == 0


def test_an_empty_file_brings_nothing(home: Home, bring: Bring) -> None:
    assert bring("empty.ndjson", b"") == (0, 0, 0)
    assert bring("blank.ndjson", b"\n\n") == (0, 0, 0)
    assert landed(home) == []


# ---------------------------------------------------------------- odd deliveries


ODD = {
    "half a character": b'{"visitID":"odd","comment":"\\ud83d"}',
    "half a character in an envelope": b'{"source":"lender_a","body":"{\\"visitID\\":\\"odd \\ud83d\\"}"}',
    "a broken line": b'{"visitID":',
    "bytes that are no UTF-8": b'{"visitID":"odd","client":"Jos\xe9"}',
    "NaN": b'{"visitID":NaN}',
    "an envelope with a fault": encoded(envelope("yesterday", "{}")),
    "a number": b"12",
}


@pytest.mark.parametrize("kind", ODD)
def test_one_odd_delivery_stops_no_file_and_is_told(home: Home, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "some.ndjson"
    path.write_bytes(b"\n".join([*BODIES, ODD[kind], encoded(small("v9", client="Ñ"))]))
    done = home.kobra("import", "--source", "lender_a", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("5 deliveries read, 5 landed, 0 known already\n")
    home.run()
    assert home.values("select count(*) from visits where visit_id like 'v%'") == [4]
    assert len(home.values("select reason from rejects")) == done.stdout.count("some.ndjson, delivery 4: ")


def test_a_dry_run_says_what_would_land_and_lands_nothing(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "some.ndjson"
    path.write_bytes(b"\n".join([*BODIES, b"{"]))
    done = home.kobra("import", "--dry-run", "--source", "lender_a", path)
    assert done.stdout.startswith("4 deliveries read, 4 would land, 0 known already\n1 of them cannot be read")
    assert landed(home) == []


def test_nothing_of_any_file_lands_when_one_is_refused(home: Home, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.ndjson", tmp_path / "bad.csv"
    good.write_bytes(BODIES[0])
    bad.write_bytes(b"a;b\n1;2\n")
    assert home.kobra("import", "--source", "lender_a", good, bad).returncode == 2
    assert landed(home) == []


def test_a_bomb_is_refused_in_bounded_memory(home: Home, tmp_path: Path) -> None:
    compress = zstandard.ZstdCompressor(level=19).compressobj()
    bomb = b"".join(compress.compress(bytes(1 << 20)) for _ in range(600)) + compress.flush()
    program = (
        "import re, sys; from pathlib import Path; from pipelines import cli; code = cli.main(sys.argv[1:]);"
        "told = Path('/proc/self/status').read_text().replace(chr(9), ' ');"
        "print(re.search('VmHWM: *(.*) kB', told)[1]); sys.exit(code)"
    )
    environ = {key: value for key, value in os.environ.items() if not key.startswith("KOBRA_")}
    environ |= {"KOBRA_HOME": str(home.path)}
    for name, content in {"a.zst": bomb, "a.gz": gzip.compress(bytes(300 << 20))}.items():
        (tmp_path / name).write_bytes(content)
        command = [sys.executable, "-c", program, "import", "--source", "a", str(tmp_path / name)]
        done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True)
        assert (done.returncode, "longer than any visit" in done.stderr) == (2, True)
        assert int(done.stdout) >> 10 < 400
