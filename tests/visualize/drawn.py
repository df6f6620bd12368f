"""Runs to draw, and what is read off their pictures."""

import sys

import torch
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

import pnpfusion as pf
from tests.registry import f64

CELLS = 24


def times(end: float, count: int = 21) -> torch.Tensor:
    return torch.linspace(0, end, count, dtype=f64)


def cell(voltage: float = 2.0, walls: dict[str, pf.Wall] | None = None) -> pf.PNP:
    grid = pf.Grid((CELLS,), (1.0,), ("wall",))
    ends = {"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=-voltage)}
    ions = [pf.Species("cation", valence=+1), pf.Species("anion", valence=-1)]
    return pf.PNP(grid, ions, permittivity=0.1, walls=ends | (walls or {}))


def titles(figure: Figure) -> list[str]:
    texts = [figure.get_suptitle(), *(axes.get_title(loc="left") for axes in figure.axes)]
    return [text.replace("\n", " ") for text in texts]


def assert_draws(figure: Figure) -> None:
    """It draws without a warning, which pytest makes an error, and pyplot knows nothing of it."""
    figure.draw_without_rendering()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def meshes(figure: Figure) -> list[QuadMesh]:
    return [
        one for axes in figure.axes[:2] for one in axes.collections if isinstance(one, QuadMesh)
    ]
