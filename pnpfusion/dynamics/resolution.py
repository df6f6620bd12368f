"""Whether a grid is fine enough for the layers of charge that a cell forms."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from pnpfusion.solvers.nernst_planck import Electrolyte


class ResolutionWarning(UserWarning):
    """The grid is too coarse for the thin layers of charge that a cell forms."""


def warn_if_coarse(cell: Electrolyte, c: Tensor) -> None:
    r"""Warn where cells (those at walls, if an axis has any) are wider than a quarter Debye length.

    The Debye length is that of the mean concentrations, the smallest of the batch:
    :math:`\lambda_D^2 = \varepsilon / \sum z^2 c`.
    """
    medium, grid = cell.dielectric, cell.dielectric.grid
    with torch.no_grad():
        strength = medium.total((cell.valence.square() * c).sum(1)) / medium.volumes.sum()
        epsilon = medium.permittivity.flatten(1).mean(1)
        debye = float((epsilon / strength.clamp_min(torch.finfo(c.dtype).tiny)).sqrt().min())
    widest, axis = 0.0, 0
    for line in medium.lines:
        widths = grid.widths(line.axis)
        found = float((widths if line.periodic else widths[[0, -1]]).max())
        if found > widest:
            widest, axis = found, line.axis
    if widest > debye / 4 * (1 + 1e-9):
        warnings.warn(
            f"the cells ({widest:.3g} wide) are coarse for the Debye length {debye:.3g}: charge "
            f"layers need cells of a quarter of it, which is "
            f"{math.ceil(4 * grid.lengths[axis] / debye)} equal cells (here {grid.shape[axis]}), "
            f"or a larger `permittivity`.",
            ResolutionWarning,
            stacklevel=4,
        )
