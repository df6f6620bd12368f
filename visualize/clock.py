"""What the "times" of a run are: times, rounds, or the start and the state of rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

from pnpfusion.dynamics.coupled import Coupled
from pnpfusion.dynamics.pnp import PNP
from pnpfusion.solution import Solution
from pnpfusion.visualize.style import TIME, number


@dataclass(frozen=True)
class Clock:
    """How a picture speaks of the "times" of a run."""

    kind: Literal["time", "rounds", "rest"]  #: of `simulate`, `unroll` and `equilibrium`
    unit: str = TIME  #: of times; empty for laws without one

    @classmethod
    def of(cls, solution: Solution) -> Clock:
        """That of the verb that made the run, which its times and its work tell."""
        times, work = solution.times, solution.work
        last = len(times) - 1
        if last > 0 and bool((work.steps == last).all() and (work.rate_calls == last).all()):
            if times.tolist() == [*range(last + 1)]:
                return cls("rounds")
        elif last == 1 and not work.steps.any() and not work.rejected.any() and times[0] == 0:
            return cls("rest")
        return cls("time", TIME if isinstance(solution.dynamics, PNP | Coupled) else "")

    def when(self, time: float) -> str:
        """A moment: "at t = 0.3", "after 12 rounds", "at rest"."""
        if self.kind == "time":
            return f"at t = {number(time)}"
        if time == 0:
            return "at the start"
        return "at rest" if self.kind == "rest" else f"after {time:g} rounds"

    def by(self, time: float) -> str:
        """Until when something failed: "by t = 0.3", "by round 12", "to come to rest"."""
        if self.kind == "rest":
            return "to come to rest"
        return f"by t = {number(time)}" if self.kind == "time" else f"by round {time:g}"

    def axis(
        self, axes: Axes, times: np.ndarray[Any, Any], *, early: bool, vertical: bool = False
    ) -> None:
        """Label the axis of time; logarithmic from the first step on if most happens ``early``."""
        scale: dict[str, Any] = {"value": "linear"}
        if early:
            scale = {"value": "symlog", "linthresh": float(times[1] - times[0]), "linscale": 0.4}
        first, last = float(times[0]), float(times[-1])
        last = last if last > first else first + 1.0
        time = f"time $t$  ({self.unit})" if self.unit else "time $t$"
        label = {"time": time, "rounds": "round", "rest": ""}[self.kind]
        if vertical:
            axes.set_yscale(**scale)
            axes.set(ylabel=label, ylim=(first, last))
        else:
            axes.set_xscale(**scale)
            axes.set(xlabel=label, xlim=(first, last))
        if self.kind == "rest" and vertical:  # two bands
            axes.set_yticks(np.linspace(first, last, 5)[[1, 3]], ["start", "at rest"])
        elif self.kind == "rest":
            axes.set_xticks([first, last], ["start", "at rest"])
            axes.set_xlim(1.05 * first - 0.05 * last, 1.05 * last - 0.05 * first)
