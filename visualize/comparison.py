"""Who beats whom: scores with their intervals, and paired differences from one model."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pnpfusion.comparison.statistics import Interval, verdict
from pnpfusion.comparison.summary import Row, SetSummary
from pnpfusion.visualize.palette import colors
from pnpfusion.visualize.style import new_figure, number, say, styled

CONSTANT = "constant"  #: the model that tells the same of all


def plot_comparison(sets: Sequence[SetSummary]) -> Figure:
    """For each set, the score of every model, and how much it differs from the reference.

    Bars are 95 % intervals. Blue is a difference whose interval lies above 0, orange one below;
    grey is one that holds 0, or a single seed, which has none. What does not learn at all
    ("constant") does not stretch the axes: an arrow points to where it is.

    Args:
        sets: as :class:`pnpfusion.comparison.Comparison` has them.

    Raises:
        ValueError: nothing that has a result.
    """
    known = [one for one in sets if any(one.score in row.measures for row in one.rows)]
    if not known:
        raise ValueError("`sets` must hold at least one with a result, got none.")
    rows = [[row for row in one.rows if one.score in row.measures] for one in known]
    heights = [1.1 + 0.24 * len(some) for some in rows]
    with styled():
        figure = new_figure(9.0, 0.6 + sum(heights), _heading(known))
        panels = figure.subplots(len(known), 2, squeeze=False, height_ratios=heights)
        for (left, right), one, some in zip(panels, known, rows, strict=True):
            _scores(left, one, some)
            _differences(right, one, some)
            right.sharey(left)
            right.tick_params(labelleft=False)
    return figure


def _heading(sets: Sequence[SetSummary]) -> str:
    references = {one.reference for one in sets}
    judged = [row for one in sets for row in one.rows if row.difference is not None]
    better, worse = (
        sum(verdict(row.difference) == kind for row in judged) for kind in ("above", "below")
    )
    against = references.pop() if len(references) == 1 else "the reference"
    return (
        f"Of {len(judged)} comparisons with {against}, {better} better, {worse} worse, "
        f"{len(judged) - better - worse} open"
    )


def _scores(axes: Axes, one: SetSummary, rows: Sequence[Row]) -> None:
    hues = [colors().ink if row.model == one.reference else _color(row) for row in rows]
    _bars(axes, rows, [row.measures[one.score] for row in rows], hues)
    axes.axvline(
        _mean(one, rows, one.reference), color=colors().faint, lw=0.8, ls=(0, (2, 2)), zorder=0
    )
    axes.set_yticks(range(len(rows)), [row.model for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f"{one.score}, test")
    best = max(rows, key=lambda row: row.measures[one.score].mean)
    value = number(best.measures[one.score].mean)
    say(axes, f"{one.name}: highest with {best.model}, {value}", 3.9)


def _differences(axes: Axes, one: SetSummary, rows: Sequence[Row]) -> None:
    axes.axvline(0, color=colors().ink, lw=0.8, zorder=0)
    intervals = [None if row.difference is None else row.difference.interval for row in rows]
    _bars(axes, rows, intervals, [_color(row) for row in rows])
    axes.set_xlabel(f"{one.score} less that of {one.reference}, same seeds and folds")
    above = [row.model for row in rows if verdict(row.difference) == "above"]
    named = ", ".join(above) if 0 < len(above) < 4 else f"{len(above)} models" if above else "None"
    say(axes, f"{named} with all of the interval above {one.reference}", 3.9)


def _bars(
    axes: Axes, rows: Sequence[Row], intervals: Sequence[Interval | None], hues: Sequence[str]
) -> None:
    """Those that learn nothing last, where they do not stretch the axis."""
    late = []
    for place, (row, one, color) in enumerate(zip(rows, intervals, hues, strict=True)):
        if one is not None and row.model == CONSTANT and len(rows) > 1:
            late.append((place, one, color))
        elif one is not None:
            draw_interval(axes, place, one, color)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    for place, one, color in late:
        low, high = axes.get_xlim()
        if low <= one.mean <= high:
            draw_interval(axes, place, one, color)
            continue
        edge, sign = (low, "<") if one.mean < low else (high, ">")
        axes.plot([edge], [place], sign, color=color, ms=5, clip_on=False)
        side = "left" if sign == "<" else "right"
        axes.annotate(
            number(one.mean),
            (edge, place),
            xytext=(6 if sign == "<" else -6, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=8,
            color=colors().faint,
        )
        axes.set_xlim(low, high)


def draw_interval(axes: Axes, place: int, one: Interval, color: str) -> None:
    """Draw a mean as a dot and its interval as a bar through it."""
    if one.low is not None and one.high is not None:
        axes.plot([one.low, one.high], [place, place], color=color, lw=2.2, alpha=0.55)
    axes.plot([one.mean], [place], "o", color=color, ms=4.5)


def _color(row: Row) -> str:
    hues = {"above": colors().cool[0], "below": colors().warm[0], "open": colors().faint}
    return hues[verdict(row.difference)]


def _mean(one: SetSummary, rows: Sequence[Row], model: str) -> float:
    found = [row.measures[one.score].mean for row in rows if row.model == model]
    return found[0] if found else float("nan")
