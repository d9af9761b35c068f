"""A person who was forgotten is nowhere: no file under KOBRA_HOME holds a byte of theirs, nothing brings it back."""

import json
import os
import shutil
import stat
import subprocess
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pytest
import zstandard
from interruptions import DIED, Plan, finish
from kobra_home import KOBRA, Home, Post, encoded, example, later, small
from test_interrupted import differences, everything

from pipelines.load import load
from pipelines.privacy import retention
from pipelines.privacy.sweep import Erasure, marks_of
from pipelines.publish.export import earlier
from pipelines.publish.published import attached
from pipelines.sample.visits import deliveries
from pipelines.warehouse import database
from pipelines.warehouse.lock import lock
from receiver import rawstore

ACCOUNT, PHONE, MAIL = "0070071742", "+52 (55) 1234-0099", "Zoraida@Canaria.example"
WHO = ("--source", "lender_a", "--account", ACCOUNT, "--phone", "525512340099", "--email", "zoraida@canaria.EXAMPLE")
FORGET = ("forget", "--yes", *WHO)
# Whatever of them is in a file, one of these is; in small letters and without accents.
WORDS = [b"zoraida", b"ixtlilxochitl", b"1234-0099", b"525512340099", b"canaria", b"0070071742", b"visit-of-z"]
# A day that is not over, and not compressed, before the tests are: they may begin a minute before midnight.
TOMORROW = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


def canary(visit_id: str, **changes: object) -> dict[str, Any]:
    """One of their visits: the address in a comment and in an answer, a question that nobody else was asked."""
    asked = [
        {"questionID": 13, "questionName": "Nombre de la persona",
         "answers": [{"answerID": 1, "answerTypeID": 1, "answerName": "", "value": "Zoraida, Ixtlilxochitl 12"}]},
        {"questionID": 977, "questionName": "¿Vive Zoraida aquí?",
         "answers": [{"answerID": 2, "answerTypeID": 2, "answerName": "Zoraida", "value": "Ixtlilxochitl"}]},
    ]  # fmt: skip
    return example() | {
        "visitID": visit_id, "externalID": ACCOUNT, "client": "ZORAIDA CANARIA", "checklist": asked,
        "comment": "vive en Ixtlilxochitl 12", "phones": [], "emails": [], "nota": "Zoraida",
    } | changes  # fmt: skip


THEIRS = [
    Post(encoded(canary("visit-of-z1", finished=False)), later(seconds=5)),
    Post(encoded(canary("visit-of-z1")), later(seconds=50)),
    Post(encoded(canary("visit-of-z1")), later(seconds=300)),  # again
    Post(json.dumps(canary("visit-of-z1", comment="Ixtlilxochitl, otra vez")).encode(), later(seconds=301)),
    # A version that does not say whose it is.
    Post(encoded(canary("visit-of-z1", externalID=None)), later(days=1)),
    Post(encoded(canary("visit-of-z2", externalID="770", phones=[{"telefono": PHONE}])), later(days=1, seconds=1)),
    Post(encoded(canary("visit-of-z3", externalID=None, emails={"1": MAIL})), TOMORROW),
    Post(encoded(canary("visit-of-z4")), TOMORROW, "lender_a"),
]
# Not theirs: another lender's account of that number, and accounts that only nearly have it.
OTHERS = [
    Post(encoded(small("o1", externalID="70071742", client="Otra")), later(seconds=8)),
    Post(encoded(small("o2", externalID=70071742, phones=["5512340098"], emails=["x@y.example"])), later(days=1)),
    Post(b"{ not json", later(seconds=9)),
    *(Post(sent.body, later(days=n % 3, seconds=n)) for n, sent in enumerate(deliveries(60, seed=4)) if n < 60),
    *(Post(encoded(small(f"t{n}", externalID=n, comment="hoy")), TOMORROW) for n in range(9)),
]  # fmt: skip


def run(home: Home, *arguments: str, **more: Any) -> int:
    return finish(home.path, Plan(arguments=arguments, **more))


