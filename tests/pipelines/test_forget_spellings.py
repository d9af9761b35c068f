"""Who is asked to be erased is erased however they are spelt, wherever they stand, and whatever comes back."""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import first_of
from kobra_home import KOBRA, Home, encoded, later, small
from kobra_home import Post as Delivered
from test_identity import SPELLINGS, TWO

from receiver import rawstore

PHONE, ACCOUNT, MAIL = "+52 55 5555 0171", "110", "ana@canaria.example"
ASKED = ("--source", "lender_a", "--phone", PHONE, "--account", ACCOUNT, "--email", "ANA@canaria.example")
MARK = "marca"  # in every body of theirs, and in no other

JSON_NUMBERS = (5555550171, 5555550171.0)
THEIRS: dict[str, Any] = {
    **{f"phone {n}": small(f"p{n}", phones=[text], comment=MARK)
       for n, text in enumerate((*SPELLINGS, *TWO, *JSON_NUMBERS))},
    "phone in an object": small("po", phones=[{"telefono": "044 55 5555 0171"}], comment=MARK),
    "account with a blank": small("a1", externalID="110 ", comment=MARK),
    "account with a no-break space": small("a2", externalID="\u00a0110\u2009", comment=MARK),
    "account as a number": small("a3", externalID=110.0, comment=MARK),
    "account with blanks that nobody sees": small("a3b", externalID="\u200b110\ufeff", comment=MARK),
    "phone with blanks that nobody sees": small("p3b", phones=["\u200b5555550171\u2060"], comment=MARK),
    "mail with blanks that nobody sees": small("m3b", emails=[f"\u200b{MAIL}\u2060"], comment=MARK),
    "the same in a list": json.dumps([1, {"correo": f"\ufeff{MAIL}\u200b", "comment": MARK}]).encode(),
    "mail with a name": small("m1", emails=[f"Ana <{MAIL.upper()}>"], comment=MARK),
    "another version": small("a1", externalID=None, comment=f"{MARK} otra"),
    "an object without a visit id": {"externalID": "110", "comment": MARK},
    "in UTF-16": json.dumps({"phones": [PHONE], "comment": MARK}).encode("utf-16"),
    "compressed, and no JSON": gzip.compress(f'{{"phones":["5555550171"],"comment":"{MARK}"'.encode()),
    "compressed": gzip.compress(encoded(small("z1", externalID="110", comment=MARK))),
    "of too many values": gzip.compress(encoded(small("z2", externalID="110", x=[5] * 600_000, comment=MARK))),
    "of too many values, another version": gzip.compress(
        encoded(small("a1", externalID=None, x=[6] * 600_000, comment=MARK))),
    "cut short": f'{{"externalID": "110 ", "comment": "{MARK}'.encode(),
    "a form": f"externalID=110&comment={MARK}".encode(),
    "a list": json.dumps([1, {"correo": MAIL, "comment": MARK}]).encode(),
}  # fmt: skip
OTHERS = {
    "account with a digit more": small("o1", externalID="1101"),
    "account with a zero before": small("o2", externalID="0110"),
    "another phone": small("o3", phones=["5555550172"]),
    "another mail": small("o4", emails=["juana@canaria.example"]),
    "cut short": b'{"externalID": "1101", "amount": 110',
}


def body(post: object) -> bytes:
    return post if isinstance(post, bytes) else encoded(post)


def fed(path: Path) -> Home:
    home = Home(path)
    posts = [*THEIRS.values(), *OTHERS.values()]
    home.land(*(Delivered(body(post), later(seconds=number)) for number, post in enumerate(posts)))
    return home


def holding(folder: Path) -> list[str]:
    """Files under a folder in which the mark stands, in any form that was sent."""
    found = []
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        content = path.read_bytes()
        texts = [content]
        if ".zst" in path.suffixes:
            texts.append(b"".join(rawstore.encode(each.delivery) for each in rawstore.read_segment(path)
                                  if isinstance(each, rawstore.Landed)))  # fmt: skip
        if path.suffix == ".duckdb":
            with duckdb.connect() as connection:
                connection.execute(f"attach '{path}' as w (read_only)")
                tables = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
                texts += [repr(connection.execute(f'from w."{s}"."{t}"').fetchall()).encode() for s, t in tables]
        records = [found for path in [path] if ".jsonl" in path.name for found in rawstore.read_segment(path)]
        texts += [gzip.decompress(each.delivery.exact_body()) if each.delivery.exact_body()[:2] == b"\x1f\x8b"
                  else each.delivery.exact_body().replace(b"\0", b"")
                  for each in records if isinstance(each, rawstore.Landed)]  # fmt: skip
        if any(MARK.encode() in text for text in texts):
            found.append(str(path.relative_to(folder)))
    return found


