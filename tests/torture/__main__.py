"""python -m tests.torture: run every proof, print the table, keep it in docs/torture.md. Exit 1 when one fails."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from traceback import print_exc
from typing import NamedTuple

from tests.torture import (
    backlog,
    clock,
    damage,
    full_disk,
    fuzz,
    kills,
    pipelining,
    power_loss,
    refusing_disk,
    suites,
    sync_failure,
)
from tests.torture.table import CannotRunHereError, Row, Trial, markdown

_TABLE = Path(__file__).parents[2] / "docs" / "torture.md"


class Proof(NamedTuple):
    """A proof by name, with how often it is tried in full and in short."""

    name: str
    prove: Callable[[int, Path], Row]
    times: int
    quick: int


PROOFS = (
    Proof("power-loss-ext4", lambda times, folder: power_loss.prove(times, folder, "ext4"), 100, 5),
    Proof("power-loss-xfs", lambda times, folder: power_loss.prove(times, folder, "xfs"), 50, 5),
    Proof("sync-failure", sync_failure.prove, 30, 3),
    Proof("kills", kills.prove, 200, 10),
    Proof("disk-full", refusing_disk.prove_full, 20, 3),
    Proof("disk-read-only", refusing_disk.prove_read_only, 20, 3),
    Proof("folder-read-only", refusing_disk.prove_folder, 20, 3),
    Proof("file-size", refusing_disk.prove_file_size, 20, 3),
    Proof("descriptors", refusing_disk.prove_descriptors, 20, 3),
    Proof("cuts", damage.prove_cuts, 3, 1),
    Proof("flips", damage.prove_flips, 10, 1),
    Proof("fuzz", fuzz.prove, 60, 3),
    Proof("clock", clock.prove, 10, 1),
    Proof("two-receivers", kills.prove_receivers, 20, 2),
    Proof("pipelining", pipelining.prove, 10, 1),
    Proof("requests", suites.prove_requests, 2000, 200),
    Proof("backlog", backlog.prove, 1_000_000, 1_000_000),
    Proof("disk-full-building", full_disk.prove, 12, 6),
    Proof("load-kills", suites.prove_kills, 60, 2),
    Proof("order", suites.prove_order, 300, 20),
    Proof("marts", suites.prove_marts, 30, 1),
    Proof("drift", suites.prove_drift, 1, 1),
    Proof("poison", suites.prove_poison, 1, 1),
    Proof("publishing", suites.prove_publishing, 1000, 20),
    Proof("erasure", suites.prove_erasure, 1, 1),
)


def main() -> int:
    """Prove, print, keep."""
    parser = ArgumentParser(prog="python -m tests.torture", description=sys.modules[main.__module__].__doc__)
    parser.add_argument("--quick", action="store_true", help="a few cycles of each, and the table is not kept")
    parser.add_argument("proofs", nargs="*", metavar="proof", help=", ".join(proof.name for proof in PROOFS))
    options = parser.parse_args()
    chosen = [proof for proof in PROOFS if not options.proofs or proof.name in options.proofs]
    rows = []
    for proof in chosen:
        rows.append(_row(proof, proof.quick if options.quick else proof.times))
        print(markdown(rows[-1:]).splitlines()[-1], flush=True)
    text = f"{_HEAD.format(cores=os.cpu_count(), gib=_memory_gib())}\n{markdown(rows)}\n"
    print(f"\n{text}")
    if not options.quick and not options.proofs:
        _TABLE.write_text(text)
    return 0 if all(row.sound for row in rows) else 1


def _row(proof: Proof, times: int) -> Row:
    began = monotonic()
    with TemporaryDirectory(prefix=f"torture-{proof.name}-") as folder:
        try:
            return proof.prove(times, Path(folder))
        except CannotRunHereError as why:
            return Row(proof.name.replace("-", " "), "–", None, why_not=str(why))
        except Exception as why:  # noqa: BLE001 - the outermost edge: what breaks one proof must not hide the others
            print_exc()
            broken = Trial(faults=[f"the proof itself broke: {type(why).__name__}, {why}"])
            return Row(proof.name.replace("-", " "), "–", broken, counts_deliveries=False)
        finally:
            print(f"{proof.name}: {monotonic() - began:.0f} s", file=sys.stderr)


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))


_HEAD = """# The last run of `make torture`

{cores} cores, {gib} GiB. *Acknowledged* is what clients were told with a 2xx before the failure; *lost* is what of it
is not in the store afterwards byte for byte, read by another process. *Held* also means: nothing stored twice,
nothing damaged but what was damaged on purpose, no answer but 2xx or 503 with Retry-After.

Every proof of the receiver is also run against one that is broken on purpose (`tests/torture/broken.py`), and counts
only when it catches that; the tests of load and build bring their own. A power loss is a file system that is shut
down without its journal: it shows what the kernel was asked to make safe, not what a drive does that lies about its
cache.
"""


if __name__ == "__main__":
    sys.exit(main())
