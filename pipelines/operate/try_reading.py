"""Do with some deliveries whatever any command does with bodies: a process of its own finds out whether it dies."""

import json
import sys
from pathlib import Path

from pipelines.identity import DEFAULT_REGION
from pipelines.load.batches import documents_of
from pipelines.load.crash_guard import leave_no_core
from pipelines.load.flatten import flattener
from pipelines.load.parse import Visit, read_body
from pipelines.privacy.marks import concerned
from receiver import rawstore


def main(wanted: dict[str, list[str]]) -> None:
    """Read deliveries, chosen by the path of their segment and by id."""
    deliveries = []
    for path, ids in wanted.items():
        chosen = set(ids)
        for found in rawstore.read_segment(Path(path)):
            if isinstance(found, rawstore.Landed) and found.delivery.delivery_id in chosen:
                deliveries.append((rawstore.identity(Path(path)), found.line, found.delivery))
    for _, _, delivery in deliveries:
        for visit in read_body(delivery):
            if isinstance(visit, Visit):
                list(concerned(delivery.source, visit.body, DEFAULT_REGION))
    with flattener(lambda _: DEFAULT_REGION) as flatten:
        for _ in flatten(documents_of(deliveries)):
            pass


if __name__ == "__main__":
    leave_no_core()
    main(json.load(sys.stdin))
