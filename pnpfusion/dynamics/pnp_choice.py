"""Which stepper suits a PNP cell, and why."""

from __future__ import annotations

from torch import Tensor

from pnpfusion.solvers.cell import Cell
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
    grid: Grid, scheme: str, cell: Cell, u0: Tensor, rtol: float | None, atol: float | None
) -> tuple[Stepper, str]:
    """A stepper for ``cell`` from ``u0``, and a sentence that says why.

    Series take exponential steps, a quarter of the shortest relaxation time of the charge at rtol
    1e-5; everything else takes adaptive implicit steps, since diffusion across one cell is quick.
    """
    c = u0.detach().reshape(-1, *cell.valence.shape[1:2], *grid.shape)
    if isinstance(cell, SpectralElectrolyte):
        strength = (cell.valence.square() * cell.diffusivity * c).sum(1).detach()
        relaxation = float((cell.permittivity.detach() / strength.clamp_min(1e-300)).min())
        double = u0.dtype.itemsize == 8
        wanted = rtol if rtol is not None else (1e-5 if double else 1e-3)
        dt = relaxation * min(0.25 * (wanted / 1e-5) ** 0.25, 1.0)
        reason = (
            f"series in space with ETDRK4 steps of {dt:.2g}: diffusion and the mean drift are "
            f"followed exactly, and the rest is slower than the charge's shortest relaxation time, "
            f"{relaxation:.2g}"
        )
        return ETDRK4(dt=dt), reason
    stepper = KenCarp4(rtol=rtol, atol=atol)
    if not isinstance(cell, Electrolyte):
        return stepper, "polynomials in space with KenCarp4, implicit, since their layers are stiff"
    limit = min(float(grid.widths(axis).min()) for axis in range(grid.ndim)) ** 2 / (2 * grid.ndim)
    fastest = max(
        float((line.transmissivity.detach() * _widths_over_area(cell, axis)).max())
        for axis, line in enumerate(cell.lines)
    )
    reason = (
        f"{FACES[scheme]}; KenCarp4, implicit and of order 4, since an explicit step could not be "
        f"longer than {limit / max(fastest, 1e-300):.2g}, the time of diffusion across a cell"
    )
    return stepper, reason


def _widths_over_area(cell: Electrolyte, axis: int) -> float:
    """What turns the transmissivity of the closest inner faces into a diffusivity, about."""
    line = cell.dielectric.lines[axis]
    return float(cell.dielectric.grid.widths(axis).min() / line.areas.max())
