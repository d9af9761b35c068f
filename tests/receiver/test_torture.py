"""The proofs of `make torture` that need no root, in short; and that a proof which cannot fail is no proof."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.torture import clock, damage, fuzz, kills, pipelining, power_loss, refusing_disk
from tests.torture.mounts import require
from tests.torture.table import CannotRunHereError, Row, Trial, markdown

CYCLES = int(os.environ.get("KOBRA_TORTURE_CYCLES", "20"))


def test_nothing_acknowledged_is_lost_however_often_the_receiver_is_killed(tmp_path: Path) -> None:
    row = kills.prove(CYCLES, tmp_path)
    assert row.sound, row.verdict
    assert row.trial is not None
    assert row.trial.acknowledged > 50 * CYCLES


@pytest.mark.parametrize(
    "prove",
    [
        kills.prove_receivers,
        pipelining.prove,
        refusing_disk.prove_file_size,
        refusing_disk.prove_descriptors,
        damage.prove_flips,
        clock.prove,
    ],
    ids=lambda prove: f"{prove.__module__}.{prove.__name__}",
)
def test_a_proof_holds_and_its_mutant_is_caught(prove: Callable[[int, Path], Row], tmp_path: Path) -> None:
    try:
        row = prove(1, tmp_path)
    except CannotRunHereError as why:
        pytest.skip(str(why))
    assert row.sound, row.verdict


def test_no_bytes_at_all_lead_the_reader_astray(tmp_path: Path) -> None:
    try:
        row = fuzz.prove(3, tmp_path)
    except CannotRunHereError as why:
        pytest.skip(str(why))
    assert row.sound, row.verdict
    assert int(row.tried.split()[0].replace(",", "")) > 500


def row(trial: Trial | None, **mutants: Trial) -> Row:
    return Row("failure", "once", trial, mutants)


@pytest.mark.parametrize(
    ("found", "sound", "said"),
    [
        (row(Trial(9), liar=Trial(9, lost=3)), True, "| 9 | 0 | held; mutant caught (liar: 3 lost) |"),
        (row(Trial(9), liar=Trial(9, faults=["late"])), True, "held; mutant caught (liar: late)"),
        (row(Trial(9), liar=Trial(9)), False, "held; MUTANT NOT CAUGHT (liar)"),
        (row(Trial(9, lost=1), liar=Trial(9, lost=3)), False, "BROKEN: 1 lost"),
        (row(Trial(9), liar=Trial(9, lost=3, faults=["late"])), True, "mutant caught (liar: 3 lost, late)"),
        (row(Trial(9, faults=["late"])), False, "BROKEN: late"),
        (Row("failure", "–", None, why_not="needs root"), True, "| – | – | skipped: needs root |"),
    ],
)
def test_a_row_is_sound_when_the_product_held_and_every_mutant_was_caught(found: Row, sound: bool, said: str) -> None:
    assert found.sound is sound
    assert said in markdown([found])


def test_what_cannot_run_here_says_what_it_needs() -> None:
    with pytest.raises(CannotRunHereError, match="needs no-such-tool"):
        require("no-such-tool")


def test_power_is_not_cut_without_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotRunHereError, match="needs root"):
        power_loss.prove(1, tmp_path, "ext4")