class Both:
    """The same deliveries twice: in a home with the person and in one that never had them."""

    def __init__(self, folder: Path) -> None:
        self.home, self.never = Home(folder / "home"), Home(folder / "never")
        records = [(post.record(), post in THEIRS) for post in [*THEIRS, *OTHERS]]
        records.sort(key=lambda each: each[0].delivery_id)
        self.others = [record for record, is_theirs in records if not is_theirs]
        self.theirs = [record for record, is_theirs in records if is_theirs]
        for part in range(3):
            self.home.land_records(record for record, _ in records[part::3])
            self.never.land_records(record for record, is_theirs in records[part::3] if not is_theirs)

    def kept(self) -> list[rawstore.Delivery]:
        """What the raw store holds, in order of arrival."""
        found = [item for path in self.home.segments() for item in rawstore.read_segment(path)]
        return sorted(
            (item.delivery for item in found if isinstance(item, rawstore.Landed)), key=lambda d: d.delivery_id
        )


@pytest.fixture(scope="module")
def loaded_once(tmp_path_factory: pytest.TempPathFactory) -> Both:
    both = Both(tmp_path_factory.mktemp("both"))
    for home in (both.home, both.never):
        assert run(home, "run") == 0
        home.path.joinpath("run.log").unlink()
    return both


@pytest.fixture
def both(loaded_once: Both, tmp_path: Path) -> Both:
    """Loaded and published, without marts; past days are compressed, tomorrow is not."""
    copy = object.__new__(Both)
    copy.__dict__ |= loaded_once.__dict__
    shutil.copytree(loaded_once.home.path, tmp_path / "home")
    copy.home = Home(tmp_path / "home")
    return copy


# ---------------------------------------------------------------- searching


def plain(text: bytes) -> bytes:
    return text.replace(b"\\u00f3", b"o").lower()


def contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what they are once decompressed or read."""
    raw = path.read_bytes()
    yield raw
    if raw.startswith(b"\x28\xb5\x2f\xfd"):
        yield zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
    elif raw.startswith(b"PK"):
        with zipfile.ZipFile(BytesIO(raw)) as archive:
            yield from map(archive.read, archive.namelist())
    elif raw.startswith(b"PAR1"):
        yield repr(duckdb.sql(f"from '{path}'").fetchall()).encode()
    elif path.suffix == ".duckdb":
        with duckdb.connect() as connection:
            connection.execute(f"attach '{path}' as w (read_only)")
            for schema, table, comment in connection.execute(
                "select schema_name, table_name, comment from duckdb_tables() where database_name = 'w'"
            ).fetchall():
                found = connection.execute(f'from w."{schema}"."{table}"')
                yield repr((schema, table, comment, found.description, found.fetchall())).encode()


def traces(home: Home) -> list[tuple[str, bytes]]:
    """Files that hold any of the words, also in their names."""
    found = [
        (str(path.relative_to(home.path)), word)
        for path in sorted(home.path.rglob("*"))
        if path.is_file() and path.name != "run.log"
        for text in contents(path)
        for word in WORDS
        if word in plain(text) or word in plain(str(path).encode())
    ]
    return list(dict.fromkeys(found))


def comparable(home: Home) -> dict[str, Counter[tuple[Any, ...]]]:
    """All rows of schema kobra without where in the raw store they stand: the clock named that."""
    tables = everything(home.files.published)
    with home.reading() as connection:
        for table, hidden in {
            "deliveries": "segment, line",
            "rejects": "segment, line",
            "segments": "segment, loaded_at",
        }.items():
            tables[table] = Counter(connection.execute(f"select * exclude ({hidden}) from {table}").fetchall())
    return tables


def assert_forgotten(both: Both) -> None:
    assert traces(both.home) == []
    assert differences(comparable(both.home), comparable(both.never)) == {}
    assert both.kept() == both.others
    assert not Erasure(both.home.files).wants_rewrite
    assert run(both.home, "verify") == 0


def test_the_search_finds_them_before(both: Both) -> None:
    found = traces(both.home)
    assert {word for _, word in found} == set(WORDS)
    names = {name.rsplit("/", 1)[-1] for name, _ in found}
    assert {"working.duckdb", "analytics.duckdb"} <= names
    assert {name.partition(".")[2] for name in names} >= {"jsonl", "jsonl.zst"}


# ---------------------------------------------------------------- the whole of it, with marts


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """As real as can be: marts, wide tables, exports of every form, the customer's own files, leftovers."""
    both = Both(tmp_path_factory.mktemp("built"))
    for home in (both.home, both.never):
        assert home.kobra("run").returncode == 0
    home, exports = both.home, both.home.path / "exports"
    for arguments in (
        ("visits", "accounts", "wide.debt_collection", "kobra.phones"), ("visits", "--format", "csv"),
        ("kobra.visits", "--format", "xlsx"), ("agents", "--partition-by", "source"),
    ):  # fmt: skip
        assert home.kobra("export", *arguments).returncode == 0
    (exports / ".exporting").mkdir()
    (exports / ".exporting" / "half.csv").write_text("Zoraida")
    (exports / "wide.product_99.csv").write_text("Zoraida, of a table that is gone")
    (exports / "notes.csv").write_text("of the customer")
    day = rawstore.partitions(home.raw)[0]
    (day / "20260301T120000000000Z.torn").write_bytes(b'{"crc32":"0","body":"Zoraida')
    (day / "20260301T120000000000Z.zst.new").write_bytes(zstandard.compress(b"Zoraida"))
    (home.files.warehouse / ".spill").mkdir()
    (home.files.warehouse / ".spill" / "half.tmp").write_bytes(b"Zoraida")
    (home.path / "inputs").mkdir()
    (home.path / "inputs" / "payments.csv").write_text(
        f"payment_id,external_id,paid_date,amount\n1,{ACCOUNT},2026-03-05,10\n2,{ACCOUNT},2026-03-06,10\n3,1,2026-03-05,9\n"
    )
    return both


