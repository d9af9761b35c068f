"""What the documents promise: their commands run, their tables are complete."""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from pipelines import cli, settings
from receiver import rawstore
from receiver.json_check import REASONS
from receiver.openapi import PROBLEMS
from receiver.settings import Settings
from tests.torture.__main__ import PROOFS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
KEY = "the-key-that-you-gave-kobra"


class Block(NamedTuple):
    """A fenced block of the README: its language, what else its fence says, its text."""

    language: str
    mark: str
    text: str


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w*) ?([^\n]*)\n(.*?)^```$", README, re.M | re.S)]
TESTED = [block for block in BLOCKS if block.mark == "tested"]


def only_block(mark: str) -> str:
    (block,) = (block for block in BLOCKS if block.mark == mark)
    return block.text


def rows_under(*head: str) -> list[list[str]]:
    """The rows of the README's table with this head."""
    lines = README.split(f"| {' | '.join(head)} |\n", 1)[1].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


class Shown(NamedTuple):
    """A folder in which the demo has run as the README says, and what it printed."""

    folder: Path
    printed: str


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("readme")
    (folder / ".venv").symlink_to(sys.prefix)
    return Shown(folder, run(folder, "sh", ".venv/bin/kobra demo"))


def run(folder: Path, language: str, text: str) -> str:
    """Run a block as a reader would; what it printed. Nothing may fail, and nothing may be complained of."""
    if language == "sql":
        # Statement for statement, as the DuckDB CLI does.
        program = "import sys, duckdb\nfor part in duckdb.extract_statements(sys.argv[1]):\n"
        command = [sys.executable, "-c", program + "    print(duckdb.execute(part).fetchall())", text]
    elif language == "python":
        command = [sys.executable, "-c", text]
    else:
        command = ["bash", "-euo", "pipefail", "-c", text]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def without_times(text: str) -> str:
    return re.sub(r"\d+\.\d s\b", "… s", text)


# ---------------------------------------------------------------- the README


def test_the_demo_prints_what_the_readme_shows(shown: Shown) -> None:
    assert without_times(shown.printed) == without_times(only_block("printed by kobra demo"))


@pytest.mark.parametrize("block", TESTED, ids=lambda block: f"{block.language}-{TESTED.index(block)}")
def test_what_the_readme_says_to_type_works(shown: Shown, block: Block) -> None:
    assert run(shown.folder, block.language, block.text).strip()


def test_what_the_page_on_clients_says_to_write_works(shown: Shown) -> None:
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*) tested\n(.*?)^```$", page, re.M | re.S)
    assert blocks
    for language, text in blocks:
        assert run(shown.folder, language, text).strip()


def test_the_readme_has_blocks_to_test() -> None:
    assert {block.language for block in TESTED} == {"sh", "sql", "python"}
    assert {mark for _, mark, _ in BLOCKS} == {"", "tested", "tested with a receiver", "printed by kobra demo"}


def test_the_pattern_of_the_readme_reads_closed_segments_and_no_open_one(shown: Shown, tmp_path: Path) -> None:
    (pattern,) = set(re.findall(r"'kobra-demo/(raw/\S*)'", README))
    (segment,) = (shown.folder / "kobra-demo/raw").glob("*/*.jsonl")
    day = tmp_path / "raw" / segment.parent.name
    day.mkdir(parents=True)
    line = segment.read_bytes().splitlines(keepends=True)[0]
    (day / "1.jsonl").write_bytes(line)
    (day / "2.jsonl").write_bytes(line * 2)
    rawstore.compress_segment(day / "2.jsonl")
    (day / "3.jsonl.open").write_bytes(line[:-20])
    (day / "4.torn").write_bytes(line[:20])
    assert duckdb.execute(f"select count(*) from read_json('{tmp_path}/{pattern}')").fetchone() == (3,)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_receiver_answers_what_the_readme_shows(tmp_path: Path) -> None:
    assert f'KOBRA_API_KEYS="lender_a:{KEY}"\n.venv/bin/kobra serve --port 8000\n' in README
    with receiver(tmp_path, f"lender_a:{KEY}") as port:
        printed = run(tmp_path, "sh", only_block("tested with a receiver").replace(":8000/", f":{port}/"))
    answered = [json.loads(part) for part in re.findall(r"\{.*?\}", printed)]
    (block,) = (block.text for block in BLOCKS if block.language == "json")
    expected = [json.loads(line) for line in block.splitlines()]
    assert [list(answer) for answer in answered] == [list(answer) for answer in expected]
    assert [answer["status"] for answer in answered] == [answer["status"] for answer in expected]


