"""The axis of space with the electrodes at its ends."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pnpfusion.visualize.palette import colors
from pnpfusion.visualize.style import LENGTH, number
from pnpfusion.visualize.trace import Trace


def space_axis(axes: Axes, trace: Trace, *, labels: bool = True, small: bool = False) -> None:
    """Make x the axis of space; an electrode is a coloured edge with its potential under it."""
    low, high = float(trace.faces[0]), float(trace.faces[-1])
    axes.set_xlim(low, high)
    inner = MaxNLocator(2 if small else 5).tick_values(low, high)
    margin = 0.12 * (high - low)
    places = [low, *(p for p in inner if low + margin < p < high - margin), high]
    axes.set_xticks(places, [f"{place:.4g}" for place in places])
    axes.tick_params(axis="x", labelbottom=labels)
    width = 1.6 if small else 3.0
    texts = axes.get_xticklabels()
    for side, place, spine in (("x-", 0, "left"), ("x+", -1, "right")):
        if side not in trace.walls:
            continue
        value = trace.walls[side]
        color = electrode_color(value)
        axes.spines[spine].set(visible=True, color=color, linewidth=width)
        axes.spines[spine].set_position(("outward", width / 2))  # hides nothing of the layer
        if labels:
            label = electrode_label(value)
            label = label.removeprefix("φ = ") if small else label
            texts[place].set_text(f"{texts[place].get_text()}\n{label}")
            texts[place].set_color(color)
    if labels:
        axes.set_xticks(places, [text.get_text() for text in texts])
        if not small:
            axes.set_xlabel(f"position $x$  ({LENGTH})", labelpad=-8 if trace.walls else None)


def electrode_color(value: float) -> str:
    """Red for a positive electrode, blue for a negative one, grey for one at 0."""
    return colors().positive if value > 0 else colors().negative if value < 0 else colors().faint


def electrode_label(value: float) -> str:
    """The potential of a wall: "φ = +2"."""
    return f"φ = {'+' if value > 0 else ''}{number(float(np.round(value, 12)))}"