def test_forget_leaves_no_byte_of_them_and_everything_else_as_if_they_had_never_been(built: Both) -> None:
    done = built.home.kobra(*FORGET)
    assert (done.returncode, done.stderr) == (0, "")
    touched = sum(verdict.erased > 0 for verdict in rawstore.verify(built.home.raw))
    assert touched > 3
    told = done.stdout.splitlines()
    assert told[-1] == (
        f"erased: 8 deliveries of 4 visit(s) in {touched} segment(s), 2 file(s) left beside segments;"
        " 8 export(s) written anew"
    )
    assert "found: 8 deliveries of 4 visit(s) in" in done.stdout
    assert "found: 4 row(s) of marts.visits" in told
    assert "not ours: inputs/payments.csv has 2 row(s) of the account: remove them, then run this again" in told
    assert {name for name, _ in traces(built.home)} == {
        "inputs/payments.csv", "warehouse/working.duckdb", "warehouse/analytics.duckdb",
    }  # fmt: skip
    assert {word for _, word in traces(built.home)} == {ACCOUNT.encode()}

    (built.home.path / "inputs" / "payments.csv").unlink()
    assert "erased: 0 deliveries of 0 visit(s) in 0 segment(s), 0 file(s)" in built.home.kobra(*FORGET).stdout
    assert traces(built.home) == []
    assert (built.home.path / "exports" / "notes.csv").read_text() == "of the customer"
    assert len(earlier(partial(attached, built.home.files), built.home.files.exports)) == 7
    assert built.home.kobra("verify").returncode == 0
    assert built.home.kobra("verify").stdout.endswith("0 damaged, 8 erased\n")
    assert differences(comparable(built.home), comparable(built.never)) == {}
    assert differences(marts_of(built.home), marts_of(built.never)) == {}
    assert built.home.values("select count(*) from w.marts.reconciliation where not is_balanced") == [0]


def marts_of(home: Home) -> dict[str, Counter[Any]]:
    """All rows of the tables that are built, by column name: the order of columns may have a history."""
    found: dict[str, Counter[Any]] = {}
    with home.reading() as connection:
        for schema, table in connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'w' and (schema_name in"
            " ('marts', 'wide') or table_name = 'visits_built')"
        ).fetchall():
            if table != "columns":
                rows = connection.execute(f'from w.{schema}."{table}"')
                names = [column[0] for column in rows.description]
                found[f"{schema}.{table}"] = Counter(
                    frozenset(zip(names, map(repr, row), strict=True)) for row in rows.fetchall()
                )
        names = "product_id, column_name, type, is_present, times_asked"
        found["wide.columns"] = Counter(connection.execute(f"select {names} from w.wide.columns").fetchall())
    return found


# ---------------------------------------------------------------- the raw store


