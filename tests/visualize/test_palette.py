"""The colours: legible on their ground, apart in grey print and for colour-blind eyes."""

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import pnpfusion as pf
from pnpfusion.visualize import DARK, LIGHT
from pnpfusion.visualize.palette import ON_BLACK, ON_WHITE, Palette, colors
from pnpfusion.visualize.style import DASHES, line_look

Array = npt.NDArray[np.float64]
PALETTES = pytest.mark.parametrize("palette", [ON_WHITE, ON_BLACK], ids=["light", "dark"])

# From linear sRGB: to CIE XYZ, and to what eyes without M or L cones see of it (Machado,
# Oliveira and Fernandes, 10.1109/TVCG.2009.113, severity 1).
TO_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
EYES = {
    "all cones": np.eye(3),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ]
    ),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
}


def linear(color: str) -> Array:
    c = np.array(to_rgb(color))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.1, from 1 to 21."""
    low, high = sorted(float(TO_XYZ[1] @ linear(color)) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(color: str, eyes: str = "all cones") -> Array:
    """CIE L*a*b*; a step of about 2 is just seen."""
    light = np.clip(EYES[eyes] @ linear(color), 0, 1)
    x, y, z = np.cbrt(np.maximum(TO_XYZ @ light / TO_XYZ.sum(1), 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(one: str, other: str, eyes: str) -> float:
    return float(np.linalg.norm(lab(one, eyes) - lab(other, eyes)))


def named(palette: Palette) -> set[str]:
    single = {palette.ink, palette.faint, palette.alarm, palette.positive, palette.negative}
    return single | {*palette.warm, *palette.cool, *palette.grey}


def test_the_measures_know_black_and_white() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21, abs=0.01)
    assert lab("#FFFFFF") == pytest.approx([100, 0, 0], abs=0.05)
    assert apart("#FF0000", "#00C000", "deuteranopia") < 0.5 * apart(
        "#FF0000", "#00C000", "all cones"
    )


@PALETTES
def test_every_colour_stands_out_from_its_ground(palette: Palette) -> None:
    assert min(contrast(color, palette.paper) for color in named(palette)) >= 3
    assert contrast(palette.ink, palette.paper) >= 7  # text
    assert contrast(palette.faint, palette.void) >= 3


@PALETTES
@pytest.mark.parametrize("eyes", EYES)
def test_lines_of_one_dash_pattern_are_told_apart(palette: Palette, eyes: str) -> None:
    """Cation and anion of one modality are drawn alike but for their colour."""
    for warm, cool in zip(palette.warm, palette.cool, strict=True):
        assert abs(lab(warm)[0] - lab(cool)[0]) >= 10  # in grey print too
        assert apart(warm, cool, eyes) >= 15
    assert apart(palette.positive, palette.negative, eyes) >= 30


@PALETTES
@pytest.mark.parametrize("eyes", EYES)
def test_lines_that_follow_each_other_are_told_apart(palette: Palette, eyes: str) -> None:
    hues = palette.lines
    assert len(set(hues)) == len(hues)
    assert min(apart(a, b, eyes) for a, b in pairwise(hues)) >= 15
    looks = [line_look(index) for index in range(len(hues))]
    assert len({look.dashes for look in looks[: len(DASHES)]}) == len(DASHES)


def test_the_sheet_in_force_decides() -> None:
    with mpl.rc_context(LIGHT):
        assert colors() is ON_WHITE
    with mpl.rc_context(DARK):
        assert colors() is ON_BLACK
    with mpl.style.context("dark_background"):
        assert colors() is ON_BLACK


@pytest.mark.parametrize(("sheet", "palette"), [(LIGHT, ON_WHITE), (DARK, ON_BLACK)])
def test_pictures_are_drawn_in_the_sheet_in_force(
    sheet: dict[str, object], palette: Palette
) -> None:
    ions = [pf.Species("cation", +1), pf.Species("anion", -1)]
    walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=-1.0)}
    cell = pf.PNP(pf.Grid((16,), (1.0,), ("wall",)), ions, permittivity=0.2, walls=walls)
    run = pf.simulate(
        cell, torch.ones(2, 16, dtype=torch.float64), torch.linspace(0, 0.1, 5, dtype=torch.float64)
    )
    with mpl.rc_context(sheet):
        pictures: list[Figure] = [
            pf.visualize.plot_ledger(run),
            pf.visualize.plot_profiles(run),
            pf.visualize.plot_space_time(run, "cation"),
        ]
    for figure in pictures:  # after the sheet is gone: what is drawn stays
        assert figure.get_facecolor()[:3] == to_rgb(palette.paper)
        for axes in figure.axes:
            assert to_rgb(axes.xaxis.label.get_color()) == to_rgb(palette.ink)
            drawn = {to_rgb(line.get_color()) for line in axes.get_lines()}
            assert drawn <= {to_rgb(color) for color in named(palette)}
