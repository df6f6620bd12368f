"""The balance of a run: what must stay, what must fall, and what must stay positive."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from pnpfusion.solution import Solution
from pnpfusion.visualize.books import Books, books, claims
from pnpfusion.visualize.palette import colors
from pnpfusion.visualize.style import looks, new_figure, say, styled
from pnpfusion.visualize.trace import Array, pnp_law, trace


def plot_ledger(solution: Solution) -> Figure:
    """Mass, net charge, free energy and smallest concentration against time.

    Of a batch: the worst sample and the median for mass and smallest concentration, the median and
    the range for charge and energy. What follows a sample's failure is left out of the curves.

    Args:
        solution: a run of a PNP cell.

    Raises:
        ValueError: the run is none of a PNP cell of one axis.
    """
    species = pnp_law(solution).species
    kept = books(solution)
    says = claims(kept)
    with styled():
        figure = new_figure(9.2, 6.4, says.heading)
        panels = figure.subplots(2, 2, sharex=True)
        mass, charge, energy, smallest = panels.flat
        _mass(
            mass, kept, {name: (look.color, look.dashes) for name, look in looks(species).items()}
        )
        _charge(charge, kept)
        _energy(energy, kept)
        _smallest(smallest, kept)
        early = trace(solution, None).early
        for axes, text in zip(panels.flat, says.panels, strict=True):
            say(axes, text, 3.8)
            kept.clock.axis(axes, kept.times, early=early)
            _mark_failure(axes, kept)
        for axes in panels[0]:
            axes.set_xlabel("")
        figure.legend(*mass.get_legend_handles_labels(), loc="outside lower left", ncols=4)
    return figure


def _mark_failure(axes: Axes, kept: Books) -> None:
    """A line where the first sample fails, and nothing is drawn where none is left."""
    if kept.failure is not None:
        axes.axvline(kept.failure, color=colors().alarm, linewidth=1.2)
    if kept.left < len(kept.times):
        low, high = float(kept.times[kept.left]), float(kept.times[-1])
        axes.axvspan(
            low, high, facecolor=colors().void, edgecolor=colors().hatch, hatch="////", lw=0
        )
        if low < high:
            axes.text(
                (low + high) / 2,
                0.45,
                "no solution",
                transform=axes.get_xaxis_transform(),
                ha="center",
                backgroundcolor=colors().void,
                color=colors().faint,
            )


def _mass(axes: Axes, kept: Books, styles: dict[str, tuple[str, object]]) -> None:
    for index, name in enumerate(kept.species):
        error = kept.mass_error[..., index]
        color, dashes = styles[name]
        label = name if kept.closed[index] else f"{name} (crosses walls)"
        worst = over_samples(error, "max")
        axes.plot(kept.times, worst, color=color, linestyle=dashes, marker=".", ms=3, label=label)
        if kept.size > 1:
            median = over_samples(error, "median")
            axes.fill_between(kept.times, median, worst, color=color, alpha=0.2, linewidth=0)
    top = max(10 * kept.slack, 5 * _largest(kept.mass_error))
    axes.set_yscale("symlog", linthresh=1e-17, linscale=0.5)
    axes.set_ylim(-2e-18, top)
    _powers(axes, top, both=False)
    axes.axhline(kept.slack, color=colors().faint, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_ylabel("relative change of mass")


def _charge(axes: Axes, kept: Books) -> None:
    change = kept.charge - kept.charge[:1]
    reach = max(1e3 * kept.slack, 5 * _largest(np.abs(change)))
    axes.axhspan(-kept.slack, kept.slack, color=colors().faint, alpha=0.2, linewidth=0)
    axes.text(
        0.015,
        1.5 * kept.slack,
        "round-off",
        transform=axes.get_yaxis_transform(),
        color=colors().faint,
        va="bottom",
    )
    _median_and_range(axes, kept, change)
    axes.set_yscale("symlog", linthresh=1e-16, linscale=0.5)
    axes.set_ylim(-reach, reach)
    _powers(axes, reach, both=True)
    axes.set_ylabel(r"change of net charge / $\sum |z| c$")


def _energy(axes: Axes, kept: Books) -> None:
    values = kept.energy - kept.energy[0] if kept.size > 1 else kept.energy
    _median_and_range(axes, kept, values)
    rises = (kept.rises > kept.energy_slack).any(1)
    if rises.any() and all(kept.closed):
        highest = over_samples(values, "max")
        axes.plot(
            kept.times[1:][rises],
            highest[1:][rises],
            "^",
            color=colors().alarm,
            ms=4,
            label="it rises",
        )
    symbol = "$F(t) - F(0)$" if kept.size > 1 else "free energy $F$"
    axes.set_ylabel(rf"{symbol}  ($RT c_\mathrm{{ref}} L$)")


def _smallest(axes: Axes, kept: Books) -> None:
    worst, median = over_samples(kept.smallest, "min"), over_samples(kept.smallest, "median")
    positive = worst > 0
    axes.plot(kept.times, np.where(positive, worst, np.nan), color=colors().ink, marker=".", ms=3)
    if kept.size > 1:
        low = np.where(positive, worst, np.nan)
        axes.fill_between(kept.times, low, median, color=colors().ink, alpha=0.15, linewidth=0)
    axes.set_yscale("log")
    if positive.any():
        shown = median if kept.size > 1 else worst
        axes.set_ylim(worst[positive].min() / 2, 2 * max(_largest(shown), worst[positive].max()))
    below = np.isfinite(worst) & ~positive
    floor = np.full(int(below.sum()), 0.02)
    axes.plot(
        kept.times[below],
        floor,
        "v",
        color=colors().alarm,
        ms=4,
        transform=axes.get_xaxis_transform(),
    )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    least, most = axes.get_ylim()
    places = [m * 10.0**e for e in range(-300, 10) for m in (1, 2, 5)]
    places = [place for place in places if least <= place <= most]
    axes.yaxis.set_major_locator(FixedLocator(places[:: -(-len(places) // 8) or 1]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(r"smallest $c$  ($c_\mathrm{ref}$)")


def _median_and_range(axes: Axes, kept: Books, values: Array) -> None:
    axes.plot(kept.times, over_samples(values, "median"), color=colors().ink, marker=".", ms=3)
    if kept.size > 1:
        low, high = over_samples(values, "min"), over_samples(values, "max")
        axes.fill_between(kept.times, low, high, color=colors().ink, alpha=0.15, linewidth=0)


def _powers(axes: Axes, top: float, *, both: bool) -> None:
    last = int(np.floor(np.log10(top)))
    step = 4 if both or last > -6 else 2
    places = [10.0**power for power in range(-12 if both else -16, last + 1, step)]
    mirrored = [-place for place in reversed(places)] if both else []
    axes.yaxis.set_major_locator(FixedLocator([*mirrored, 0.0, *places]))
    axes.yaxis.set_minor_locator(NullLocator())


def over_samples(values: Array, which: Literal["max", "min", "median"]) -> Array:
    """The largest, smallest or median over the samples, (T, B) to (T,); NaN where none is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no sample is left
        if which == "median":
            return np.asarray(np.nanmedian(values, axis=1))
        return np.asarray((np.nanmax if which == "max" else np.nanmin)(values, axis=1))


def _largest(values: Array) -> float:
    return float(np.nan_to_num(values).max())