@pytest.mark.slow
def test_what_stays_keeps_every_byte_and_its_line(both: Both) -> None:
    def lines(path: Path) -> list[bytes]:
        return next(text for text in reversed(list(contents(path)))).splitlines()

    before = {path.name: lines(path) for path in both.home.segments()}
    assert run(both.home, *FORGET) == 0
    gone = {record.delivery_id for record in both.theirs}
    for path in both.home.segments():
        for old, new in zip(before[path.name], lines(path), strict=True):
            record = rawstore.decode(old)
            if record.delivery_id in gone:
                stub = rawstore.decode(new)
                assert stub == rawstore.Delivery(
                    record.delivery_id, record.received_at, record.source, 0, "", erased=True
                )
            else:
                assert new == old
    assert {found.delivery_id for path in both.home.segments() for found in rawstore.read_segment(path)
            if isinstance(found, rawstore.Erased)} == gone  # fmt: skip


@pytest.mark.slow
def test_the_tables_are_those_of_a_store_that_never_had_them(both: Both) -> None:
    assert run(both.home, *FORGET) == 0
    assert_forgotten(both)
    lines = {row["delivery_id"]: (row["segment"], row["line"]) for row in both.home.rows("from deliveries")}
    for path in both.home.segments():
        for found in rawstore.read_segment(path):
            if isinstance(found, rawstore.Landed):
                assert lines[found.delivery.delivery_id] == (rawstore.identity(path), found.line)


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.slow
def test_damage_beside_what_is_erased_is_still_told_and_nothing_else_is_lost(
    tmp_path: Path, is_compressed: bool
) -> None:
    home = Home(tmp_path)
    records = [Post(encoded(small(f"v{n}", comment="x" * 2000)), later(seconds=n)).record() for n in range(1500)]
    home.land_records(records)
    (path,) = home.segments()
    if is_compressed:
        path = rawstore.compress_segment(path)
        path.write_bytes(path.read_bytes()[:-20])  # the last frame is cut off
    else:
        text = bytearray(path.read_bytes())
        text[-40] ^= 1
        path.write_bytes(text)
    before = list(rawstore.read_segment(path))
    goes = {
        records[3].delivery_id,
        [item for item in before if isinstance(item, rawstore.Landed)][-2].delivery.delivery_id,
    }
    assert rawstore.erase_records(path, lambda delivery: delivery.delivery_id in goes) == 2
    after = list(rawstore.read_segment(path))
    kept = [item for item in before if isinstance(item, rawstore.Landed) and item.delivery.delivery_id not in goes]
    assert [item.delivery for item in after if isinstance(item, rawstore.Landed)] == [item.delivery for item in kept]
    assert [item.line for item in after if isinstance(item, rawstore.Landed)] == [item.line for item in kept]
    assert sum(isinstance(item, rawstore.Damage) for item in before) == 1
    assert sum(isinstance(item, rawstore.Damage) for item in after) == 1
    assert sum(isinstance(item, rawstore.Erased) for item in after) == 2
    assert rawstore.erase_records(path, lambda delivery: delivery.delivery_id in goes) == 0
    assert rawstore.remove_leftovers(home.raw) == 0


@pytest.mark.slow
def test_a_segment_that_stands_there_twice_is_erased_in_both_forms(both: Both) -> None:
    path = next(path for path in both.home.segments() if path.name.endswith(rawstore.COMPRESSED))
    path.with_name(rawstore.identity(path) + rawstore.CLOSED).write_bytes(list(contents(path))[1])
    assert run(both.home, *FORGET) == 0
    assert_forgotten(both)


@pytest.mark.slow
def test_a_torn_tail_of_a_receiver_that_died_goes_and_its_whole_records_are_read(both: Both) -> None:
    day = both.home.segments()[-1].parent
    their, other = both.theirs[-1], Post(encoded(small("late")), TOMORROW).record()
    whole = rawstore.encode(their) + rawstore.encode(other)
    (day / f"{TOMORROW:%Y%m%dT%H%M%S}999999Z.jsonl.open").write_bytes(whole + rawstore.encode(their)[:-30])
    assert run(both.home, *FORGET) == 0
    assert traces(both.home) == []
    assert not list(both.home.raw.glob(f"*/*{rawstore.TORN}"))
    assert "late" in both.home.visits()


# ---------------------------------------------------------------- coming back


