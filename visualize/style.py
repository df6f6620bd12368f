"""How every picture looks: fonts, colours, axes and numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from cycler import cycler
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from pnpfusion.dynamics.species import Species
from pnpfusion.visualize.palette import ON_BLACK, ON_WHITE, Palette, colors

CONCENTRATION_MAP = "viridis"
SIGNED_MAP = ON_WHITE.signed

# The colours of the light sheet by name, for scripts; a picture of this folder asks `colors()`.
INK, FAINT, ALARM = ON_WHITE.ink, ON_WHITE.faint, ON_WHITE.alarm
WARM, COOL, GREY, LINES = ON_WHITE.warm, ON_WHITE.cool, ON_WHITE.grey, ON_WHITE.lines
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (6, 1.2, 1, 1.2)))

SPECK = 1e-6  #: what of a potential or charge density is too little to fill a picture
LENGTH, TIME, CONCENTRATION = "$L$", "$L^2/D$", r"$c_\mathrm{ref}$"
POTENTIAL, CHARGE = "$kT/e$", r"$F c_\mathrm{ref}$"


def _sheet(of: Palette) -> dict[str, Any]:
    """The look of every picture, in the colours of a palette."""
    return {
        "figure.facecolor": of.paper,
        "axes.facecolor": of.paper,
        "figure.dpi": 150,
        "savefig.dpi": "figure",
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "mathtext.fontset": "dejavusans",
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.titlepad": 5,
        "axes.labelsize": 9,
        "axes.prop_cycle": cycler("color", of.lines),
        "axes.edgecolor": of.ink,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "axes.unicode_minus": True,
        "figure.titlesize": 12,
        "figure.titleweight": "bold",
        "text.color": of.ink,
        "axes.labelcolor": of.ink,
        "xtick.color": of.ink,
        "ytick.color": of.ink,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "lines.linewidth": 1.6,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "legend.fontsize": 8,
        "hatch.linewidth": 0.5,
        "hatch.color": of.hatch,
        "svg.fonttype": "none",
    }


#: The looks of pictures, for paper and for slides: for `matplotlib.pyplot.style.use`.
LIGHT, DARK = _sheet(ON_WHITE), _sheet(ON_BLACK)


def styled() -> AbstractContextManager[None]:
    """The style of all pictures, for a ``with``; what was set before comes back after it.

    It is the dark one where the ground in force is dark, as after ``plt.style.use(DARK)``.
    """
    return style.context(["default", DARK if colors() is ON_BLACK else LIGHT])


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
    found, now = {}, colors()
    for value, names in groups.items():
        hues = now.warm if value > 0 else now.cool if value < 0 else now.grey
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


def line_look(index: int) -> Look:
    """The look of the line of this number."""
    hues = colors().lines
    return Look(hues[index % len(hues)], DASHES[index % len(DASHES)])


def inches(axes: Axes) -> float:
    """How wide ``axes`` are, for :func:`say`."""
    return float(axes.bbox.width / axes.figure.dpi)
