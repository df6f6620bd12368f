"""Poisson's equation alone: every kind of wall at once, on one, two and three axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Row, Table, f64, profile
from docs.verification.manufactured import divergence, slopes
from pnpfusion.solvers.grid import Boundary
from pnpfusion.visualize.style import SIGNED_MAP, new_figure, styled

STERN = 0.2

#: method: how it solves, and the error allowed on one axis with 64 cells
METHODS: dict[str, tuple[Callable[..., Tensor], float]] = {
    "solve_poisson": (pf.solvers.solve_poisson, 2e-4),
}


def phi_known(r: Tensor) -> Tensor:
    """Of positions (..., d); periodic along z."""
    found = torch.sin(2 * r[..., 0] + 0.3)
    if r.shape[-1] > 1:
        found = found * torch.cos(1.5 * r[..., 1] + 0.2)
    if r.shape[-1] > 2:
        found = found * (1 + 0.5 * torch.cos(2 * math.pi * (r[..., 2] - 0.1)))
    return found


def permittivity(r: Tensor) -> Tensor:
    return 0.5 + 0.2 * torch.cos(math.pi * r[..., 0])


def problem(n: int, dims: int) -> tuple[pf.Grid, Tensor, pf.Field, dict[str, pf.Wall], Tensor]:
    """An electrode at x-, a Stern layer at x+, charges at y- and y+, periodic along z."""
    boundaries: list[Boundary] = ["wall", "wall", "periodic"]
    grid = pf.Grid((n,) * dims, (1.0,) * dims, tuple(boundaries[:dims]))
    lines = [grid.coordinates(axis) for axis in range(dims)]

    def at(places: list[Tensor]) -> Tensor:
        return torch.stack(torch.meshgrid(*places, indexing="ij"), -1).requires_grad_()

    r, walls = at(lines), {}
    rho = -divergence(permittivity(r)[..., None] * slopes(phi_known, r), r).detach()
    for axis in range(min(dims, 2)):
        for end, side in enumerate("-+"):
            places = list(lines)
            places[axis] = torch.tensor([float(end)], dtype=f64)
            wall = at(places)
            outward = (2 * end - 1) * slopes(phi_known, wall)[..., axis].detach().squeeze(axis)
            phi = phi_known(wall).detach().squeeze(axis)
            if axis == 1:
                charge = permittivity(wall).detach().squeeze(axis) * outward
                walls[f"y{side}"] = pf.Wall(surface_charge=_spread(charge))
            elif end == 0:
                walls["x-"] = pf.Wall(potential=_spread(phi))
            else:
                walls["x+"] = pf.Wall(potential=_spread(phi + STERN * outward), stern=STERN)
    epsilon = pf.Field(permittivity(r).detach())
    return grid, rho, epsilon, walls, phi_known(r).detach()


def _spread(values: Tensor) -> Tensor | pf.Field:
    return pf.Field(values) if values.ndim else values


def tables(sizes: Sequence[int]) -> list[Table]:
    """Largest errors of the potential, for each method."""
    rows: list[Row] = []
    for name, (solve, bound) in METHODS.items():
        for dims in (1, 2, 3):
            lower = [n // {1: 1, 2: 2, 3: 8}[dims] for n in sizes]
            errors = []
            for n in lower:
                grid, rho, epsilon, walls, known = problem(n, dims)
                found = solve(rho, grid, permittivity=epsilon, walls=walls)
                errors.append(float((found - known).abs().max()))
            what = f"{name}, {dims} {'axis' if dims == 1 else 'axes'}"
            rows += profile(what, lower, errors, bound=bound * dims, wanted=(1.85, 2.1))
    return [Table("Largest error of φ, which is up to 1.5", rows, relative=False)]


def figure() -> Figure:
    """The potential on two axes, and its error."""
    with styled():
        drawn = new_figure(7.6, 3.2, "Four different walls, one smooth potential")
        left, right = drawn.subplots(1, 2)
        grid, rho, epsilon, walls, known = problem(64, 2)
        found = pf.solvers.solve_poisson(rho, grid, permittivity=epsilon, walls=walls)
        for axes, values, title in (
            (left, found, "φ, 64 × 64 cells"),
            (right, found - known, "its error"),
        ):
            size = float(values.abs().max())
            image = axes.imshow(
                values.T,
                origin="lower",
                extent=(0, 1, 0, 1),
                cmap=SIGNED_MAP,
                vmin=-size,
                vmax=size,
            )
            axes.set(
                title=title, xlabel="$x$: electrode, Stern layer", ylabel="$y$: surface charges"
            )
            drawn.colorbar(image, ax=axes)
    return drawn


CASE = Case(
    key="poisson",
    title="Poisson's equation",
    text="""\
$-\\nabla\\cdot(\\varepsilon\\nabla\\phi) = \\rho$ with
$\\phi = \\sin(2x + .3)\\cos(1.5y + .2)(1 + .5\\cos 2\\pi(z - .1))$ and a permittivity that
varies along $x$: an electrode at $x = 0$, a Stern layer at $x = 1$, surface charges at both
ends of $y$, periodic along $z$; each varies along its wall. `solve_poisson` has one method yet;
others will each have their row.""",
    tables=tables,
    figure=figure,
    caption="The potential on two axes and what it is off by.",
)