def test_nothing_comes_back_by_a_rebuild(both: Both) -> None:
    assert run(both.home, *FORGET) == 0
    shutil.rmtree(both.home.files.warehouse)
    assert run(both.home, "run") == 0
    assert_forgotten(both)


def bring_back(both: Both) -> None:
    """Send all of it again: the same visits, a visit that is new, a version that says nothing of whose it is."""
    both.home.land(*(post._replace(at=TOMORROW) for post in THEIRS))
    both.home.land(Post(encoded(canary("visit-of-z5", externalID=ACCOUNT)), TOMORROW))
    both.home.land(Post(encoded(canary("visit-of-z1", externalID=None, comment="again")), TOMORROW))


@pytest.mark.slow
def test_nothing_comes_back_by_a_redelivery(both: Both) -> None:
    assert run(both.home, *FORGET) == 0
    bring_back(both)
    assert run(both.home, "run") == 0
    assert traces(both.home) == []
    tables = "visits visit_versions questions answers phones emails deliveries".split()
    found, expected = comparable(both.home), comparable(both.never)
    assert {name: found[name] for name in tables} == {name: expected[name] for name in tables}


@pytest.mark.slow
def test_a_version_that_was_loaded_before_it_was_known_to_be_theirs_goes_with_the_others(both: Both) -> None:
    assert run(both.home, *FORGET) == 0
    both.home.land(Post(encoded(canary("visit-of-z6", externalID=None)), later(seconds=1)))
    assert run(both.home, "run") == 0
    assert "visit-of-z6" in both.home.visits()  # nobody could know
    both.home.land(Post(encoded(canary("visit-of-z6")), TOMORROW))
    assert run(both.home, "run") == 0
    assert traces(both.home) == []


def test_nothing_comes_back_by_an_import(both: Both, tmp_path: Path) -> None:
    assert run(both.home, *FORGET) == 0
    file = tmp_path / "history.ndjson"
    unsigned = encoded(canary("visit-of-z7", externalID=None))
    others = encoded(small("new"))
    file.write_bytes(b"\n".join([*(post.body for post in THEIRS), unsigned, encoded(canary("visit-of-z7")), others]))
    done = both.home.kobra("import", "--source", "lender_a", file)
    assert done.stdout == "2 deliveries read, 2 landed, 0 known already; 9 more of erased persons left out\n"
    assert run(both.home, "run") == 0
    assert traces(both.home) == []
    assert "new" in both.home.visits()


@pytest.mark.slow
def test_another_lenders_account_of_that_number_is_another_person(both: Both) -> None:
    both.home.land(Post(encoded(small("b1", externalID=ACCOUNT)), TOMORROW, "lender_b"))
    both.home.land(Post(encoded(small("b2", phones=[PHONE])), TOMORROW, "lender_b"))
    assert run(both.home, *FORGET) == 0
    assert "b1" in both.home.visits()
    assert "b2" in both.home.visits()  # --source was given, for phones as well
    assert run(both.home, "forget", "--yes", "--phone", "52 55 12 34 00 99") == 0
    assert "b2" not in both.home.visits()


@pytest.mark.slow
def test_visits_whose_raw_segments_are_gone_are_known_by_any_of_their_versions(both: Both) -> None:
    shutil.rmtree(both.home.raw)
    assert run(both.home, *FORGET) == 0
    assert not [visit_id for visit_id in both.home.visits() if visit_id.startswith("visit-of-z")]
    assert traces(both.home) == []


# ---------------------------------------------------------------- cut short


