r"""The potential of a charge density: :math:`-\nabla\cdot(\varepsilon\nabla\phi) = \rho`."""

from __future__ import annotations

from torch import Tensor

from pnpfusion.solvers.boundary import Walls
from pnpfusion.solvers.dielectric import Dielectric
from pnpfusion.solvers.field import Parameter
from pnpfusion.solvers.grid import Grid


def solve_poisson(
    rho: Tensor,
    grid: Grid,
    *,
    permittivity: Parameter = 1.0,
    walls: Walls | None = None,
) -> Tensor:
    r"""The potential of a charge density; of zero mean where no wall fixes it.

    Solves :math:`-\nabla\cdot(\varepsilon\nabla\phi) = \rho` by cell-centred finite volumes of
    order 2. Gauss' law holds in every cell to round-off. The map is self-adjoint in ``rho`` and
    differentiable to any order in ``rho``, ``permittivity`` and the walls.

    Args:
        rho: charge density, shape ``(*batch, *grid.shape)``, in F c_ref; float32 or float64.
        grid: the box.
        permittivity: :math:`\varepsilon = 2\lambda_D^2/L^2` for a 1:1 salt; a number, shape
            ``(*batch,)``, or a :class:`Field`.
        walls: what holds at ``"x-"``, ``"x+"``, ...; a wall that is not named insulates.

    Returns:
        The potential, of the shape of ``rho``, in kT/e.

    Raises:
        ValueError: a bad shape or parameter; or no wall fixes the potential and a sample carries a
            net charge, walls included.
    """
    grid.check("rho", rho)
    batch = tuple(rho.shape[: -grid.ndim])
    flat = rho.reshape(-1, *grid.shape)
    medium = Dielectric.build(grid, permittivity, walls, batch, flat)
    medium.check_neutral("rho", flat, flat.abs())
    return medium.potential(flat).reshape(rho.shape)
