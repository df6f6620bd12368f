"""Times of works that take turns, as the processor counts them: waiting for others is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def in_turns(
    works: Mapping[str, Callable[[], object]], rounds: int, *, warm: int = 1
) -> dict[str, list[float]]:
    """Seconds of each work in each round, after ``warm`` rounds that do not count.

    In every round all take their turn, in reversed order every other round.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(-warm, rounds):
        for name in [*works][:: 1 - 2 * (turn % 2)]:
            spent = seconds(works[name])
            if turn >= 0:
                taken[name].append(spent)
    return taken
