"""What counts as slower.

A ratio is ours over the fixed code's processor time, both the least of turns that alternate, so
that waiting for the processor does not count, and what slows it for a while slows both or is left
out. A ratio is stored with its spread, over blocks of turns. It is suspicious above `allowed`
times the stored one, and is then measured again; it counts as slower if no repetition comes
below. Where pnpfusion has become more than twice as fast, the stored ratio would not notice if it
became slower again: it is out of date.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LEAST = 0.25  #: what is always allowed: 25 % more
TIMES = 2.0  #: or so many spreads, if that is more
MOST = 0.5  #: never allowed is more than this on top
OUTDATED = 2.0  #: a ratio that shrank by more than this tells nothing of what is slower
REPEATS = 3  #: how often a suspicious ratio is measured again


@dataclass(frozen=True)
class Ratio:
    """A ratio and how far blocks of turns were apart, relative to it."""

    value: float
    spread: float


@dataclass(frozen=True)
class Verdict:
    """What became of a case."""

    name: str
    stored: Ratio | None
    now: float
    words: str  #: as stored, slower, faster, baseline out of date, new

    @property
    def slower(self) -> bool:
        """Whether this is a failure."""
        return self.words == "slower"


def allowed(stored: Ratio) -> float:
    """The largest ratio that is not suspicious."""
    return stored.value * (1 + margin(stored))


def margin(stored: Ratio) -> float:
    """What a ratio may be off by noise alone, relative to it."""
    return min(MOST, max(LEAST, TIMES * stored.spread))


def of_blocks(ratios: Sequence[float]) -> Ratio:
    """The median of blocks, and their range over it."""
    middle = statistics.median(ratios)
    return Ratio(middle, (max(ratios) - min(ratios)) / middle)


def judge(name: str, stored: Ratio | None, measure: Callable[[], float]) -> Verdict:
    """Measure once, and again while it is suspicious; the least counts."""
    now = measure()
    if stored is None:
        return Verdict(name, None, now, "new")
    for _ in range(REPEATS):
        if now <= allowed(stored):
            break
        now = min(now, measure())
    if now > allowed(stored):
        return Verdict(name, stored, now, "slower")
    if OUTDATED * now < stored.value:
        return Verdict(name, stored, now, "baseline out of date")
    quick = now * (1 + margin(stored)) < stored.value
    return Verdict(name, stored, now, "faster" if quick else "as stored")


def block(
    ours: Callable[[], object], fixed: Callable[[], object], turns: int = 9, budget: float = 0.03
) -> float:
    """The least of ours over the least of the fixed code's, in turns.

    Within a turn each runs for about ``budget`` seconds, at least once.
    """
    best = {ours: float("inf"), fixed: float("inf")}
    for turn in range(turns):
        for work in (ours, fixed) if turn % 2 == 0 else (fixed, ours):
            spent = 0.0
            while spent < budget:
                begin = time.process_time()
                work()
                taken = time.process_time() - begin
                best[work] = min(best[work], taken)
                spent += taken
    return best[ours] / best[fixed]
