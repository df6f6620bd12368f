r"""Symmetric systems on a grid: what flows out of each cell through its faces, and a loss in place.

.. math:: \sum_{faces} G (x_{here} - x_{there}) + m\,x = b, \qquad x = 0 \text{ behind walls}.

On one axis the solve is direct, O(N). On two or three it is by conjugate gradients, preconditioned
by the same system with mean coefficients, which transforms, or on graded axes fast diagonalisation
[LRT64], solve exactly; the number of iterations depends on how much the coefficients vary, not on
the grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pnpfusion.solvers.arrays import as_array
from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.banded import solve_tridiagonal
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.lines import along, back, with_ends
from pnpfusion.solvers.mean_inverse import mean_inverse

MAX_ITERATIONS = 1000


class How(NamedTuple):
    """What a solution depends on beside numbers."""

    singular: bool
    direct: bool  #: whether a single axis is solved directly
    known: Tensor | None = None  #: the solution


def solve_elliptic(
    grid: Grid,
    conductances: tuple[Tensor, ...],
    mass: Tensor | None,
    load: Tensor,
    *,
    singular: bool = False,
    direct: bool = True,
    known: Tensor | None = None,
) -> Tensor:
    r"""The x that balances ``load``; self-adjoint, and differentiable to any order.

    Args:
        grid: the box.
        conductances: G of the faces across each axis, with that axis last,
            ``(B|1, *others|1, N+1)``; on a periodic axis the first and last face are one.
        mass: m >= 0, ``(B|1, *grid.shape)``; None is zero.
        load: b, ``(B, *grid.shape)``.
        singular: whether x is free up to a constant (no wall conducts and there is no mass): the
            load is then neutralised evenly and x has zero mean.
        direct: whether a single axis is solved directly.
        known: x, where it was found before; then only derivatives are taken.

    Returns:
        x, ``(B, *grid.shape)``; NaN for samples that the iteration does not solve.
    """
    extra = load.new_zeros((1,) * load.ndim) if mass is None else mass
    # Views, because checkpoints look for what comes from outside in torch's own operations.
    given = (values.view_as(values) for values in (load, extra, *conductances))
    x: Tensor = _Elliptic.apply(grid, How(singular, direct, known), *given)  # type: ignore[no-untyped-call]
    return x


class _Elliptic(torch.autograd.Function):
    @staticmethod
    def forward(grid: Grid, how: How, load: Tensor, mass: Tensor, *conductances: Tensor) -> Tensor:
        singular, direct, known = how
        if known is not None:
            return known.clone()
        with torch._C.DisableTorchFunction():  # nothing in here is looked for by checkpoints
            return _solved(grid, How(singular, direct), load, mass, *conductances)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.grid, how, _, *coefficients = inputs
        ctx.how = how._replace(known=None)
        ctx.save_for_backward(output, *coefficients)
        ctx.save_for_forward(output, *coefficients)

    @staticmethod
    def jvp(ctx: Any, _grid: None, _how: None, load: Any, mass: Any, *conductances: Any) -> Tensor:
        x, *coefficients = ctx.saved_tensors
        change = torch.zeros_like(x) if load is None else load
        if mass is not None:
            change = change - mass * x
        for axis, rise in enumerate(conductances):
            if rise is not None:
                flow = (rise * _steps(ctx.grid, axis, x)).diff(dim=-1)
                change = change + back(flow, ctx.grid, axis)
        y: Tensor = _Elliptic.apply(ctx.grid, ctx.how, change, *coefficients)  # type: ignore[no-untyped-call]
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mass, *conductances = ctx.saved_tensors
        y = _Elliptic.apply(ctx.grid, ctx.how, grad, mass, *conductances)  # type: ignore[no-untyped-call]
        by_conductance: list[Tensor | None] = []
        for axis, conductance in enumerate(conductances):
            product = None
            if ctx.needs_input_grad[4 + axis]:
                product = -(_steps(ctx.grid, axis, y) * _steps(ctx.grid, axis, x))
                if ctx.grid.boundaries[axis] == "periodic":  # the first face is the last
                    product = product / product.new_tensor(
                        [2.0, *[1.0] * (product.shape[-1] - 2), 2.0]
                    )
                product = product.sum_to_size(conductance.shape)
            by_conductance.append(product)
        by_mass = -(y * x).sum_to_size(mass.shape) if ctx.needs_input_grad[3] else None
        return (None, None, y, by_mass, *by_conductance)


def _solved(grid: Grid, how: How, load: Tensor, mass: Tensor, *conductances: Tensor) -> Tensor:
    """The solution, without derivatives."""
    volumes = _volumes(grid, load.dtype, load.device)
    if how.singular:
        load = _neutralised(load, volumes)
    if grid.ndim == 1 and how.direct:
        x = _solve_line(grid, conductances[0], mass, load, how.singular)
    else:
        x, _ = conjugate_gradients(grid, conductances, mass, load, singular=how.singular)
    if how.singular:
        x = x - _total(volumes * x) / volumes.sum()
    return x


def _neutralised(load: Tensor, volumes: Tensor) -> Tensor:
    """``load`` less its mean; 0 where no more than round-off is left, which need not be neutral."""
    left = load
    for _ in range(2):  # the second time what round-off of the first has left
        left = left - volumes * (_total(left) / volumes.sum())
    least = 8 * torch.finfo(load.dtype).eps * load.abs().flatten(1).amax(1)
    felt = left.abs().flatten(1).amax(1) > least
    return torch.where(per_state(felt, load), left, 0.0)


@lru_cache(maxsize=64)
def _volumes(grid: Grid, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Of the cells; a copy from the host in every solve would stop the device."""
    with torch.inference_mode(False):
        return grid.weights.to(dtype=dtype, device=device)


