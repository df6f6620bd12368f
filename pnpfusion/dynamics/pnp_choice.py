"""Which stepper suits a PNP cell, and why."""

from __future__ import annotations

from torch import Tensor

from pnpfusion.dynamics.pnp_bound import BoundPNP
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
    law: BoundPNP, u0: Tensor, rtol: float | None, atol: float | None
) -> tuple[Stepper, str]:
    """A stepper for ``law`` from ``u0``, and a sentence that says why.

    Series take adaptive exponential steps; everything else takes adaptive implicit ones, since
    diffusion across one cell is quick.
    """
    cell = law.values
    if isinstance(cell, SpectralElectrolyte):
        c = u0.detach().reshape(-1, *cell.valence.shape[1:2], *law.made.grid.shape)
        if atol is not None:
            raise ValueError("steps in series have no `atol`; leave it out, or give a stepper.")
        reason = (
            "series in space with adaptive ETDRK4: diffusion and the mean drift are followed "
            "exactly"
        )
        if len(c):
            quickest = float(cell.quickest(c).min())
            reason += f", and what is left of the charge relaxes in {quickest:.2g} at the soonest"
        return ETDRK4(rtol=rtol), reason
    stepper = KenCarp4(rtol=rtol, atol=atol)
    if not isinstance(cell, Electrolyte):
        return stepper, "polynomials in space with KenCarp4, implicit, since their layers are stiff"
    reason = (
        f"{FACES[law.made.scheme]}; KenCarp4, implicit and of order 4, since an explicit step "
        f"could not be longer than {cell.crossing:.2g}, the time of diffusion across a cell"
    )
    return stepper, reason
