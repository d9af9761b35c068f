"""Power loss: the file system is shut down under a working receiver, mounted again, and read.

After the shutdown ioctl nothing in memory reaches the disk any more, not even the journal; the next mount replays
what was there. Every cycle stores in a folder of its own, so that new folders and new segments are at stake each
time, on a file system that lives through all cycles.

What counts is what clients had heard before the power went: nobody hears from a machine without power. This one
goes on running, and while the ioctl does its work the kernel confirms a sync now and then that it then does not
have (seen on Linux 6.18 with a writer of ten lines in every tenth try on ext4, more rarely on xfs).
"""

from functools import partial
from pathlib import Path

from tests.torture.clients import audit, crowd, for_a_while
from tests.torture.mounts import Disk, disk, require_root
from tests.torture.running import receiver
from tests.torture.table import Row, Trial

MUTANT = "no-sync"


def prove(times: int, folder: Path, kind: str) -> Row:
    """So many power losses on a file system of this kind."""
    require_root("losetup", "mount", f"mkfs.{kind}")
    row = partial(Row, f"power loss on {kind}", f"{times} shutdowns of the file system under 8 clients")
    with disk(folder / kind, kind) as under_it:
        honest = _power_losses(under_it, times)
        mutant = _power_losses(under_it, max(1, times // 20), broken=MUTANT)
    return row(honest, {MUTANT: mutant})


def _power_losses(under_it: Disk, times: int, broken: str = "") -> Trial:
    """Lose power again and again; every ledger is held against its store at once, and once more at the end."""
    total, ledgers = Trial(), {}
    for cycle in range(times):
        home = under_it.at / f"home-{broken or 'sound'}-{cycle}"
        with receiver(home, broken=broken, KOBRA_SEGMENT_MAX_AGE_S="0.2") as running, crowd(running.port) as clients:
            for_a_while(clients)
            ledgers[home] = clients.so_far()
            under_it.cut_power()
            clients.end()
            total.faults += clients.faults
            running.kill()
        under_it.unmount()
        under_it.mount()
        total.add(audit(ledgers[home], home / "raw"))
    for home, ledger in ledgers.items():
        later = audit(ledger, home / "raw")
        total.expect(broken != "" or later.held, "what was there once is gone after a later power loss")
    return total
