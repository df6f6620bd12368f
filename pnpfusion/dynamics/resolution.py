"""Whether a grid is fine enough for a cell, and a step short enough for a grid."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.solvers.callers import users_level
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.nernst_planck import Electrolyte


class ResolutionWarning(UserWarning):
    """The grid is too coarse for the thin layers of charge that a cell forms."""


class StabilityWarning(UserWarning):
    """The steps of an explicit method are longer than its stability allows."""


def warn_if_coarse(cell: Electrolyte, c: Tensor) -> bool:
    r"""Warn where cells (those at walls, if an axis has any) are wider than a quarter Debye length.

    Returns whether it did.

    The Debye length is that of the mean concentrations, the smallest of the batch:
    :math:`\lambda_D^2 = \varepsilon / \sum z^2 c`.
    """
    grid = cell.dielectric.grid
    strongest = float(cell.screening(c).max())
    debye = max(strongest, torch.finfo(c.dtype).tiny) ** -0.5
    widest, axis = cell.dielectric.widest
    if widest > debye / 4 * (1 + 1e-9) and debye > 0:  # 0: the sum has overflown
        needed = (
            f"{math.ceil(4 * grid.lengths[axis] / debye)} equal cells (here {grid.shape[axis]})"
        )
        if grid.edges is not None and grid.edges[axis] is not None:
            needed = f"{debye / 4:.3g} beside the walls"
        warnings.warn(
            f"the cells ({widest:.3g} wide) are coarse for the Debye length {debye:.3g}: charge "
            f"layers need cells of a quarter of it, which is {needed}, or a larger `permittivity`"
            f" {Faq.COARSE_GRID}.",
            ResolutionWarning,
            stacklevel=users_level(),
        )
        return True
    return False


def warn_if_steep(law: BoundPNP, c: Tensor) -> bool:
    """Warn where central faces see potential steps above 2: concentrations may turn negative.

    Returns whether it did.
    """
    cell = law.values
    if not isinstance(cell, Electrolyte) or cell.scheme.monotone:
        return False
    with torch.no_grad():
        steepest = law.steepest(c)
    if steepest > 2:
        warnings.warn(
            f"central faces between cells whose z phi differs by {steepest:.3g}, above 2, do not "
            f'keep concentrations positive; use scheme="scharfetter-gummel" or more cells'
            f" {Faq.COARSE_GRID}.",
            ResolutionWarning,
            stacklevel=users_level(),
        )
        return True
    return False


def warn_if_long(cell: Electrolyte, c: Tensor, dt: float, reach: float) -> None:
    r"""Warn where explicit steps exceed what diffusion or the relaxation of charge allow.

    Stable are steps below :math:`r / \lambda`, with :math:`\lambda` the fastest rate of decay, at
    most :math:`\max (\sum_a 4 D / h_a^2 + \sum z^2 D c / \varepsilon)`, and r, the ``reach`` of
    the method on the negative real axis.
    """
    with torch.no_grad():
        medium = cell.dielectric
        fastest = torch.zeros((), dtype=c.dtype, device=c.device)
        conduction = torch.zeros_like(fastest)
        for line, ions in zip(medium.lines, cell.lines, strict=True):
            widths = medium.grid.widths(line.axis).to(c)
            distance = widths.min()
            diffusivity = ions.transmissivity[..., 1:-1] * distance / line.areas[..., None]
            if diffusivity.numel():
                fastest = fastest + 4 * diffusivity.max() / distance**2
                conduction = torch.maximum(conduction, diffusivity.max())
        strength = (cell.valence.square() * c).sum(1).max()
        fastest = fastest + conduction * strength / medium.permittivity.min()
        limit = reach / float(fastest.clamp_min(torch.finfo(c.dtype).tiny))
    if dt > limit:
        warnings.warn(
            f"explicit steps of {dt:.3g} are longer than about {limit:.3g}, where states begin to "
            f"grow without bound; use dt <= {limit:.1g} or an implicit stepper, e.g. KenCarp4()"
            f" {Faq.LONG_EXPLICIT_STEPS}.",
            StabilityWarning,
            stacklevel=users_level(),
        )
