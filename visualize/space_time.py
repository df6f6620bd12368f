"""A run at a glance: where a species is, and the potential it feels, at each time."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pnpfusion.solution import Solution
from pnpfusion.solvers.arguments import check_choice
from pnpfusion.visualize.claim import gathering, headline, screening, sentence, separation
from pnpfusion.visualize.palette import colors
from pnpfusion.visualize.samples import Sample
from pnpfusion.visualize.space_axis import space_axis
from pnpfusion.visualize.style import (
    CONCENTRATION,
    CONCENTRATION_MAP,
    POTENTIAL,
    SPECK,
    new_figure,
    say,
    styled,
)
from pnpfusion.visualize.trace import Array, Trace, trace


def plot_space_time(solution: Solution, species: str, *, sample: Sample = 0) -> Figure:
    """A species' concentration c(x, t) over the potential phi(x, t), with time upwards.

    What follows a failure is hatched, and does not set the colours.

    Args:
        solution: a run of a PNP cell.
        species: the name of the species.
        sample: which of the flattened batch; ``(2, None)`` is the mean over row 2 of a batch of two
            axes, None that over the whole batch.

    Raises:
        ValueError: no PNP cell, no such species, no such sample.
    """
    shown = trace(solution, sample)
    check_choice("species", species, shown.names)
    index = shown.names.index(species)
    c, phi = shown.c[:, index], shown.phi
    with styled():
        figure = new_figure(6.6, 7.0, headline(shown, separation(shown)))
        top, bottom = figure.subplots(2, 1, sharex=True, sharey=True)
        mesh = _map(top, shown, c, CONCENTRATION_MAP, _norm(c[: shown.good]))
        _bar(figure, top, mesh, f"{species}  $c$  ({CONCENTRATION})")
        swing = max(float(np.abs(phi[: shown.good]).max()), SPECK)  # round-off stays white
        mesh = _map(bottom, shown, phi, colors().signed, Normalize(-swing, swing))
        bar = _bar(figure, bottom, mesh, rf"potential  $\phi$  ({POTENTIAL})")
        _contours(bottom, bar, shown)
        says = [gathering(shown, index), screening(shown)]
        if shown.failed:
            says = [f"{species}: nothing above the line is a solution", shown.outcome]
        for axes, text in zip((top, bottom), says, strict=True):
            say(axes, sentence(text) if axes is bottom else text, 5.4)
            shown.clock.axis(axes, shown.times, early=shown.early, vertical=True)
            space_axis(axes, shown, labels=axes is bottom)
            _mark_failure(axes, shown)
    return figure


def _norm(c: Array) -> Normalize:
    """Colours for concentrations: by ratio where they span more than a factor of four."""
    low, high = float(c.min()), float(c.max())
    if low > 0 and high > 4 * low:
        return LogNorm(max(low, 1e-3 * high), high, clip=True)
    low = 0.0 if low < 0.5 * high else low
    return Normalize(low, high if high - low > 1e-6 * high else low + 1.0)


def _map(
    axes: Axes, shown: Trace, values: Array, scale: str | Colormap, norm: Normalize
) -> QuadMesh:
    times = shown.times
    last = times[-1:] if len(times) > 1 else times + 1.0
    edges = np.concatenate([times[:1], (times[1:] + times[:-1]) / 2, last])
    axes.patch.set(facecolor=colors().void, hatch="////")  # shows where there is no answer
    mesh = axes.pcolormesh(
        shown.faces, edges, np.ma.masked_invalid(values), cmap=scale, norm=norm, rasterized=True
    )
    axes.spines[["top", "right"]].set_visible(True)
    return mesh


def _bar(figure: Figure, axes: Axes, mesh: QuadMesh, label: str) -> Colorbar:
    bar = figure.colorbar(mesh, ax=axes, label=label, aspect=18, pad=0.02)
    bar.outline.set_linewidth(0.6)
    if isinstance(mesh.norm, LogNorm):
        low, high = float(mesh.norm.vmin or 0), float(mesh.norm.vmax or 0)
        rounds = [m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)]
        rounds = [value for value in rounds if low <= value <= high]
        bar.set_ticks(rounds, labels=[f"{value:g}" for value in rounds])
        bar.ax.minorticks_off()
    return bar


def _contours(axes: Axes, bar: Colorbar, shown: Trace) -> None:
    phi = shown.phi[: shown.good]
    levels = MaxNLocator(8).tick_values(float(phi.min()), float(phi.max()))
    levels = levels[(levels > phi.min()) & (levels < phi.max())]
    if len(levels) and len(phi) > 2 and float(np.ptp(phi)) > SPECK:
        lines = axes.contour(
            shown.x,
            shown.times[: shown.good],
            phi,
            levels=levels,
            colors=colors().ink,
            linewidths=[1.1 if abs(level) < 1e-12 else 0.5 for level in levels],
            linestyles="solid",
            alpha=0.6,
        )
        bar.add_lines(lines)


def _mark_failure(axes: Axes, shown: Trace) -> None:
    if shown.failed:
        axes.axhline(
            float(shown.times[shown.good - 1 : shown.good + 1].mean()),
            color=colors().alarm,
            linewidth=1.5,
        )