SYNCS = [("receiver.rawstore.disk", "sync_folder", number) for number in range(2, 22)]
MOMENTS = [
    ("pipelines.privacy.marks", "Marks.add", 1),
    ("receiver.rawstore", "erase_records", 1),
    ("receiver.rawstore.disk", "write_new", 6),
    ("pipelines.privacy.sweep", "Erasure._sweep", 1),
    ("pipelines.privacy.sweep", "Erasure._remove", 1),
    ("pipelines.privacy.sweep", "Erasure.erase", 1),
    ("pipelines.run", "_load", 1),
    ("pipelines.publish.publish", "_sync", 1),
    ("pipelines.publish.publish", "rewrite", 1),
    ("pipelines.publish.publish", "_sync", 2),
    ("pipelines.publish.publish", "publish", 1),
    ("pipelines.publish.export", "export_again", 1),
    ("pipelines.run", "_publish", 1),
    *SYNCS[::4],
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment[1]}-{moment[2]}")
@pytest.mark.slow
def test_killed_anywhere_another_run_or_another_forget_finishes_it(both: Both, moment: tuple[str, str, int]) -> None:
    assert both.home.kobra("export", "kobra.visits", "--format", "csv").returncode == 0
    names = sorted(map(rawstore.identity, both.home.segments()))
    assert run(both.home, *FORGET, dies_after=moment) == DIED
    assert sorted(map(rawstore.identity, both.home.segments())) == names
    assert {record.delivery_id for record in both.kept()} >= {record.delivery_id for record in both.others}
    assert sum(len(verdict.damage) for verdict in rawstore.verify(both.home.raw)) == 0
    is_known = bool(marks_of(both.home.files))
    again = Home(both.home.path.with_name("again"))
    shutil.copytree(both.home.path, again.path)
    assert run(both.home, *FORGET) == 0
    assert_forgotten(both)
    if is_known:
        both.home = again
        assert run(both.home, "run") == 0
        assert_forgotten(both)


# ---------------------------------------------------------------- proofs that can fail


def rewrites_nothing() -> None:
    from pipelines.publish import publish  # noqa: PLC0415

    publish.rewrite = lambda home: None


@pytest.mark.slow
def test_a_forget_that_only_deletes_rows_is_caught(both: Both) -> None:
    assert run(both.home, *FORGET, patch=rewrites_nothing) == 0
    assert {name for name, _ in traces(both.home)} == {"warehouse/working.duckdb", "warehouse/analytics.duckdb"}


@pytest.mark.slow
def test_a_home_without_marks_is_caught(both: Both) -> None:
    assert run(both.home, *FORGET) == 0
    shutil.rmtree(both.home.path / "erasure")
    bring_back(both)
    assert run(both.home, "run") == 0
    assert traces(both.home) != []


# ---------------------------------------------------------------- while visits come in


@pytest.mark.slow
def test_a_receiver_goes_on_and_what_it_is_still_writing_goes_with_the_next_run(
    both: Both, receiver_start: Callable[..., Any]
) -> None:
    receiver = receiver_start(KOBRA_HOME=str(both.home.path), KOBRA_SEGMENT_MAX_AGE_S="600")
    for post in THEIRS:
        assert receiver.post(post.body).status == 200
    assert receiver.post(encoded(small("during"))).status == 200
    assert run(both.home, *FORGET) == 0
    assert "found: 8 deliveries in segments that are still being written" in (both.home.path / "run.log").read_text()
    assert {name.rpartition(".")[2] for name, _ in traces(both.home)} == {"open"}
    assert receiver.post(encoded(small("after"))).status == 200
    assert receiver.stop() == 0
    assert run(both.home, "run") == 0
    assert traces(both.home) == []
    assert {"during", "after"} <= both.home.visits().keys()


def test_while_another_run_holds_the_lock_retain_changes_nothing_and_says_so(both: Both) -> None:
    with lock(both.home.files):
        assert run(both.home, "retain", "--raw-days", "1") == 75
    assert not (both.home.path / "erasure").exists()


def test_while_another_run_holds_the_lock_forget_says_that_it_waits_and_then_does_it(both: Both) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    command = [KOBRA, *FORGET, "--dry-run"]
    with lock(both.home.files):
        waiting = subprocess.Popen(
            command, env=environ | {"KOBRA_HOME": str(both.home.path)}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert waiting.stderr
        assert "waiting until it has ended" in waiting.stderr.readline()
        assert waiting.poll() is None
    out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, "found: 8 deliveries of 4 visit(s)" in out) == (0, True)


# ---------------------------------------------------------------- what nobody can attribute


