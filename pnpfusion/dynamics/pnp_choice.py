"""Which stepper suits a PNP cell, and why."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.spectral import SpectralElectrolyte
from pnpfusion.solvers.steppers.base import Stepper
from pnpfusion.solvers.steppers.exponential import ETDRK4
from pnpfusion.solvers.steppers.implicit import KenCarp4

FACES = {
    "scharfetter-gummel": "Scharfetter-Gummel faces: positive, and exact at rest, at any voltage",
    "central": "central faces: the smallest error where a cell's potential step is below 1",
    "harmonic": "harmonic faces: positive, exact at rest, with bounded weights",
}


def choose(
    grid: Grid, scheme: str, law: BoundPNP, u0: Tensor, rtol: float | None, atol: float | None
) -> tuple[Stepper, str]:
    """A stepper for ``law`` from ``u0``, and a sentence that says why.

    Series take exponential steps, so short that the first one errs by less than rtol; everything
    else takes adaptive implicit steps, since diffusion across one cell is quick.
    """
    cell = law.cell
    c = u0.detach().reshape(-1, *cell.valence.shape[1:2], *grid.shape)
    if isinstance(cell, SpectralElectrolyte):
        if atol is not None:
            raise ValueError("steps in series have no `atol`; leave it out, or give a stepper.")
        wanted = rtol if rtol is not None else (1e-5 if u0.dtype.itemsize == 8 else 1e-3)
        dt, error = _first_step(law, cell, c, wanted)
        reason = (
            f"series in space with ETDRK4 steps of {dt:.2g}: diffusion and the mean drift are "
            f"followed exactly, the rest at order 4, and the first step errs by {error:.1g}"
        )
        return ETDRK4(dt=dt), reason
    stepper = KenCarp4(rtol=rtol, atol=atol)
    if not isinstance(cell, Electrolyte):
        return stepper, "polynomials in space with KenCarp4, implicit, since their layers are stiff"
    reason = (
        f"{FACES[scheme]}; KenCarp4, implicit and of order 4, since an explicit step could not be "
        f"longer than {cell.crossing:.2g}, the time of diffusion across a cell"
    )
    return stepper, reason


def _first_step(
    law: BoundPNP, cell: SpectralElectrolyte, c: Tensor, wanted: float
) -> tuple[float, float]:
    """A step whose error against two halves of it is below ``wanted``, and that error.

    It begins with the shortest relaxation time of the charge, which is what the rest of the drift
    that is not followed exactly can do at most to a wave.
    """
    strength = (cell.valence.square() * cell.diffusivity.detach() * c).sum(1)
    size = float(strength.max().clamp_min(1e-300))
    dt = float(cell.permittivity.detach().min()) / size
    with torch.no_grad():
        for _ in range(30):
            span = torch.tensor([0.0, dt], dtype=torch.float64, device=c.device)
            ends = [ETDRK4(dt=dt / n).integrate(law, c, span).states[-1] for n in (1, 2)]
            error = float((ends[0] - ends[1]).abs().max() / c.abs().max().clamp_min(1e-300))
            if error <= wanted:
                return dt, error
            dt /= 2
    return dt, error
