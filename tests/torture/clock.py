"""The clock goes back under a working receiver, an hour and then a day: nothing is lost, overwritten or reordered."""

from pathlib import Path

from receiver import rawstore
from receiver.rawstore import Landed
from tests.torture.clients import Client, answers, audit
from tests.torture.running import receiver
from tests.torture.table import Row, Trial

POSTS = 200  # the clock goes back after 100 and 150 of them
PRODUCT, MUTANT = "clock-steps-back", "trust-the-clock"


def prove(times: int, folder: Path) -> Row:
    """So many receivers whose clock goes back."""
    honest, mutant = Trial(), _steps_back(folder / "mutant", MUTANT)
    for number in range(times):
        honest.add(_steps_back(folder / str(number), PRODUCT))
    return Row("clock steps back", f"{times} times an hour and then a day, in mid-work", honest, {MUTANT: mutant})


def _steps_back(home: Path, program: str) -> Trial:
    """One client posts one visit after the other: the order of its ledger is that of the store, and of the ids."""
    with receiver(home, broken=program, KOBRA_SEGMENT_MAX_BYTES="20000") as running:
        client = Client(running.port)
        said = list(answers(client, POSTS))
        client.close()
        running.kill()
    trial = audit(client.ledger, running.raw)
    trial.expect(said == ["stored"] * POSTS, "refused to store")
    in_order_of_creation = [path for _, path in sorted(rawstore.closed(running.raw).items())]
    found = [each for path in in_order_of_creation for each in rawstore.read_segment(path)]
    deliveries = [each.delivery for each in found if isinstance(each, Landed)]
    ids, times = [each.delivery_id for each in deliveries], [each.received_at for each in deliveries]
    trial.expect(times != sorted(times), "the clock never went back")
    trial.expect(ids == list(client.ledger), "stored in another order than received")
    trial.expect(ids == sorted(ids), "ids run backwards")
    return trial
