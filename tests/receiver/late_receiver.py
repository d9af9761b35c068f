"""A receiver that is broken on purpose: it acknowledges at once and writes five batches later."""

import sys
from collections import deque
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import receiver.app
from receiver.__main__ import main
from receiver.landing import Landing

KEPT_BACK = 5


class LateLanding(Landing):
    """Always keeps the last few batches back, so that whenever it is killed some of them are acknowledged."""

    def __init__(self, raw: Path, **options: Any) -> None:
        super().__init__(raw, **options)
        self._kept_back: deque[Sequence[bytes]] = deque()

    def append(self, day: date, lines: Sequence[bytes]) -> None:
        self._kept_back.append(lines)
        if len(self._kept_back) > KEPT_BACK:
            super().append(day, self._kept_back.popleft())


if __name__ == "__main__":
    receiver.app.Landing = LateLanding  # type: ignore[misc]
    sys.exit(main())
