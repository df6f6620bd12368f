"""The counts of a torture: what was tried, what failed, and how to run that again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    """Counts of one torture, by its name in ``tests.torture`` and its seed."""

    name: str
    seed: int
    tried: int = 0
    failures: list[tuple[object, str]] = field(default_factory=list)
    asides: Counter[str] = field(default_factory=Counter)

    def passed(self, aside: str = "") -> None:
        """One case kept its guarantees; ``aside`` counts it apart, e.g. "gave up honestly"."""
        self.tried += 1
        if aside:
            self.asides[aside] += 1

    def left_out(self, why: str) -> None:
        """One case could not be tried: it is counted apart, and as nothing that passed."""
        self.asides[why] += 1

    def failed(self, case: object, why: str) -> None:
        """One case did not: say so, and how to run it again."""
        self.tried += 1
        self.failures.append((case, why))
        print(f"FAILED case {case}: {why}")
        again = f"python -m tests.torture.{self.name} --seed {self.seed} --case {case}"
        print(f"    {again}", flush=True)

    def close(self) -> int:
        """Print the counts; the exit code, 1 where anything failed."""
        counts = [f"{self.tried} tried", f"{len(self.failures)} failed"]
        counts += [f"{number} {aside}" for aside, number in sorted(self.asides.items())]
        print(f"{self.name}: {', '.join(counts)}, seed {self.seed}", flush=True)
        return 1 if self.failures or not self.tried else 0
