"""The pictures of docs/performance.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.picture import save
from benchmarks.suite.compare import Row, measured, seconds
from benchmarks.suite.contestants import PNPFUSION

OTHERS = ("PyBaMM", "cosine IF-RK4", "scipy", "devsim", "FiPy", "py-pde")
DASHES: tuple[Any, ...] = ((0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (9, 3)))
MARKS = ("o", "s", "^", "D", "v")


def precision(problem: str, heading: str, rows: Sequence[Row], path: Path) -> None:
    """Time against error, a line per program and family; whiskers are the range over rounds."""
    from pnpfusion.visualize.style import COOL, FAINT, GREY, WARM, new_figure, styled

    own_colors = (*WARM, GREY[0])
    hues = dict(zip(OTHERS, (COOL[0], COOL[1], COOL[3], *GREY[1:]), strict=True))
    with styled():
        figure = new_figure(7.2, 4.4, heading)
        axes = figure.add_subplot(xscale="log", yscale="log")
        labels = []
        families: dict[tuple[str, str], list[Row]] = {}
        for row in measured(rows):
            families.setdefault((row["program"], row["family"]), []).append(row)
        color: Any
        own = 0
        theirs: dict[str, int] = {}  #: how many lines of a program are drawn
        for turn, ((program, family), points) in enumerate(families.items()):
            points = sorted(points, key=lambda row: -row["error"])
            x, y = [p["error"] for p in points], [seconds(p) for p in points]
            runs = [[s for s in p["seconds"] if s is not None] for p in points]
            spread = [
                [m - min(s) for m, s in zip(y, runs, strict=True)],
                [max(s) - m for m, s in zip(y, runs, strict=True)],
            ]
            if program == PNPFUSION:
                color, dashes = own_colors[own % len(own_colors)], "-"
                own += 1
            else:
                nth = theirs.setdefault(program, 0)
                theirs[program] += 1
                color = paler(hues.get(program, FAINT), nth)
                dashes = DASHES[nth % len(DASHES)]
            axes.errorbar(
                x, y, spread, color=color, marker=MARKS[turn % len(MARKS)], markersize=4,
                linewidth=2.0 if program == PNPFUSION else 1.2, elinewidth=0.7,
                linestyle=dashes,
            )  # fmt: skip
            labels.append((x[-1], y[-1], f"{program}: {family}", color))
        axes.invert_xaxis()
        axes.set_xlabel("error (largest, relative); better to the right")
        axes.set_ylabel("seconds; better below")
        label_apart(axes, labels)
        save(figure, path, colors=128, bbox_inches="tight")


def paler(color: str, nth: int) -> tuple[float, float, float]:
    """The color of a program's nth line: each a quarter of the way further to white."""
    from matplotlib.colors import to_rgb

    share = min(0.25 * nth, 0.6)
    red, green, blue = (one + share * (1 - one) for one in to_rgb(color))
    return red, green, blue


def label_apart(axes: Any, labels: Sequence[tuple[float, float, str, Any]]) -> None:
    """Name lines in the right margin, in the order of their ends, each apart from the next."""
    left, right = axes.get_xlim()
    low, high = (math.log10(y) for y in axes.get_ylim())
    gap = (high - low) / 22
    axes.set_xlim(left, right)
    placed = apart([math.log10(y) for _, y, _, _ in sorted(labels, key=lambda o: o[1])], gap)
    for (x, y, text, color), at in zip(sorted(labels, key=lambda o: o[1]), placed, strict=True):
        axes.annotate(
            text, (x, y), (1.03, (at - low) / (high - low)), textcoords="axes fraction",
            color=color, fontsize=7.5, va="center",
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.4, "shrinkA": 1, "shrinkB": 3,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places, moved as little as it takes to be a gap apart."""
    moved = list(places)
    for _ in range(500):
        for i in range(len(moved) - 1):
            short = gap - (moved[i + 1] - moved[i])
            if short > 0:
                moved[i], moved[i + 1] = moved[i] - short / 2, moved[i + 1] + short / 2
    return moved


def growth(
    heading: str, xlabel: str, ylabel: str, lines: Sequence[tuple[str, list[float], list[float]]],
    path: Path,
) -> None:  # fmt: skip
    """Lines over a size, named at their ends; a faint line of slope 1 to compare with."""
    from pnpfusion.visualize.style import FAINT, line_look, new_figure, styled

    with styled():
        figure = new_figure(7.2, 4.0, heading)
        axes = figure.add_subplot(xscale="log", yscale="log")
        labels = []
        for place, (name, x, y) in enumerate(lines):
            look = line_look(place)
            axes.plot(x, y, color=look.color, linestyle=look.dashes, marker="o", markersize=3.5)
            labels.append((x[-1], y[-1], name, look.color))
        if lines:
            x1 = max(max(line[1]) for line in lines)
            low = 0.5 * min(b / a for _, x, y in lines for a, b in zip(x, y, strict=True))
            x0 = max(min(line[1][0] for line in lines), min(min(line[2]) for line in lines) / low)
            x0 = min(x0, x1 / 3)
            axes.plot([x0, x1], [low * x0, low * x1], color=FAINT, linewidth=0.8)
            labels.append((x1, low * x1, "proportional", FAINT))
        sizes = sorted({x for _, xs, _ in lines for x in xs})
        if sizes[-1] < 16 * sizes[0]:  # less than a decade has no ticks that can be read
            mark(axes.xaxis, sizes)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        label_apart(axes, labels)
        save(figure, path, colors=128, bbox_inches="tight")


def mark(axis: Any, places: Sequence[float]) -> None:
    """Ticks at these places and no others."""
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    axis.set_major_locator(FixedLocator(places))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def shares(
    heading: str, panels: Sequence[tuple[str, Sequence[tuple[str, list[float], list[float]]]]],
    goal: float, path: Path,
) -> None:  # fmt: skip
    """Ratios over sizes, a panel for each meaning of size, with the goal across all."""
    from pnpfusion.visualize.style import FAINT, line_look, new_figure, styled

    with styled():
        figure = new_figure(8.4, 4.2, heading)
        widths = [2.0 if len(lines) > 1 else 1.0 for _, lines in panels]
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths)[0]
        for axes, (xlabel, lines) in zip(row, panels, strict=True):
            axes.set(xscale="log", yscale="log", xlabel=xlabel)
            for place, (name, x, y) in enumerate(lines):
                look = line_look(place)
                axes.plot(x, y, color=look.color, linestyle=look.dashes, marker="o",
                          markersize=3.5, label=name)  # fmt: skip
            axes.axhline(goal, color=FAINT, linewidth=0.8)
            if len(lines) > 1:
                axes.legend(frameon=False, fontsize=7, loc="upper right")
            sizes = sorted({x for _, xs, _ in lines for x in xs})
            if sizes[-1] < 16 * sizes[0]:
                mark(axes.xaxis, sizes)
        every = [goal, 1.0, *(y for _, lines in panels for _, _, ys in lines for y in ys)]
        low, high = min(every) / 1.15, max(every) * 1.6
        row[0].set_ylim(low, high)
        ticks = [v for v in (0.5, 1, 2, 3, 5, 10, 20, 50, 100) if low <= v <= high]
        mark(row[0].yaxis, ticks)
        row[0].set_ylabel("times the run alone")
        row[0].annotate(f"goal: {goal:g}", (0.02, goal), (0, -9), color=FAINT, fontsize=7.5,
                        xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
        save(figure, path, colors=128, bbox_inches="tight")
