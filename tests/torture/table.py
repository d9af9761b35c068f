"""What a proof found: one row of the table."""

from collections.abc import Iterable
from dataclasses import dataclass, field


class CannotRunHereError(Exception):
    """A proof needs what this machine does not have; the message is a sentence that says what."""


@dataclass
class Trial:
    """What came of one side of a proof, the product's or the mutant's: `faults` are broken promises that lost
    nothing, one sentence each."""

    acknowledged: int = 0
    lost: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Trial") -> None:
        self.acknowledged += other.acknowledged
        self.lost += other.lost
        self.faults += other.faults

    def expect(self, kept: bool, fault: str) -> None:
        """Note a promise that was not kept."""
        if not kept:
            self.faults.append(fault)

    @property
    def held(self) -> bool:
        return not self.lost and not self.faults

    @property
    def told(self) -> str:
        """What was not kept: how much was lost, and the first fault."""
        return ", ".join([f"{self.lost:,} lost"] * bool(self.lost) + self.faults[:1])


@dataclass(frozen=True)
class Row:
    """A proof: what was done how often, what the product made of it, and what the mutants did.

    `trial` is None when the proof could not run; `why_not` then says why. `note` stands behind the verdict.
    """

    failure: str
    tried: str
    trial: Trial | None
    mutants: dict[str, Trial] = field(default_factory=dict)
    counts_deliveries: bool = True
    why_not: str = ""
    note: str = ""

    @property
    def sound(self) -> bool:
        """Whether the product held and every mutant was caught. A proof that did not run proves nothing, and
        disproves nothing."""
        return self.trial is None or (self.trial.held and not any(each.held for each in self.mutants.values()))

    @property
    def verdict(self) -> str:
        if self.trial is None:
            return f"skipped: {self.why_not}"
        said = ["held" if self.trial.held else f"BROKEN: {self.trial.told}"]
        for name, trial in self.mutants.items():
            if trial.held:
                said.append(f"MUTANT NOT CAUGHT ({name})")
            else:
                said.append(f"mutant caught ({name}: {trial.told})")
        return "; ".join([*said, self.note] if self.note else said)


def markdown(rows: Iterable[Row]) -> str:
    """The table."""
    lines = ["| failure | cycles or inputs tried | acknowledged | lost | verdict |", "|---|---|--:|--:|---|"]
    for row in rows:
        counted = row.trial is not None and row.counts_deliveries
        figures = [f"{row.trial.acknowledged:,}", f"{row.trial.lost:,}"] if counted and row.trial else ["–", "–"]
        cells = [row.failure, row.tried, *figures, row.verdict]
        lines.append(f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} |")
    return "\n".join(lines)
