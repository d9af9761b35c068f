"""kill -9 under load: whatever was acknowledged is there afterwards, with one receiver and with two on one home."""

from functools import partial
from pathlib import Path

from receiver import rawstore
from tests.torture.clients import audit, crowd, for_a_while, until
from tests.torture.running import receiver
from tests.torture.table import Row, Trial

LATE, UNLOCKED = "acknowledge-before-write", "no-lock"


def prove(times: int, folder: Path) -> Row:
    """So many kills of a receiver under 8 clients, all on one store."""
    return Row("kill -9 of the receiver", f"{times} kills under 8 clients", kill(folder / "sound", times),
               {LATE: kill(folder / "late", max(1, times // 20), broken=LATE)})  # fmt: skip


def prove_receivers(times: int, folder: Path) -> Row:
    """So many kills of two receivers on one home, while somebody else recovers the store all the time."""
    return Row("kill -9 of two receivers on one home during recoveries", f"{times} kills under 16 clients",
               kill_during_recoveries(folder / "sound", times),
               {UNLOCKED: kill_during_recoveries(folder / "unlocked", 1, broken=UNLOCKED)})  # fmt: skip


def kill(home: Path, times: int, broken: str = "") -> Trial:
    """Load, kill, start again; then hold everything that was acknowledged against the store."""
    ledger: dict[str, int] = {}
    faults: list[str] = []
    for _ in range(times):
        with receiver(home, broken=broken, KOBRA_SEGMENT_MAX_AGE_S="0.2") as running, crowd(running.port) as clients:
            for_a_while(clients)
            running.kill()
            ledger |= clients.end()
            faults += clients.faults
    trial = audit(ledger, home / "raw")
    trial.faults += faults
    return trial


def kill_during_recoveries(home: Path, times: int, broken: str = "") -> Trial:
    """The same with two, while another process recovers: no segment may be closed by anybody but its writer."""
    ledger: dict[str, int] = {}
    trial = Trial()
    for _ in range(times):
        with (
            receiver(home, broken=broken, KOBRA_SEGMENT_MAX_AGE_S="0.2") as first,
            receiver(home, broken=broken, KOBRA_SEGMENT_MAX_AGE_S="0.2") as second,
            crowd(first.port) as some,
            crowd(second.port) as others,
        ):
            sizes: dict[Path, int] = {}
            for clients in (some, others):
                for_a_while(clients, 0, 0)
            until(partial(_recover_and_watch, home / "raw", sizes, trial), seconds=2)
            for running, clients in ((first, some), (second, others)):
                running.kill()
                ledger |= clients.end()
                trial.faults += clients.faults
    trial.add(audit(ledger, home / "raw"))
    return trial


def _recover_and_watch(raw: Path, sizes: dict[Path, int], trial: Trial) -> bool:
    """Recover, and see to it that a segment which was closed once stays as it is; whether there are enough."""
    rawstore.recover(raw)
    for path in rawstore.closed(raw).values():
        size = path.stat().st_size
        trial.expect(sizes.setdefault(path, size) == size, "a closed segment still grew")
    return len(sizes) > 40
