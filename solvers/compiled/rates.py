"""Rates of cells of one axis in compiled code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pnpfusion.solvers.arrays import as_array

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.cell import Cell


def compiled_rates(cell: Cell, u: Tensor) -> tuple[Tensor, Tensor]:
    """The rates of ``u`` ``(B, S, N)``, and the largest rise of z phi across a face, ``(B,)``."""
    from pnpfusion.solvers.kernels.axis.start import rates_1d

    states = as_array(u)
    slopes, steepest = np.empty_like(states), np.empty(len(states))
    rates_1d(cell, states, slopes, steepest)
    return torch.from_numpy(slopes), torch.from_numpy(steepest)