def _total(values: Tensor) -> Tensor:
    """The sum over a sample's cells, with axes kept."""
    return values.sum(tuple(range(1, values.ndim)), keepdim=True)


def _steps(grid: Grid, axis: int, x: Tensor) -> Tensor:
    """Differences of x across the faces of ``axis``, zero behind walls; axis last."""
    x = along(x, grid, axis)
    periodic = grid.boundaries[axis] == "periodic"
    ends = x[..., [-1, 0]] if periodic else torch.zeros_like(x[..., :1]).expand(*x.shape[:-1], 2)
    return with_ends(x, ends).diff(dim=-1)


def apply_elliptic(
    grid: Grid, conductances: tuple[Tensor, ...], mass: Tensor | None, x: Tensor
) -> Tensor:
    """What x loses: the left side of the equation, ``(B, *grid.shape)``."""
    lost = torch.zeros_like(x) if mass is None else mass * x
    for axis, conductance in enumerate(conductances):
        lost = lost - back((conductance * _steps(grid, axis, x)).diff(dim=-1), grid, axis)
    return lost


def _compiled(
    grid: Grid, conductances: tuple[Tensor, ...], mass: Tensor | None, like: Tensor
) -> Callable[[Tensor], Tensor]:
    """:func:`apply_elliptic` for many fields like ``like``; compiled where it can be."""
    if backend(like) != "numba":
        return lambda x: apply_elliptic(grid, conductances, mass, x)
    from pnpfusion.solvers.kernels.box.elliptic_apply import elliptic_apply

    faces = []
    for axis, conductance in enumerate(conductances):
        others = [n for other, n in enumerate(grid.shape) if other != axis]
        full = conductance.to(like).expand(-1, *others, -1)
        sizes = math.prod(grid.shape[:axis]), grid.shape[axis] + 1, math.prod(others[axis:])
        faces.append(as_array(back(full, grid, axis).reshape(-1, *sizes)))
    periodic = tuple(boundary == "periodic" for boundary in grid.boundaries)
    cells = like.new_zeros(1, *grid.shape) if mass is None else mass.to(like)
    weights = as_array(cells.expand(-1, *grid.shape).flatten(1))

    def apply(x: Tensor) -> Tensor:
        x = x.detach().contiguous()
        y = torch.empty_like(x)
        elliptic_apply(tuple(faces), periodic, weights, x.flatten(1).numpy(), y.flatten(1).numpy())
        return y

    return apply


def _solve_line(
    grid: Grid, conductance: Tensor, mass: Tensor, load: Tensor, singular: bool
) -> Tensor:
    diagonal = conductance[:, :-1] + conductance[:, 1:] + mass
    if singular:  # the load is neutral: nothing flows through this, it only picks one solution
        pin = torch.zeros_like(diagonal[:1])
        pin[0, 0] = 1
        mean = conductance.mean(-1, keepdim=True)
        diagonal = diagonal + pin * torch.where(mean > 0, mean, 1.0)
    return solve_tridiagonal(
        -conductance[:, :-1],
        diagonal,
        -conductance[:, 1:],
        load,
        periodic=grid.boundaries[0] == "periodic",
    )


def conjugate_gradients(
    grid: Grid,
    conductances: tuple[Tensor, ...],
    mass: Tensor | None,
    load: Tensor,
    *,
    singular: bool = False,
) -> tuple[Tensor, Tensor]:
    """Preconditioned conjugate gradients to round-off; x and the iterations of each sample.

    Each sample stops by itself; its answer does not depend on its batch mates.
    """
    precondition = mean_inverse(grid, conductances, mass, singular=singular)
    operator = _compiled(grid, conductances, mass, load)
    double = load.dtype == torch.float64
    scale = load.flatten(1).abs().amax(1)
    scale = per_state(torch.where(scale > 0, scale, 1.0), load)
    load = load / scale  # or squares of small loads would vanish
    goal = (1e-14 if double else 1e-7) * load.flatten(1).norm(dim=1)
    x, residual = torch.zeros_like(load), load
    direction = precondition(residual)
    strength = _dot(residual, direction)
    iterations = torch.zeros(len(load), dtype=torch.long, device=load.device)
    size = residual.flatten(1).norm(dim=1)
    best, stalled = size, torch.zeros_like(iterations)
    going = size > goal
    for _ in range(MAX_ITERATIONS):
        if not going.any():
            break
        image = operator(direction)
        curvature = _dot(direction, image)
        length = torch.where(going & (curvature > 0), strength / curvature, 0.0)
        x = x + per_state(length, x) * direction
        residual = residual - per_state(length, x) * image
        iterations += going
        size = residual.flatten(1).norm(dim=1)
        stalled = torch.where(size < 0.9 * best, 0, stalled + 1)
        best = torch.minimum(best, size)
        going = going & (size > goal) & ((stalled < 20) | (size > 1e3 * goal))
        better = precondition(residual)
        renewed = _dot(residual, better)
        direction = (
            better + per_state(torch.where(strength > 0, renewed / strength, 0.0), x) * direction
        )
        strength = renewed
    unsolved = ~(size <= torch.maximum(1e4 * goal, torch.full_like(goal, 1e-300)))
    return torch.where(per_state(unsolved, x), torch.nan, scale * x), iterations


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