@pytest.fixture(scope="module")
def forgotten(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = fed(tmp_path_factory.mktemp("spellings") / "home")
    assert home.kobra("run").returncode == 0
    assert len(holding(home.path)) >= 3
    shutil.copytree(home.raw, home.path.with_name("backup"))
    done = home.kobra("forget", "--dry-run", *ASKED)
    (home.path.with_name("dry")).write_text(done.stdout)
    assert len(holding(home.path)) >= 3
    done = home.kobra("forget", "--yes", *ASKED)
    assert (done.returncode, done.stderr) == (0, "")
    (home.path.with_name("told")).write_text(done.stdout)
    return home


def test_no_file_holds_them_and_everybody_else_is_there(forgotten: Home) -> None:
    assert holding(forgotten.path) == []
    assert sorted(forgotten.visits()) == ["o1", "o2", "o3", "o4"]
    assert forgotten.values("select count(*) from rejects") == [1]


def test_the_dry_run_shows_the_same_counts(forgotten: Home) -> None:
    told, dry = (forgotten.path.with_name(name).read_text() for name in ("told", "dry"))
    assert told.startswith(dry)
    assert f"found: {len(THEIRS)} deliveries" in dry
    assert f"erased: {len(THEIRS)} deliveries" in told


def test_it_says_what_it_is_not_sure_of(forgotten: Home) -> None:
    dry = forgotten.path.with_name("dry").read_text()
    assert "not sure: 1 rejected or damaged deliveries" in dry  # its amount is 110


def test_an_account_is_found_everywhere_though_it_was_asked_for_as_excel_spells_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.land(small("theirs", externalID="110"), Delivered(b'{"amount": 110', later(seconds=1)))
    (home.path / "inputs").mkdir()
    (home.path / "inputs" / "payments.csv").write_text(
        "payment_id,external_id,paid_date,amount\n1,110,2026-03-05,10\n"
    )
    dry = home.kobra("forget", "--dry-run", "--source", "lender_a", "--account", "110.0").stdout
    assert "found: 1 deliveries" in dry
    assert "not sure: 1 rejected or damaged deliveries" in dry
    assert "not ours: inputs/payments.csv has 1 row(s)" in dry


def test_what_a_restore_brings_back_is_erased_again_by_the_run_that_finds_it(forgotten: Home) -> None:
    backup = forgotten.path.with_name("backup")
    for path in backup.glob("*/*.jsonl*"):
        place = forgotten.raw / path.parent.name / path.name
        place.with_name(rawstore.identity(place) + rawstore.COMPRESSED).unlink(missing_ok=True)
        shutil.copy2(path, place)
    forgotten.land(small("o5"))
    done = forgotten.kobra("run")
    assert done.returncode == 0
    assert "had come back, and were erased again" in done.stderr
    assert holding(forgotten.path) == []
    assert sorted(forgotten.visits()) == ["o1", "o2", "o3", "o4", "o5"]


@pytest.mark.slow
def test_without_the_sweep_what_was_restored_stays(tmp_path: Path) -> None:
    home = fed(tmp_path / "home")
    assert home.kobra("run").returncode == 0
    backup = {path: path.read_bytes() for path in home.raw.glob("*/*.jsonl*")}
    assert home.kobra("forget", "--yes", *ASKED).returncode == 0
    for path, content in backup.items():
        path.write_bytes(content)
    swept = home.path / "erasure" / "swept"
    swept.write_text(json.dumps(sweep_digests(home)))  # as if those files had been swept
    home.land(Delivered(encoded(small("o5")), later(days=1)))
    assert home.kobra("run").returncode == 0
    assert holding(home.path) != []


def sweep_digests(home: Home) -> dict[str, int]:
    from pipelines.privacy import sweep  # noqa: PLC0415

    return sweep._digests(home.raw)


@pytest.mark.slow
def test_a_segment_behind_a_symbolic_link_and_what_a_diverted_load_left_go_too(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.land(small("theirs", externalID="110", comment=MARK), small("other"))
    (path,) = home.segments()
    elsewhere = tmp_path / "elsewhere.jsonl"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
    assert home.kobra("run").returncode == 0
    with duckdb.connect(str(home.files.working)) as connection:
        connection.execute(f"create schema prod_kobra; create table prod_kobra.visits as select '{MARK}' as comment")
        connection.execute("create table prod_kobra._dlt_loads as select 1 as load_id")
    done = home.kobra("forget", "--yes", "--source", "lender_a", "--account", "110")
    assert done.returncode == 0
    assert "1 schema(s) that a load wrote" in done.stdout
    assert holding(home.path) == []
    assert path.is_symlink()
    assert MARK.encode() not in elsewhere.read_bytes()


@pytest.mark.parametrize("form", first_of(["file", "standard input"]))
def test_who_is_meant_may_stand_in_a_list_that_no_process_list_shows(tmp_path: Path, form: str) -> None:
    home = Home(tmp_path / "home")
    home.land(small("p", phones=["5555550171"]), small("a", externalID="110"), small("m", emails=[MAIL]), small("o"))
    assert home.kobra("run").returncode == 0
    text = f"phone {PHONE}\naccount: 110\nemail {MAIL}\n"
    (tmp_path / "list").write_text(text)
    name = str(tmp_path / "list") if form == "file" else "-"
    environ = {key: value for key, value in os.environ.items() if not key.startswith("KOBRA_")}
    done = subprocess.run(
        [KOBRA, "forget", "--yes", "--source", "lender_a", "--from", name], input=text, text=True, check=False,
        env=environ | {"KOBRA_HOME": str(home.path)}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(home.visits()) == ["o"]


@pytest.mark.parametrize(
    ("arguments", "text", "word"),
    [
        (["--from", "nowhere"], "", "cannot be read"),
        (["--from", "-"], "phone 1", "--yes"),
        (["--yes", "--from", "-"], "name Ana", "line 1"),
        (["--yes", "--from", "-"], "phone none", "digits"),
        (["--phone", PHONE], "", "--yes"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_erased(
    tmp_path: Path, arguments: list[str], text: str, word: str
) -> None:
    home = Home(tmp_path / "home")
    home.land(small("p", phones=["5555550171"]))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("KOBRA_")}
    done = subprocess.run(
        [KOBRA, "forget", *arguments], input=text, text=True, check=False, cwd=tmp_path,
        env=environ | {"KOBRA_HOME": str(home.path)}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert word in done.stderr
    assert PHONE not in done.stderr
    assert not (home.path / "erasure" / "marks").exists()
