r"""The potential of a charge: :math:`-\nabla\cdot(\varepsilon\nabla\phi) + s\phi = \rho`."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from pnpfusion.solvers.arguments import check_choice
from pnpfusion.solvers.boundary import Walls
from pnpfusion.solvers.dielectric import Dielectric
from pnpfusion.solvers.elliptic import solve_elliptic
from pnpfusion.solvers.field import Field, Parameter, spread
from pnpfusion.solvers.grid import Grid

Method = Literal["tridiagonal", "transform", "conjugate-gradients"]


def solve_poisson(
    rho: Tensor,
    grid: Grid,
    *,
    permittivity: Parameter = 1.0,
    walls: Walls | None = None,
    screening: Parameter | None = None,
    method: Method | None = None,
) -> Tensor:
    r"""The potential of a charge density; of zero mean where nothing fixes it.

    Solves :math:`-\nabla\cdot(\varepsilon\nabla\phi) + s\phi = \rho` by cell-centred finite
    volumes of order 2. Gauss' law holds in every cell to round-off. The map is self-adjoint in
    ``rho`` and differentiable to any order in ``rho``, ``permittivity``, ``screening`` and the
    walls.

    =========================  ==============================  ===================================
    method                     cost, N cells                   needs
    =========================  ==============================  ===================================
    ``"tridiagonal"``          O(N)                            one axis
    ``"transform"``            O(N log N)                      equal cells, whole walls without
                                                               Stern layers, nothing else that
                                                               varies in space
    ``"conjugate-gradients"``  O(N log N) times a number of    nothing
                               iterations that does not grow
                               with N (electrodes on a part
                               of a wall: about as its root)
    =========================  ==============================  ===================================

    Args:
        rho: charge density, shape ``(*batch, *grid.shape)``, in F c_ref; float32 or float64.
        grid: the box.
        permittivity: :math:`\varepsilon = 2\lambda_D^2/L^2` for a 1:1 salt; a number, shape
            ``(*batch,)``, or a :class:`Field`.
        walls: what holds at ``"x-"``, ``"x+"``, ...; a wall that is not named insulates.
        screening: :math:`s \ge 0`, like ``permittivity``; of the linearised Poisson-Boltzmann
            equation, :math:`s = \sum z^2 c`. None: no such term.
        method: None takes the first of the table that will do.

    Returns:
        The potential, of the shape of ``rho``, in kT/e.

    Raises:
        ValueError: a bad shape or parameter; a method that does not fit; or nothing fixes the
            potential and a sample carries a net charge, walls included.
    """
    grid.check("rho", rho)
    batch = tuple(rho.shape[: -grid.ndim])
    flat = rho.reshape(-1, *grid.shape)
    medium = Dielectric.build(grid, permittivity, walls, batch, flat)
    mass = None
    if screening is not None:
        mass = spread("screening", screening, grid.shape, batch, flat)
        if not (mass.detach() >= 0).all() or not (mass.detach().flatten(1).amax(1) > 0).all():
            raise ValueError(
                "`screening` must be >= 0 everywhere and > 0 somewhere in each sample; leave it "
                "out for Poisson's equation."
            )
    else:
        medium.check_neutral("rho", flat, flat.abs())
    method = _fitting(method, grid, medium, isinstance(screening, Field))
    load = medium.load(flat)
    if method == "transform":
        phi = medium.transformed(load, 0.0 if mass is None else mass.flatten())
    else:
        phi = solve_elliptic(
            grid,
            tuple(line.conductance for line in medium.lines),
            None if mass is None else medium.volumes * mass,
            load,
            singular=medium.floating and mass is None,
            direct=method == "tridiagonal",
        )
    return phi.reshape(rho.shape)


def _fitting(method: Method | None, grid: Grid, medium: Dielectric, varied: bool) -> Method:
    """``method`` if it fits, or the first that does."""
    fits: dict[Method, tuple[bool, str]] = {
        "tridiagonal": (grid.ndim == 1, f"a grid of one axis, got {grid.ndim}"),
        "transform": (
            medium.bases is not None and not varied,
            "equal cells, walls that are electrodes all over or not at all, without Stern layers, "
            "and numbers for `permittivity` and `screening`",
        ),
        "conjugate-gradients": (True, ""),
    }
    if method is None:
        return next(name for name, (good, _) in fits.items() if good)
    check_choice("method", method, fits)
    good, needs = fits[method]
    if not good:
        raise ValueError(f'`method="{method}"` needs {needs}.')
    return method
