"""The curves of many samples as one: their median, their range, and who failed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from pnpfusion.visualize.ledger import over_samples
from pnpfusion.visualize.style import ALARM, Look
from pnpfusion.visualize.trace import Array


def draw_band(
    axes: Axes,
    x: Array,
    values: Array,
    look: Look,
    label: str,
    failed: npt.NDArray[np.bool_],
) -> None:
    """Draw the median of ``values`` (T, B) as a line, the range as a band.

    The samples that ``failed``, (B,), have a thin line each that ends in a cross.
    """
    color, size = look.color, values.shape[1]
    if size > 1:
        low, high = over_samples(values, "min"), over_samples(values, "max")
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(
        x, over_samples(values, "median"), color=color, linestyle=look.dashes, label=label, ms=3
    )
    for index in np.flatnonzero(failed):
        known = np.flatnonzero(np.isfinite(values[:, index]))
        if size > 1:
            axes.plot(x, values[:, index], color=color, linewidth=0.6, alpha=0.7)
        axes.plot(
            x[known[-1:]], values[known[-1:], index], "x", color=ALARM, ms=8, mew=2, clip_on=False
        )
