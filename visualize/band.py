"""The curves of many samples as one: their median, their range, and who failed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from pnpfusion.visualize.ledger import over_samples
from pnpfusion.visualize.palette import colors
from pnpfusion.visualize.style import Look
from pnpfusion.visualize.trace import Array


def draw_band(
    axes: Axes,
    x: Array,
    values: Array,
    look: Look,
    label: str,
    failed: npt.NDArray[np.bool_],
) -> None:
    """Draw the median of ``values`` (T, B) as a line, their range as a band.

    The samples that ``failed``, (B,), are left out there, and have a thin line each that ends in a
    cross.
    """
    color, good = look.color, values[:, ~failed]
    if good.shape[1] > 1:
        low, high = over_samples(good, "min"), over_samples(good, "max")
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    if good.shape[1]:
        median = over_samples(good, "median")
        axes.plot(x, median, color=color, linestyle=look.dashes, label=label)
    for place, index in enumerate(np.flatnonzero(failed)):
        known = np.flatnonzero(np.isfinite(values[:, index]))
        named = label if not place and not good.size else None
        axes.plot(
            x, values[:, index], color=color, linestyle=look.dashes, linewidth=0.8, label=named
        )
        end = known[-1:]
        axes.plot(
            x[end], values[end, index], "X", color=color, mec=colors().alarm, ms=8, clip_on=False
        )
