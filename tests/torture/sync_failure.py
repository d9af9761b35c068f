"""A sync that fails: strace makes the kernel's answer to the N-th write or sync an error, for every early N.

Deliveries are posted one after the other, so that the N-th batch is the N-th delivery: it alone must get 503, and
what follows must stand in a new segment. The first write of all is the receiver's own, which finds out whether it can
store.
"""

import time
from pathlib import Path
from typing import NamedTuple

from receiver import rawstore
from tests.torture.clients import Client, answers, audit
from tests.torture.mounts import require
from tests.torture.running import receiver
from tests.torture.table import Row, Trial

AFTERWARDS = 3
MUTANT = "retry-a-failed-sync"


class Injection(NamedTuple):
    """What strace injects; `{}` is the number of the call that fails."""

    name: str
    asked: tuple[str, ...]


ALWAYS = Injection("every write: EIO", ("pwritev2:error=EIO",))
INJECTIONS = (
    Injection("write and sync in one call: EIO", ("pwritev2:error=EIO:when={}",)),
    Injection("write and sync in one call: short", ("pwritev2:retval=7:when={}",)),
    # As on file systems without synced writes: the bytes are in the file, and only the sync fails.
    Injection("sync alone: EIO", ("pwritev2:error=EOPNOTSUPP", "fdatasync:error=EIO:when={}")),
)


def prove(times: int, folder: Path) -> Row:
    """Every N up to `times`, for every kind of failure."""
    require("strace")
    honest = Trial()
    for number in range(1, times + 1):
        for kind, injection in enumerate(INJECTIONS):
            honest.add(_fail_once(folder / f"{kind}-{number}", injection, number))
    honest.add(_fail_always(folder / "always"))
    mutant = Trial()
    for kind, injection in enumerate(INJECTIONS):
        mutant.add(_fail_once(folder / f"mutant-{kind}", injection, 2, broken=MUTANT))
    tried = f"{times * len(INJECTIONS)} failures: {len(INJECTIONS)} kinds, each at call 1 to {times}; and all calls"
    return Row("sync fails", tried, honest, {MUTANT: mutant})


def _strace(injection: Injection, number: int) -> tuple[str, ...]:
    asked = [each.format(number + 1) for each in injection.asked]
    names = ",".join(each.partition(":")[0] for each in asked)
    return ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={names}", *(f"-einject={each}" for each in asked))


def _fail_once(home: Path, injection: Injection, number: int, broken: str = "") -> Trial:
    """A receiver whose N-th write or sync fails, and what it then says and stores."""
    trial = Trial()
    with receiver(home, broken=broken, prefix=_strace(injection, number)) as running:
        client = Client(running.port)
        said = [*answers(client, number + AFTERWARDS)]
        client.close()
    trial.add(audit(client.ledger, running.raw))
    due = ["stored"] * (number - 1) + ["refused"] + ["stored"] * AFTERWARDS
    trial.expect(said == due, f"{injection.name}, call {number}: the failed delivery was {said[number - 1]}")
    sizes = [sum(1 for _ in rawstore.read_segment(path)) for path in rawstore.closed(running.raw).values()]
    due_sizes = [size for size in (number - 1, AFTERWARDS) if size]
    trial.expect(sizes == due_sizes, f"{injection.name}, call {number}: segments hold {sizes}, not {due_sizes}")
    return trial


def _fail_always(home: Path) -> Trial:
    """A receiver that can store nothing: it says so every time, and stops being ready."""
    trial = Trial()
    with receiver(home, prefix=_strace(ALWAYS, 1)) as running:
        client = Client(running.port)
        trial.expect(set(answers(client, 5)) == {"refused"}, "acknowledged although every sync fails")
        trial.expect(not client.ready(), "says it is ready although every sync fails")
        time.sleep(1.5)
        trial.expect(not client.ready(), "says it is ready again although every sync fails")
        client.close()
    trial.add(audit(client.ledger, running.raw))
    return trial