@pytest.mark.slow
def test_rejected_and_damaged_records_with_the_bare_id_are_counted_and_erased_on_demand(both: Both) -> None:
    broken = b'{"cuenta": ' + ACCOUNT.encode() + b', "client": "Zoraida"'
    both.home.land(Post(broken, TOMORROW), Post(broken.replace(ACCOUNT.encode(), ACCOUNT.encode() + b"1"), TOMORROW))
    damaged = both.home.segments()[-1].with_name("20990101T000000000000Z.jsonl")
    theirs = rawstore.encode(both.theirs[0]).replace(b"ZORAIDA", b"zoraida").replace(b"externalID", b"cuenta")
    damaged.write_bytes(theirs)
    assert run(both.home, "run") == 0
    log = both.home.path / "run.log"
    assert run(both.home, *FORGET) == 0
    assert "2 rejected or damaged deliveries have the id of the account in them and may be" in log.read_text()
    assert run(both.home, *FORGET, "--rejects") == 0
    assert "and 2 rejected or damaged ones in" in log.read_text()
    assert len(both.home.values("from rejects")) == len(both.never.values("from rejects")) + 1
    left = traces(both.home)
    assert {word for _, word in left} <= {b"zoraida", b"0070071742"}  # of the account with one digit more
    assert run(both.home, "verify") == 0


