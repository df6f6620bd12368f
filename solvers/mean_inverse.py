"""The inverse of a symmetric system on a grid with mean coefficients [LRT64]."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from pnpfusion.solvers.bases import wall_bases
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.lines import along, back, face_areas
from pnpfusion.solvers.transforms import from_modes, laplacian_symbols, to_modes


def mean_inverse(
    grid: Grid, conductances: tuple[Tensor, ...], mass: Tensor | None, *, singular: bool = False
) -> Callable[[Tensor], Tensor]:
    """The inverse of the system with each sample's mean coefficients.

    By transforms where the cells of each axis are equal, else in the modes of each axis.
    """
    ends = [_grounded(grid, axis, g) for axis, g in enumerate(conductances)]
    equal = grid.edges is None or all(edges is None for edges in grid.edges)
    bases = wall_bases(grid, ends) if equal else None
    vectors = []
    if bases is not None:
        numbers = laplacian_symbols(grid, bases)
    else:
        modes = [line_modes(grid, axis, end) for axis, end in enumerate(ends)]
        numbers = tuple(values for values, _ in modes)
        vectors = [columns.to(conductances[0]) for _, columns in modes]
    total = conductances[0].new_zeros((1,) * (1 + grid.ndim))
    for axis, (conductance, values) in enumerate(zip(conductances, numbers, strict=True)):
        # The mean of what makes the inner faces conduct, their area over their length apart:
        areas = face_areas(grid, axis).to(conductance)[..., None]
        if grid.shape[axis] > 1:
            distance = grid.coordinates(axis).diff().to(conductance)
            mean = (conductance[..., 1:-1] * distance / areas).flatten(1).mean(1)
        else:
            mean = (conductance * (grid.lengths[axis] / 2) / areas).flatten(1).amax(1)
        shape = [-1 if other == axis else 1 for other in range(grid.ndim)]
        total = total + per_state(mean, total) * values.to(mean).reshape(1, *shape)
    volumes = grid.weights.to(total)
    if mass is not None:
        mean_mass = mass.expand(-1, *grid.shape).flatten(1).sum(1) / volumes.sum()
        total = total + per_state(mean_mass, total)
    if singular:
        total = torch.where(total > 1e-12 * total.amax(), total, torch.inf)
    if bases is not None:
        total = total * volumes.flatten()[0]
        return lambda load: from_modes(to_modes(load, bases) / total, bases)

    def inverse(load: Tensor) -> Tensor:
        modes = load
        for axis, columns in enumerate(vectors):
            modes = back(along(modes, grid, axis) @ columns, grid, axis)
        modes = modes / total
        for axis, columns in enumerate(vectors):
            modes = back(along(modes, grid, axis) @ columns.mT, grid, axis)
        return modes

    return inverse


def _grounded(grid: Grid, axis: int, conductance: Tensor) -> tuple[bool, bool]:
    """At which of the two walls of ``axis`` something conducts."""
    walled = grid.boundaries[axis] == "wall"
    first, last = (walled and bool((conductance.detach()[..., e] != 0).any()) for e in (0, -1))
    return first, last


@lru_cache(maxsize=64)
def line_modes(grid: Grid, axis: int, grounded: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of minus the second difference along ``axis``.

    ``grounded`` says at which of the two walls the value is held at zero; else its slope is.

    Returns:
        Eigenvalues, float64, ``(N,)``, rising; vectors in columns, ``(N, N)``, orthonormal with the
        cell widths as weights.
    """
    widths = grid.widths(axis)
    n = len(widths)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    centres = grid.coordinates(axis)
    for i, conductance in enumerate((1 / centres.diff()).tolist()):
        matrix[i, i] += conductance
        matrix[i + 1, i + 1] += conductance
        matrix[i, i + 1] -= conductance
        matrix[i + 1, i] -= conductance
    if grid.boundaries[axis] == "periodic" and n > 1:
        conductance = float(2 / (widths[0] + widths[-1]))
        matrix[0, 0] += conductance
        matrix[-1, -1] += conductance
        matrix[0, -1] -= conductance
        matrix[-1, 0] -= conductance
    for end, held in zip((0, -1), grounded, strict=True):
        if held:
            matrix[end, end] += 2 / widths[end]
    root = widths.sqrt()
    numbers, vectors = torch.linalg.eigh(matrix / root / root[:, None])
    numbers = numbers.clamp_min(0)
    if not any(grounded):
        numbers[0] = 0  # the constant
    return numbers, vectors / root[:, None]
