"""How every picture looks: fonts, colours, axes and numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from pnpfusion.dynamics.species import Species

CONCENTRATION_MAP = "viridis"
SIGNED_MAP = "RdBu_r"  # red is positive, as the cations are warm
INK, FAINT, ALARM = "#222222", "#8A8A8A", "#A50F4B"
POSITIVE, NEGATIVE = "#B2182B", "#2166AC"  # the ends of SIGNED_MAP
WARM = ("#C8400A", "#F0A30A", "#7A1F0B", "#E07B91")
COOL = ("#0B5FA5", "#3FB0D8", "#1B2A6B", "#2A8C7C")
GREY = ("#4D4D4D", "#8A8A8A", "#1A1A1A", "#B5B5B5")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (6, 1.2, 1, 1.2)))

SPECK = 1e-6  #: what of a potential or charge density is too little to fill a picture
LENGTH, TIME, CONCENTRATION = "$L$", "$L^2/D$", r"$c_\mathrm{ref}$"
POTENTIAL, CHARGE = "$kT/e$", r"$F c_\mathrm{ref}$"

#: The look of every picture, for `matplotlib.pyplot.style.use`.
LIGHT: dict[str, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": "figure",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 9,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.unicode_minus": True,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "hatch.linewidth": 0.5,
    "hatch.color": "#CFCFCF",
    "svg.fonttype": "none",
}


def styled() -> AbstractContextManager[None]:
    """The one style of all pictures, for a ``with``; what was set before comes back after it."""
    return style.context(["default", LIGHT])


def new_figure(width: float, height: float, heading: str) -> Figure:
    """An empty figure of so many inches with its claim on top; pyplot does not hear of it."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    figure = Figure(figsize=(width, height), layout=layout)
    lines = [textwrap.fill(line, int(9.2 * width)) for line in heading.split("\n")]
    figure.suptitle("\n".join(lines), x=0.012, ha="left", linespacing=1.25)
    return figure


def say(axes: Axes, text: str, inches: float) -> None:
    """Put a claim over ``axes``, which are so many inches wide."""
    axes.set_title(textwrap.fill(text, int(14.6 * inches)))


@dataclass(frozen=True)
class Look:
    """How a species is drawn, in every picture."""

    color: str  #: warm for cations, cool for anions, grey for what has no charge
    dashes: Any  #: the line style, which says the modality


def looks(species: Sequence[Species]) -> dict[str, Look]:
    """The look of each species of a law, by name.

    The sign of the valence chooses the family of hues; the first words of the name, "audio" in
    "audio cation", choose shade and line style; names without them count within their sign.
    """
    groups: dict[float, list[str]] = {}
    for one in species:
        groups.setdefault(sign(one), []).append(one.name)
    modalities = list(dict.fromkeys(one.name.rpartition(" ")[0] for one in species))
    by_name = all(
        len({name.rpartition(" ")[0] for name in names}) == len(names) for names in groups.values()
    )
    found = {}
    for value, names in groups.items():
        hues = WARM if value > 0 else COOL if value < 0 else GREY
        for place, name in enumerate(names):
            rank = modalities.index(name.rpartition(" ")[0]) if by_name else place
            found[name] = Look(hues[rank % len(hues)], DASHES[rank % len(DASHES)])
    return {one.name: found[one.name] for one in species}


def sign(species: Species) -> float:
    """The sign of a species' charge, +1, -1 or 0; that of the mean where samples differ."""
    return float(np.sign(float(torch.as_tensor(species.valence).detach().double().mean())))


def number(value: float) -> str:
    """A number as a title says it: 0.406, 12, 2e-16."""
    if value == 0 or not np.isfinite(value):
        return "0" if value == 0 else str(value)
    if not 1e-3 <= abs(value) < 1e4:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−", 1 if value < 0 else 0)
    return f"{value:.3g}".replace("-", "−")


#: Colours of lines that are no ions, apart for every kind of colour vision; dashes tell them too.
LINES = (COOL[0], WARM[0], COOL[3], WARM[1], WARM[3], INK, COOL[1], WARM[2])


def line_look(index: int) -> Look:
    """The look of the line of this number."""
    return Look(LINES[index % len(LINES)], DASHES[index % len(DASHES)])


def inches(axes: Axes) -> float:
    """How wide ``axes`` are, for :func:`say`."""
    return float(axes.bbox.width / axes.figure.dpi)