# ---------------------------------------------------------------- how it is called


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["forget"], "say who"),
        (["forget", "--source", "lender_a"], "say who"),
        (["forget", "--account", "1"], "--source"),
        (["forget", "--phone", "none"], "digits"),
        (["forget", "--email", "none"], "@"),
        (["forget", "--source", "a", "--account", ""], "blank"),
        (["retain"], "--raw-days"),
        (["retain", "--raw-days", "0"], "whole number"),
        (["retain", "--raw-days", "30", "--pii-days", "90"], "outlive"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_exit_code_2(
    tmp_path: Path, arguments: Sequence[str], word: str
) -> None:
    done = Home(tmp_path / "home").kobra(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
    assert not (tmp_path / "home" / "erasure").exists()


def test_somebody_unknown_is_forgotten_with_exit_code_0_and_zero_counts(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    nothing = (
        "erased: 0 deliveries of 0 visit(s) in 0 segment(s), 0 file(s) left beside segments;"
        " 0 export(s) written anew\n"
    )
    done = home.kobra("forget", "--yes", "--source", "a", "--account", "1", "--phone", "2", "--email", "x@y")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(nothing)
    assert not home.files.published.exists()


@pytest.mark.slow
def test_what_is_kept_of_them_says_nothing_and_is_its_owners_alone(both: Both) -> None:
    assert run(both.home, *FORGET) == 0
    folder = both.home.path / "erasure"
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "key": 0o600,
        "marks": 0o600,
        "swept": 0o600,
    }
    kinds = Counter(line.split()[0] for line in (folder / "marks").read_text().splitlines())
    assert kinds == {"account": 1, "phone": 3, "email": 1, "visit": 4}


@pytest.mark.slow
def test_without_the_key_nothing_is_loaded_and_the_file_is_named(both: Both) -> None:
    assert run(both.home, *FORGET) == 0
    (both.home.path / "erasure" / "key").unlink()
    bring_back(both)
    done = both.home.kobra("run")
    assert done.returncode == 1
    assert "erasure/key" in done.stderr
    assert "visit-of-z1" not in both.home.visits()


# ---------------------------------------------------------------- retention


YESTERDAY = later(days=1)
KEPT_FIGURES = ("outcomes_daily", "agent_days", "data_quality", "promises", "visit_quality", "legs", "reconciliation")


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Old visits and visits of tomorrow, built; one old visit of which a new version came tomorrow."""
    home = Home(tmp_path_factory.mktemp("aged"))
    promise = [
        *canary("x")["checklist"],
        {"questionID": 14, "questionName": "¿Se logró promesa de pago?",
         "answers": [{"answerID": 3, "answerTypeID": 1, "answerName": "", "value": "Sí"}]},
        {"questionID": 16, "questionName": "Monto",
         "answers": [{"answerID": 4, "answerTypeID": 3, "answerName": "", "value": "pregunte a Zoraida"}]},
        {"questionID": 99, "questionName": "¿Cuántos viven aquí?",
         "answers": [{"answerID": 5, "answerTypeID": 3, "answerName": "", "value": "con Zoraida tres"}]},
    ]  # fmt: skip
    home.land(
        *(Post(sent.body, later(seconds=n)) for n, sent in enumerate(deliveries(40, seed=4)) if n < 40),
        Post(encoded(canary("old", client="Primera", checklist=promise, phones=[PHONE], emails=[MAIL])), YESTERDAY),
        Post(encoded(canary("kept")), YESTERDAY),
        Post(encoded(canary("kept", comment="Zoraida, hoy")), TOMORROW),
        Post(encoded(canary("new", phones=[PHONE])), TOMORROW),
    )
    assert home.kobra("run").returncode == 0
    return home


@pytest.mark.slow
def test_personal_data_is_blanked_when_it_is_old_and_stays_so_and_the_figures_stay_as_they_are(aged: Home) -> None:
    def figures() -> dict[str, Any]:
        return {
            name: Counter(
                # Sums of doubles differ in the last digits with the order of the rows.
                repr({key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()})
                for row in aged.rows(f"from w.marts.{name}")
            )
            for name in KEPT_FIGURES
        }

    def assert_blanked() -> None:
        personal = ("client_name", "comment", "extra", "contact_name")
        visits = {row["visit_id"]: row for row in aged.rows(
            "select k.*, m.contact_name from visits k join w.marts.visits m using (source, visit_id)")}  # fmt: skip
        old = [row for row in visits.values() if row["visit_id"] not in ("kept", "new")]
        assert len(old) > 30
        assert {name: {row[name] for row in old} for name in personal} == {name: {None} for name in personal}
        assert all(visits[name][column] for name in ("kept", "new") for column in personal)
        values = {row["question_id"]: (row["value"], row["parse_ok"]) for row in aged.rows(
            "from answers join questions using (source, visit_id, question_pos) where visit_id = 'old'")}  # fmt: skip
        assert values == {
            "13": (None, True), "977": (None, True), "99": (None, False),
            "14": ("Sí", True), "16": (None, False),  # figures are made of what reads
        }  # fmt: skip
        assert aged.rows("select value, normalised, extra from phones where visit_id = 'old'") == [
            {"value": None, "normalised": None, "extra": None}
        ]
        assert aged.values("select value from emails where visit_id = 'old'") == [None]
        files = (aged.files.working, aged.files.published)
        assert not [path for path in files for text in contents(path) if b"primera" in plain(text)]
        assert aged.values("select value from phones where visit_id = 'new'") == [PHONE]
        assert aged.values(
            "select count(*) from w.wide.debt_collection where visit_id = 'old' and client_name is null"
        ) == [1]

    before = figures()
    done = aged.kobra("retain", "--pii-days", "30")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "personal data older than 30 days is blanked, by this and by every later run\n"
    assert_blanked()
    assert figures() == before
    shutil.rmtree(aged.files.warehouse)
    assert aged.kobra("run").returncode == 0
    assert_blanked()
    assert figures() == before

    tables = everything(aged.files.published)
    done = aged.kobra("retain", "--raw-days", "30")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("2 raw partition(s) older than 30 days removed\n")
    assert [path.name for path in rawstore.partitions(aged.raw)] == [f"received_date={TOMORROW:%Y-%m-%d}"]
    assert differences(everything(aged.files.published), tables) == {}
    assert (
        aged.kobra("retain", "--raw-days", "20").returncode == 2
    )  # shorter than the 30 days that it was told before


@pytest.mark.slow
def test_raw_partitions_with_anything_that_is_not_loaded_or_still_written_stay(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.land(
        Post(encoded(small("a"))), Post(encoded(small("b")), later(days=1)), Post(encoded(small("c")), TOMORROW)
    )
    assert run(home, "run") == 0
    home.land(Post(encoded(small("d")), later(days=1)))
    open_one = rawstore.Landing(home.raw)
    open_one.append(later(days=2).date(), [rawstore.encode(Post(encoded(small("e")), later(days=2)).record())])
    with lock(home.files), database.working(home.files) as connection:
        taken = set(load.taken(connection))
    assert retention.remove_partitions(home.files, date(2026, 6, 1), taken) == ["2026-03-01"]
    assert len(rawstore.partitions(home.raw)) == 3
    open_one.close()


@pytest.mark.slow
def test_nothing_is_published_before_old_personal_data_is_blanked(both: Both) -> None:
    assert both.home.kobra("run").returncode == 0
    retention.remember(both.home.files, retention.Policy(pii_days=30))
    done = both.home.kobra("publish")
    assert (done.returncode, "blanked first" in done.stderr) == (2, True)
    (both.home.path / "erasure" / "retention.json").write_text("{")
    assert "retention.json" in both.home.kobra("run").stderr
