r"""The potential in an electrolyte at rest beside a reservoir: Poisson–Boltzmann."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pnpfusion.solvers.boundary import Wall, Walls, check_walls
from pnpfusion.solvers.convex_equilibrium import convex_equilibrium
from pnpfusion.solvers.field import Field, Parameter, check_above_zero
from pnpfusion.solvers.fluxes import FACE_SCHEMES
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.nernst_planck import Electrolyte


def solve_poisson_boltzmann(
    grid: Grid,
    valences: Sequence[float | Tensor],
    concentrations: Sequence[float | Tensor],
    *,
    permittivity: Parameter = 1.0,
    walls: Walls | None = None,
    fixed_charge: Parameter = 0.0,
    steric: Parameter | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> Tensor:
    r"""The potential of ions that are everywhere at rest with a reservoir of potential 0.

    .. math:: -\nabla\cdot(\varepsilon\nabla\phi) = \rho_f + \sum_i z_i c_i^\infty
              \frac{e^{-z_i\phi}}{1 + a^3 \sum_j c_j^\infty (e^{-z_j\phi} - 1)},

    with :math:`a^3 = 0` for point ions. The minimum of a convex function, by Newton's method with a
    line search: found from anywhere. Differentiable in every parameter, first derivatives only.

    Args:
        grid: the box.
        valences: z of each species, a number or shape ``(*batch,)``.
        concentrations: of each species in the reservoir, > 0, likewise, in c_ref.
        permittivity: :math:`\varepsilon`; may be a Field.
        walls: potentials, Stern layers, surface charges; see :class:`Wall`.
        fixed_charge: :math:`\rho_f`; may be a Field.
        steric: :math:`a^3`; None for point ions.
        dtype: of the result.
        device: of the result.

    Returns:
        The potential, ``(*batch, *grid.shape)``, in kT/e; NaN for a sample that was not solved.

    Raises:
        ValueError: a parameter out of its range or of a wrong shape, walls that species cross, or a
            reservoir without room.
    """
    if len(valences) != len(concentrations) or not valences:
        raise ValueError(
            f"`valences` and `concentrations` must have one entry per species, got "
            f"{len(valences)} and {len(concentrations)}."
        )
    parts = check_walls(grid, walls)
    conditions = [wall for side in parts.values() for wall in side]
    if any(wall.concentration or wall.flux for wall in conditions):
        raise ValueError("`walls` may hold potentials and charges only; the reservoir is outside.")
    batch = _batch(
        grid, [*valences, *concentrations, permittivity, fixed_charge, steric], conditions
    )
    like = torch.zeros(1, dtype=dtype, device=device)
    outside = torch.stack(
        [torch.as_tensor(c).to(like).expand(batch).reshape(-1) for c in concentrations], 1
    )
    check_above_zero("concentrations", outside, "; leave a species that is not there out")
    cell = Electrolyte.build(
        grid,
        [f"species {i}" for i in range(len(valences))],
        valences,
        [1.0] * len(valences),
        permittivity=permittivity,
        walls=walls,
        fixed_charge=fixed_charge,
        scheme=FACE_SCHEMES["scharfetter-gummel"],
        steric=steric,
        reactions=(),
        batch=batch,
        like=like,
    )
    constants = torch.log(outside)
    if cell.crowding is not None:
        room = 1 - cell.crowding.reshape(-1, 1) * outside.sum(1, keepdim=True)
        if not (room.detach() > 0).all():
            raise ValueError("`concentrations` add up to more than the 1 / steric that there is.")
        constants = constants - torch.log(room)
    none = outside.new_zeros(len(outside), 0)
    rest = convex_equilibrium(
        cell,
        none,
        outside.new_zeros(0, len(valences)),
        constants,
        tolerance=1e-10 if dtype == torch.float64 else 1e-4,
    )
    solved = rest.converged.reshape(-1, *(1 for _ in grid.shape))
    return torch.where(solved, rest.phi, torch.nan).reshape(*batch, *grid.shape)


def _batch(
    grid: Grid, values: Sequence[Parameter | None], walls: Sequence[Wall]
) -> tuple[int, ...]:
    """The batch axes that the parameters have together."""
    shapes = []
    at_walls = [
        getattr(w, what) for w in walls for what in ("potential", "surface_charge", "stern")
    ]
    for value, cells in [(v, grid.ndim) for v in values] + [(v, grid.ndim - 1) for v in at_walls]:
        if isinstance(value, Field):
            shapes.append(tuple(value.values.shape[: value.values.ndim - cells]))
        elif isinstance(value, Tensor):
            shapes.append(tuple(value.shape))
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        raise ValueError(f"the parameters' batch shapes do not fit together: {shapes}.") from None
