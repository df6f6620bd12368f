"""How the residual of a fixed-point iteration falls, or does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pnpfusion.dynamics.pnp import PNP as CellLaw
from pnpfusion.solution import Solution
from pnpfusion.visualize.band import draw_band
from pnpfusion.visualize.clock import Clock
from pnpfusion.visualize.style import inches, line_look, number, say, styled
from pnpfusion.visualize.trace import Array

LEAST = 1e-17  #: what a relative residual of 0 is drawn as


def plot_residuals(ax: Axes, runs: Solution | Mapping[str, Solution]) -> Axes:
    r"""Relative residuals against iterations: the median over samples, the range as a band.

    Of an equilibrium that is its `history`, :math:`\|f(u)\| / \|u + f(u)\|`, of the best iterate so
    far, which is what a solver returns; of rounds :math:`\|u_r - u_{r-1}\| / \|u_r\|`, the same
    where Picard's iteration converges. A sample that has ended stays where it came to. Those that
    did not converge, or whose rounds blew up, are in neither median nor band: they have thin lines
    of their own that end in a cross, and are counted in the legend and the title.

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
            lost = f" ({one.failed.sum()} of {len(one.failed)} fail)" if one.failed.any() else ""
            draw_band(ax, iterations, one.values, line_look(place), name + lost, one.failed)
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
    values: Array  #: relative, (K, B); NaN once all are done that succeed
    spent: Array  #: evaluations of each sample, (B,)
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
        values = (run.residuals / sizes.clamp_min(LEAST)).double()
    else:
        advice = (
            "give equilibria with a `solver`, such as pnpfusion.solvers.Anderson(), or runs of "
            "`unroll`"
        )
        if isinstance(run.dynamics, CellLaw):
            advice = (
                "cells keep none on their own way; of this run draw its concentrations and "
                "potential by `plot_profiles`, and print its work, or here " + advice
            )
        raise ValueError(
            f"`runs[{name!r}]` has no iterations ({run.choice or 'no rounds'}); {advice}."
        )
    array = values.cpu().reshape(len(values), -1).numpy()
    if not array.size:
        raise ValueError(f"`runs[{name!r}]` has no samples, or no iterations.")
    known = np.isfinite(array)
    if rounds:
        ends = len(array) - 1 - known[::-1].argmax(0)
        held = np.minimum(np.arange(len(array))[:, None], ends)
        array = np.take_along_axis(array, held, 0)
    else:
        array = np.fmin.accumulate(array, 0)
    over = ~known[:, succeeded].any(1)
    array[np.ix_(over, succeeded)] = np.nan  # those who converged are done
    spent = run.work.rate_calls.detach().double().cpu().reshape(-1).numpy()
    return _Residuals(np.maximum(array, LEAST), spent, ~succeeded, rounds)


def _claim(found: Mapping[str, _Residuals]) -> str:
    """Who converges, how fast, and who does not."""
    solved = {k: r for k, r in found.items() if not r.rounds and not r.failed.any()}
    counts = {k: float(np.median(r.spent)) for k, r in solved.items()}
    said = [f"{k} in {counts[k]:g}" for k in sorted(counts, key=lambda k: counts[k])]
    parts = []
    if said:
        several = any(len(r.spent) > 1 for r in solved.values())
        said[0] = said[0].replace(" in ", " converges in ") + " evaluations"
        parts.append(", ".join(said) + (" (median)" if several else ""))
    parts += [
        f"{name} changes by {number(one.last)} in round {len(one.values)}"
        for name, one in found.items()
        if one.rounds and not one.failed.any()
    ]
    for rounds, fault in ((False, "no convergence"), (True, "the rounds blow up")):
        lost = {k: r.failed for k, r in found.items() if r.rounds == rounds and r.failed.any()}
        if lost:
            whose = [
                (f" in {one.sum()} of {len(one)} samples" if len(one) > 1 else "")
                + (f" by {name}" if len(found) > 1 else "")
                for name, one in lost.items()
            ]
            parts.append(
                fault + ",".join([whose[0], *(w.replace(" samples", "") for w in whose[1:])])
            )
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]
