"""How classes of samples differ: the last profiles of each, as small multiples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator
from torch import Tensor

from pnpfusion.solution import Solution
from pnpfusion.visualize.palette import colors
from pnpfusion.visualize.samples import chosen
from pnpfusion.visualize.space_axis import space_axis
from pnpfusion.visualize.style import CONCENTRATION, LENGTH, POTENTIAL, looks, new_figure, styled
from pnpfusion.visualize.trace import Array, Trace, believable, fields_of, trace

MOST = 10  #: classes that are still legible side by side


def plot_classes(
    solution: Solution,
    labels: Tensor,
    class_names: Sequence[str] | None = None,
    sample: tuple[int | None, ...] | None = None,
) -> Figure:
    """A column for each class, a row for each species and one for the potential.

    Lines are means over the class at the end of the run, bands one standard deviation, and the
    grey lines the means over all classes. A ``sample`` says which part of the batch, and has None
    where the axes of ``labels`` are. Samples without an answer are left out. See
    :func:`plot_profiles`, which checks nothing itself.
    """
    found, classes = _checked(solution, labels, class_names, sample)
    shown = trace(solution, sample)
    meant = chosen(tuple(solution.succeeded.shape), sample)
    c, phi, _ = (values[:, meant] for values in fields_of(solution))
    fine = believable(c)[-1] & solution.succeeded.detach().cpu().reshape(-1).numpy()[meant]
    if not fine.any():
        raise ValueError(f"`solution` has no sample that reached the end: {shown.outcome}.")
    rows = [*np.moveaxis(c[-1][fine], 1, 0), phi[-1][fine]]
    found = found[fine]
    names = [*shown.names, "potential"]
    shares = [_between(row, found) for row in rows]
    best = int(np.argmax(shares))
    chance = (len(np.unique(found)) - 1) / max(len(found) - 1, 1)
    lost = f"; {int((~fine).sum())} without an answer are left out" if not fine.all() else ""
    axes_shown = ", ".join(":" if one is None else str(one) for one in sample or ())
    where = f", ({axes_shown}) of the batch" if sample else ""
    heading = (
        f"Classes differ most in {names[best]}: {shares[best]:.0%} of its variance is between them "
        f"({chance:.0%} by chance)"
        f"\n({int(fine.sum())} samples {shown.clock.when(float(shown.times[-1]))}{where}{lost})"
    )
    with styled():
        figure = new_figure(max(7.0, 1.4 + 1.32 * len(classes)), 1.3 + 1.25 * len(rows), heading)
        panels = figure.subplots(len(rows), len(classes), sharex=True, sharey="row", squeeze=False)
        hues = [look.color for look in looks(shown.species).values()] + [colors().ink]
        for values, line, color, name, share in zip(rows, panels, hues, names, shares, strict=True):
            for axes, label in zip(line, classes, strict=True):
                _panel(axes, shown, values, values[found == label], color)
            unit = POTENTIAL if name == "potential" else CONCENTRATION
            symbol = r"$\phi$" if name == "potential" else "$c$"
            line[0].set_ylabel(f"{name}\n{symbol}  ({unit})", fontsize=8)
            if len(classes) > 1:
                line[-1].yaxis.set_label_position("right")
                line[-1].set_ylabel(f"{share:.0%} between", fontsize=8, rotation=270, va="bottom")
            if name != "potential":
                _scale(line[0], values)
        for axes, (label, name) in zip(panels[0], classes.items(), strict=True):
            axes.set_title(f"{name}\nn = {int((found == label).sum())}", loc="center", fontsize=9)
        for axes in panels[:-1].flat:
            space_axis(axes, shown, labels=False, small=True)
        for axes in panels[-1]:
            space_axis(axes, shown, small=True)
        marks = [
            Line2D([], [], color=colors().ink, label="mean of the class"),
            Patch(color=colors().ink, alpha=0.25, linewidth=0, label="± 1 standard deviation"),
            Line2D([], [], color=colors().faint, linewidth=0.8, label="mean of all classes"),
        ]
        figure.legend(handles=marks, loc="outside lower left", ncols=3)
        panels[-1, len(classes) // 2].set_xlabel(f"position $x$  ({LENGTH})")
    return figure


def _panel(axes: Axes, shown: Trace, all_values: Array, values: Array, color: str) -> None:
    axes.plot(shown.x, all_values.mean(0), color=colors().faint, linewidth=0.8)
    if len(values):
        mean, spread = values.mean(0), values.std(0)
        axes.fill_between(shown.x, mean - spread, mean + spread, color=color, alpha=0.25, lw=0)
        axes.plot(shown.x, mean, color=color, linewidth=1.3)


def _scale(axes: Axes, values: Array) -> None:
    """Concentrations by ratio, if they span more than a factor of ten; else from 0."""
    mean = values.mean(0)
    if mean.min() > 0 and mean.max() > 10 * mean.min():
        axes.set_yscale("log")
        axes.set_ylim(0.7 * float(mean.min()), 2 * float(mean.max()))
        ticks = [m * 10.0**e for e in range(-9, 10) for m in (1, 3)]
        axes.yaxis.set_major_locator(
            FixedLocator(ticks[:: 1 if mean.max() < 99 * mean.min() else 2])
        )
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)


def _between(values: Array, labels: npt.NDArray[np.int_]) -> float:
    """The share of the variance of (B, N) that is between the classes, over all cells."""
    total = float(((values - values.mean(0)) ** 2).sum())
    between = 0.0
    for label in np.unique(labels):
        group = values[labels == label]
        between += len(group) * float(((group.mean(0) - values.mean(0)) ** 2).sum())
    return between / total if total > 1e-24 * float((values**2).sum()) else 0.0


def _checked(
    solution: Solution,
    labels: Tensor,
    class_names: Sequence[str] | None,
    sample: tuple[int | None, ...] | None,
) -> tuple[npt.NDArray[np.int_], dict[int, str]]:
    """The label of each sample, and the name of each class that occurs."""
    batch = tuple(solution.succeeded.shape)
    if not batch:
        raise ValueError("`labels` need a batch of samples, got a run of a single one.")
    if sample is not None:
        chosen(batch, sample)  # says what is wrong with it
        batch = tuple(n for n, one in zip(batch, sample, strict=True) if one is None)
    if tuple(labels.shape) != batch:
        hint = ""
        if sample is None and len(batch) > labels.ndim > 0:
            some = ", ".join(["None"] * labels.ndim + ["0"] * (len(batch) - labels.ndim))
            hint = f"; to draw a part of the batch, give e.g. `sample=({some})`"
        raise ValueError(
            f"`labels` must have the batch shape {batch}, got {tuple(labels.shape)}{hint}."
        )
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"`labels` must be whole numbers, got {labels.dtype}; use labels.long().")
    found = labels.detach().cpu().long().reshape(-1).numpy()
    values = [int(value) for value in np.unique(found)]
    if len(values) > MOST:
        raise ValueError(
            f"`labels` may hold up to {MOST} classes, got {len(values)}; draw some of the samples."
        )
    if class_names is None:
        return found, {value: f"class {value}" for value in values}
    if not 0 <= values[0] <= values[-1] < len(class_names):
        raise ValueError(
            f"`class_names` must name every label from {values[0]} to {values[-1]} by its index, "
            f"got {len(class_names)} names."
        )
    return found, {value: class_names[value] for value in values}
