"""Profiles: where everything is at the start and at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from pnpfusion.solution import Solution
from pnpfusion.visualize.claim import gathering, headline, screening, sentence, separation
from pnpfusion.visualize.classes import plot_classes
from pnpfusion.visualize.palette import colors
from pnpfusion.visualize.samples import Sample
from pnpfusion.visualize.space_axis import space_axis
from pnpfusion.visualize.style import (
    CHARGE,
    CONCENTRATION,
    POTENTIAL,
    SPECK,
    looks,
    new_figure,
    number,
    say,
    styled,
)
from pnpfusion.visualize.trace import Array, Trace, fields_of, trace

INCHES = 3.7  #: width of a panel


def plot_profiles(
    solution: Solution,
    *,
    sample: Sample = 0,
    labels: Tensor | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """First and last profiles of every species, and the charge and potential they end with.

    Of a mean over samples the last profiles carry a band of one standard deviation. With ``labels``
    it is the last profiles of each class instead, as small multiples.

    Args:
        solution: a run of a PNP cell.
        sample: which of the flattened batch; ``(2, None)`` is the mean over row 2 of a batch of two
            axes, None that over the whole batch.
        labels: whole numbers, one for each sample of the batch; up to 10 different ones. With
            ``sample=(None, 3)`` there is one for each row, and column 3 of the batch is drawn;
            else ``sample`` is not looked at.
        class_names: names of the classes; label k is called ``class_names[k]``.

    Raises:
        ValueError: no PNP cell, no such sample, or labels that do not fit the batch.
    """
    if labels is not None:
        some = sample if isinstance(sample, tuple) else None
        return plot_classes(solution, labels, class_names, some)
    if class_names is not None:
        raise ValueError("`class_names` needs `labels`, which say the class of each sample.")
    shown = trace(solution, sample)
    spreads = _spreads(solution, shown) if len(shown.samples) > 1 else None
    count = len(shown.species)
    with styled():
        columns, rows = (1, 1) if count == 1 else (2, -(-count // 2))
        width, height = (6.0, 5.9) if columns == 1 else (9.2, 1.8 * rows + 2.75)
        figure = new_figure(width, height, headline(shown, separation(shown)))
        upper, lower = _panels(figure, rows, columns)
        for index, axes in enumerate(upper[:count]):
            _species(axes, shown, index, spreads)
            space_axis(axes, shown, labels=False)
            if index % columns == 0:
                axes.set_ylabel(f"$c$  ({CONCENTRATION})")
        for axes in upper[count:]:
            axes.set_axis_off()
        charge, potential = lower
        _signed(charge, shown, shown.rho, spreads[1] if spreads else None)
        _signed(potential, shown, shown.phi, spreads[2] if spreads else None)
        space_axis(charge, shown, labels=columns > 1)
        space_axis(potential, shown)
        charge.set_ylabel(rf"charge density $\rho$  ({CHARGE})")
        potential.set_ylabel(rf"potential $\phi$  ({POTENTIAL})")
        _legend(figure, shown, spread=spreads is not None)
        say(charge, _charge_claim(shown), INCHES)
        say(potential, sentence(shown.outcome) if shown.failed else screening(shown), INCHES)
    return figure


def _panels(figure: Figure, rows: int, columns: int) -> tuple[list[Axes], list[Axes]]:
    below = 2 if columns == 1 else 1
    grid = figure.add_gridspec(rows + below, columns, height_ratios=[1] * rows + [1.15] * below)
    first = figure.add_subplot(grid[0, 0])
    upper = [first] + [
        figure.add_subplot(grid[k // columns, k % columns], sharex=first, sharey=first)
        for k in range(1, rows * columns)
    ]
    for k, axes in enumerate(upper):
        axes.tick_params(labelleft=k % columns == 0)
    places = [(rows, 0), (rows + 1, 0)] if columns == 1 else [(rows, 0), (rows, 1)]
    return upper, [figure.add_subplot(grid[place]) for place in places]


def _species(axes: Axes, shown: Trace, index: int, spreads: tuple[Array, ...] | None) -> None:
    look, last = looks(shown.species)[shown.names[index]], shown.last
    start, end = shown.c[0, index], shown.c[last, index]
    axes.stairs(start, shown.faces, fill=True, color=look.color, alpha=0.22, linewidth=0)
    axes.plot(shown.x, end, color=look.color)
    if spreads is not None:
        band = spreads[0][index]
        axes.fill_between(shown.x, end - band, end + band, color=look.color, alpha=0.25, lw=0)
    top = shown.c[[0, shown.good - 1]].max()
    if spreads is not None:
        top = max(top, (shown.c[last] + spreads[0]).max())
    axes.set_ylim(-0.4 * top if shown.failed else 0, (1.4 if shown.failed else 1.05) * top)
    extremes = f"{number(float(end.min()))} to {number(float(end.max()))}"
    claim = f"{shown.names[index]}: {extremes}, no solution"
    say(axes, claim if shown.failed else gathering(shown, index), INCHES)


def _legend(figure: Figure, shown: Trace, *, spread: bool) -> None:
    start, end = (shown.clock.when(float(shown.times[k])) for k in (0, shown.last))
    end += ", no solution" if shown.failed else " ± 1 standard deviation" if spread else ""
    marks = [
        Patch(color=colors().faint, alpha=0.35, linewidth=0, label=f"species {start}"),
        Line2D([], [], color=colors().faint, linewidth=0.9, label=f"charge, potential {start}"),
        Line2D([], [], color=colors().ink, label=end),
    ]
    figure.legend(handles=marks, loc="outside lower left", ncols=3)


def _signed(axes: Axes, shown: Trace, values: Array, spread: Array | None) -> None:
    """The last values filled by their sign, over the first ones as a thin line."""
    start, end = values[[0, shown.last]]
    axes.axhline(0, color=colors().faint, linewidth=0.6)
    axes.plot(shown.x, start, color=colors().faint, linewidth=0.9)
    for color, where in ((colors().positive, end > 0), (colors().negative, end < 0)):
        axes.fill_between(
            shown.x, 0, end, where=where, interpolate=True, color=color, alpha=0.3, linewidth=0
        )
    axes.plot(shown.x, end, color=colors().ink, linewidth=1.3)
    reach = np.abs(values[[0, shown.good - 1]]).max()
    if spread is not None:
        axes.fill_between(shown.x, end - spread, end + spread, color=colors().ink, alpha=0.15, lw=0)
        reach = max(reach, float((np.abs(end) + spread).max()))
    reach = 1.08 * float(reach) if reach > SPECK else 1.0  # round-off stays flat
    axes.set_ylim(-reach, reach)


def _charge_claim(shown: Trace) -> str:
    rho = shown.rho[shown.last]
    if shown.failed:
        return "Charges without a meaning"
    if float(np.abs(rho).max()) < 1e-9:
        return "Neutral everywhere at the end"
    low, high = number(float(rho.min())), number(float(rho.max()))
    return f"Charge from {low} to {high} at the end"


def _spreads(solution: Solution, shown: Trace) -> tuple[Array, ...]:
    """Standard deviations over the samples that are shown."""
    with np.errstate(all="ignore"):  # a blow-up may overflow
        return tuple(values[shown.last][shown.samples].std(0) for values in fields_of(solution))
