"""How the residual of a fixed-point iteration falls, or does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pnpfusion.solution import Solution
from pnpfusion.solvers.fixed_point.base import FLOOR
from pnpfusion.visualize.band import draw_band
from pnpfusion.visualize.clock import Clock
from pnpfusion.visualize.style import inches, line_look, number, say, styled
from pnpfusion.visualize.trace import Array

LEAST = 1e-17  #: what a relative residual of 0 is drawn as


def plot_residuals(ax: Axes, runs: Solution | Mapping[str, Solution]) -> Axes:
    r"""Relative residuals against iterations: the median over samples, their range as a band.

    Of an equilibrium that is its `history`, :math:`\|f(u)\| / \|u + f(u)\|` at each iterate; of
    rounds :math:`\|u_{r} - u_{r-1}\| / \|u_r\|`, which is the same for Picard's iteration. A sample
    that has ended stays where it came to. Those that did not converge, or whose rounds blew up,
    have thin lines of their own that end in a cross.

    Args:
        ax: where to draw.
        runs: one run or several by name, of `unroll`, or of `equilibrium` with a ``solver`` that
            keeps a history.

    Returns:
        ``ax``.

    Raises:
        ValueError: a run that has no iterations.
    """
    named = runs if isinstance(runs, Mapping) else {"the run": runs}
    found = {name: _residuals(name, run) for name, run in named.items()}
    if not found:
        raise ValueError("`runs` must hold at least one run, got none.")
    with styled():
        for place, (name, one) in enumerate(found.items()):
            iterations = np.arange(1.0, len(one.values) + 1)
            draw_band(ax, iterations, one.values, line_look(place), name, one.failed)
        ax.set_yscale("log")
        ax.spines[["top", "right"]].set_visible(False)
        kinds = {one.rounds for one in found.values()}
        words = {False: ("iteration", "relative residual"), True: ("round", "relative change")}
        across, along = zip(*(words[kind] for kind in sorted(kinds)), strict=True)
        ax.set(xlabel=" or ".join(across), ylabel=" or ".join(along), xlim=(1, None))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(found) > 1:
            ax.legend()
        say(ax, _claim(found), inches(ax))
    return ax


@dataclass(frozen=True, eq=False)
class _Residuals:
    values: Array  #: relative, (K, B)
    ends: npt.NDArray[np.int_]  #: the last iteration of each sample, (B,), from 1
    failed: npt.NDArray[np.bool_]  #: (B,)
    rounds: bool

    @property
    def last(self) -> float:
        """What the median sample ends with."""
        return float(np.median(self.values[-1]))


def _residuals(name: str, run: Solution) -> _Residuals:
    succeeded = run.succeeded.detach().cpu().reshape(-1).numpy()
    rounds = run.history is None and Clock.of(run).kind == "rounds"
    if run.history is not None:
        values = run.history.detach().double()
    elif rounds:
        axes = tuple(range(run.residuals.ndim, run.states.ndim))
        sizes = run.states[1:].detach().square().mean(axes).sqrt()
        values = (run.residuals / (sizes + FLOOR)).double()
    else:
        raise ValueError(
            f"`runs[{name!r}]` has no iterations ({run.choice or 'no rounds'}); give equilibria "
            "with a `solver`, such as pnpfusion.solvers.Anderson(), or runs of `unroll`."
        )
    array = values.cpu().reshape(len(values), -1).numpy()
    if not array.size:
        raise ValueError(f"`runs[{name!r}]` has no samples, or no iterations.")
    known = np.isfinite(array)
    ends = np.where(known.any(0), len(array) - known[::-1].argmax(0), 1)
    held = np.minimum(np.arange(len(array))[:, None], ends - 1)
    array = np.maximum(np.take_along_axis(array, held, 0), LEAST)
    return _Residuals(array, ends, ~succeeded, rounds)


def _claim(found: Mapping[str, _Residuals]) -> str:
    """Who converges, how fast, and who does not."""
    solved = {k: r for k, r in found.items() if not r.rounds and not r.failed.any()}
    counts = {k: float(np.median(r.ends)) for k, r in solved.items()}
    said = [f"{k} in {counts[k]:g}" for k in sorted(counts, key=lambda k: counts[k])]
    parts = []
    if said:
        several = any(len(r.ends) > 1 for r in solved.values())
        said[0] = said[0].replace(" in ", " converges in ") + " iterations"
        parts.append(", ".join(said) + (" (median)" if several else ""))
    for name, one in found.items():
        verb = "blows up" if one.rounds else "does not converge"
        if one.failed.any():
            whose = f" in {one.failed.sum()} of {len(one.failed)} samples"
            parts.append(f"{name} {verb}" + (whose if len(one.failed) > 1 else ""))
        elif one.rounds:
            count = len(one.values)
            parts.append(f"{name} changes by {number(one.last)} in round {count}")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]
