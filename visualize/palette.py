"""The colours of the two style sheets, and those of the sheet in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib import rcParams
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb


@dataclass(frozen=True)
class Palette:
    """What a picture is drawn with, by what it means.

    Each colour stands out from ``paper`` by a contrast of 3 at least. A warm and a cool one of the
    same place, which share their dashes, differ in lightness too: grey print tells them apart.
    """

    paper: str  #: the ground
    ink: str  #: text, axes, potentials
    faint: str  #: what is only there to compare with
    alarm: str  #: failures
    positive: str  #: positive charge and potential
    negative: str
    warm: tuple[str, str, str, str]  #: cations, by modality
    cool: tuple[str, str, str, str]  #: anions
    grey: tuple[str, str, str, str]  #: what has no charge
    void: str  #: the ground where there is no solution
    hatch: str  #: its hatching
    signed: str | Colormap  #: of potentials and charge densities, 0 in the middle

    @property
    def lines(self) -> tuple[str, ...]:
        """Colours of lines that are no ions; dashes tell them apart too."""
        warm, cool = self.warm, self.cool
        return (cool[0], warm[0], cool[3], warm[1], warm[3], self.ink, cool[1], warm[2])


ON_WHITE = Palette(
    paper="#FFFFFF",
    ink="#222222",
    faint="#8A8A8A",
    alarm="#A50F4B",
    positive="#B2182B",
    negative="#2166AC",
    warm=("#D2490C", "#C08400", "#8F2A12", "#C75B9B"),
    cool=("#0B4F94", "#1F7BA0", "#1B2A6B", "#1F6B5E"),
    grey=("#4D4D4D", "#8A8A8A", "#1A1A1A", "#6E6E6E"),
    void="#F4F4F4",
    hatch="#CFCFCF",
    signed="RdBu_r",  # red is positive, as the cations are warm
)
ON_BLACK = Palette(
    paper="#14171C",
    ink="#E8E6E1",
    faint="#8F959E",
    alarm="#FF5C93",
    positive="#F0705F",
    negative="#6AAAE4",
    warm=("#FF8A4C", "#FFC94D", "#D9603B", "#F08CD0"),
    cool=("#3A86D6", "#5FC0E0", "#9AA6F0", "#2F9A84"),
    grey=("#C4C4C4", "#8F8F8F", "#F2F2F2", "#A8A8A8"),
    void="#1D2127",
    hatch="#3A4048",
    signed=LinearSegmentedColormap.from_list(
        "blue-black-red", ["#A9DBFF", "#2F7FC4", "#14171C", "#D2553F", "#FFC3AE"]
    ),
)


def colors() -> Palette:
    """The palette of the sheet in force, which the lightness of its ground tells."""
    ground: Any = rcParams["figure.facecolor"]
    red, green, blue = to_rgb(ground)
    return ON_BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else ON_WHITE
