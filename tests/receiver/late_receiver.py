"""A receiver that is broken on purpose: it acknowledges at once and writes every twentieth batch."""

import sys
from collections.abc import Sequence
from datetime import date

import receiver.app
from receiver.__main__ import main
from receiver.landing import Landing


class LateLanding(Landing):
    """Gathers twenty batches in memory before it writes them."""

    _batches = 0
    _late: tuple[bytes, ...] = ()

    def append(self, day: date, lines: Sequence[bytes]) -> None:
        self._batches += 1
        self._late += tuple(lines)
        if self._batches % 20 == 0:
            super().append(day, self._late)
            self._late = ()


if __name__ == "__main__":
    receiver.app.Landing = LateLanding  # type: ignore[misc]
    sys.exit(main())
