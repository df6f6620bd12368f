"""A panel, what is read off it, and a law to draw."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import pnpfusion as pf
from tests.registry import f64

ALONG = torch.linspace(0, 10, 11, dtype=f64)


def panel() -> Axes:
    return Figure(figsize=(6, 4)).subplots()


def title(axes: Axes) -> str:
    return axes.get_title(loc="left").replace("\n", " ")


def named(axes: Axes) -> dict[str, Line2D]:
    return {
        str(one.get_label()): one for one in axes.lines if not str(one.get_label()).startswith("_")
    }


def crosses(axes: Axes) -> list[Line2D]:
    return [one for one in axes.lines if one.get_marker() == "X"]


def below(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata())


class Turn(pf.Dynamics):
    """A map that multiplies each sample's state by x: rounds and Picard's iteration may grow."""

    def rate(self, t: torch.Tensor, u: torch.Tensor, x: object = None) -> torch.Tensor:
        assert isinstance(x, torch.Tensor)
        return x * u + 1 - u


FACTORS = torch.tensor([[0.5], [-0.25], [-2.0]], dtype=f64)