@contextmanager
def receiver(home: Path, keys: str) -> Iterator[int]:
    environ = os.environ | {"KOBRA_HOME": str(home), "KOBRA_API_KEYS": keys}
    command = [str(Path(sys.prefix) / "bin" / "kobra"), "serve", "--port", "0"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            events = (json.loads(line) for line in process.stderr)
            yield next(event["port"] for event in events if event["event"] == "listening")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (
        action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction)
    )  # fmt: skip
    return dict(commands.choices)


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    documented = [row[0].strip("`").removeprefix("kobra ") for row in rows_under("command", "what it does")]
    assert documented == list(parsers())


def test_every_option_is_documented_and_every_documented_one_exists() -> None:
    for command, what in rows_under("command", "what it does"):
        parser = parsers()[command.strip("`").removeprefix("kobra ")]
        options = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
        assert set(re.findall(r"--[a-z-]+", what)) == options, command


def default(value: object) -> str:
    """A setting as it would be written into the environment."""
    return "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {variable.strip("`"): default.strip("`") for variable, default, _ in rows_under(
        "variable", "default", "meaning")}  # fmt: skip
    known = vars(settings.Settings()) | vars(Settings())
    defaults = {f"KOBRA_{name.upper()}": default(value) for name, value in known.items()}
    assert documented == {name: defaults.get(name, "") for name in documented}
    ours = settings.Settings.__dataclass_fields__.keys() - {"sample_key"}  # which is explained below the table
    assert set(documented) == {f"KOBRA_{name.upper()}" for name in Settings.__dataclass_fields__.keys() | ours}


def test_every_variable_that_the_code_reads_is_in_the_readme() -> None:
    code = [path for package in ("receiver", "pipelines") for path in (ROOT / package).glob("*.py")]
    read = {name for path in code for name in re.findall(r'"(KOBRA_[A-Z_]+)"', path.read_text(encoding="utf-8"))}
    assert {name for name in read if f"`{name}`" not in README} == set()


def test_every_answer_of_the_receiver_is_documented() -> None:
    documented = [
        (int(status), code)
        for status, codes, _ in rows_under("status", "error", "when")
        for code in re.findall(r"`(\w+)`", codes) or {"": ["stored"], "the same": REASONS}[codes]
    ]
    answers = {(each.start["status"], each.code) for each in PROBLEMS}
    kept = {(status, reason) for status in (400, 415) for reason in REASONS}
    assert sorted(documented) == sorted(answers | kept | {(200, "stored")})


def test_every_exit_code_is_documented() -> None:
    documented = {int(code) for code, _ in rows_under("exit code", "meaning")}
    assert documented == {cli.OK, cli.FAILED, cli.USAGE, cli.BUSY}


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)#]*)", page.read_text(encoding="utf-8")):
            assert not link or (page.parent / link).exists(), f"{page.name}: {link}"


# ---------------------------------------------------------------- the guarantees


GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")


def test_every_proof_of_the_torture_stands_behind_a_guarantee_and_no_other_is_named() -> None:
    assert set(re.findall(r"`torture ([a-z0-9-]+)`", GUARANTEES)) == {proof.name for proof in PROOFS}


def test_every_test_that_a_guarantee_names_exists() -> None:
    named = re.findall(r"`(tests/[^`:]+)(?:::(\w+))?`", GUARANTEES)
    assert named
    for file, test in named:
        sought = f"def {test}(" if test else "def test_"
        assert sought in (ROOT / file).read_text(encoding="utf-8"), (file, test)


def test_every_guarantee_has_a_proof_and_every_promise_something_that_its_proof_catches() -> None:
    rows = [line for line in GUARANTEES.splitlines() if line.startswith("| ") and not line.startswith("|--")]
    bare = [row for row in rows if "`torture " not in row and "`tests/" not in row]
    assert [row.split(" | ")[0] for row in bare] == ["| promise", "| promise", "| threat"]
    assert [row for row in rows if not row.removesuffix("|").rpartition("|")[2].strip()] == []


# ---------------------------------------------------------------- the Makefile


def test_every_make_target_says_what_it_is_for_and_the_pages_name_no_other() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.M)[1].split())  # type: ignore[index]
    helped = set(re.findall(r"^([a-z-]+):.*## \S", text, re.M))
    assert helped == phony
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z-]+)`", page.read_text(encoding="utf-8"))) <= phony, page.name
