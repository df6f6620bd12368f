r"""Block matrices that couple each cell of a grid with its neighbours along the axes.

On one axis they are solved directly. On two or three, GMRES [SS86] is preconditioned by the matrix
whose coefficients are averaged over all axes but one: that couples one axis in blocks and the
others through the modes of their second difference, so it is a direct solve for each mode. It is
the matrix itself where coefficients vary along one axis only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pnpfusion.solvers.arrays import as_array
from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.banded import solve_block_tridiagonal
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.krylov import gmres
from pnpfusion.solvers.lines import times_along
from pnpfusion.solvers.mean_inverse import line_modes


@dataclass(frozen=True, eq=False)
class Stencil:
    """A matrix of m by m blocks; ``lower[axis]`` couples a cell with the one before it."""

    grid: Grid
    diagonal: Tensor  #: (B, *grid.shape, m, m)
    lower: tuple[Tensor, ...]  #: like diagonal, zero at the first cell between walls
    upper: tuple[Tensor, ...]  #: like diagonal, zero at the last cell between walls

    def apply(self, x: Tensor) -> Tensor:
        """The matrix times ``x`` ``(B, *grid.shape, m)``."""
        if _is_compiled(x):
            return self._apply_compiled(x)
        total = _times(self.diagonal, x)
        for axis, (lower, upper) in enumerate(zip(self.lower, self.upper, strict=True), start=1):
            total = total + _times(lower, x.roll(1, axis)) + _times(upper, x.roll(-1, axis))
        return total

    def _apply_compiled(self, x: Tensor) -> Tensor:
        from pnpfusion.solvers.kernels.box.block_lines import apply_stencil

        def flat(values: Tensor, blocks: int) -> Any:
            return as_array(values.flatten(1, -1 - blocks))

        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        apply_stencil(
            flat(self.diagonal, 2),
            tuple(flat(lower, 2) for lower in self.lower),
            tuple(flat(upper, 2) for upper in self.upper),
            np.array(self.grid.shape),
            flat(x, 1),
            flat(y, 1),
        )
        return y

    def transposed(self) -> Stencil:
        """The transposed matrix."""
        lower = tuple(upper.roll(1, axis).mT for axis, upper in enumerate(self.upper, start=1))
        upper = tuple(lower.roll(-1, axis).mT for axis, lower in enumerate(self.lower, start=1))
        return Stencil(self.grid, self.diagonal.mT, lower, upper)

    def solve(self, rhs: Tensor, tolerance: float | None = None) -> Tensor:
        """The x with ``apply(x) = rhs``, ``(B, *grid.shape, m)``; carries the gradient to ``rhs``.

        Args:
            rhs: ``(B, *grid.shape, m)``.
            tolerance: of the residual against ``rhs``, on more than one axis; None is round-off.
        """
        x: Tensor = _Solve.apply(self, tolerance, rhs)  # type: ignore[no-untyped-call]
        return x

    def _solve(self, rhs: Tensor, tolerance: float | None) -> Tensor:
        if self.grid.ndim == 1:
            periodic = self.grid.boundaries[0] == "periodic"
            return solve_block_tridiagonal(
                self.lower[0], self.diagonal, self.upper[0], rhs, periodic=periodic
            )
        if tolerance is None:
            tolerance = 1e-12 if rhs.dtype == torch.float64 else 1e-5
        x, _, left = gmres(self.apply, rhs, self._line_inverse(), tolerance)
        solved = left <= 100 * tolerance  # round-off may stop it above
        return torch.where(solved.reshape(-1, *(1 for _ in rhs.shape[1:])), x, torch.nan)

    def _line_inverse(self) -> Callable[[Tensor], Tensor]:
        """The inverse of the matrix averaged over all axes but the first of :meth:`_line_axis`."""
        main = self._line_axis()
        others = [axis for axis in range(self.grid.ndim) if axis != main]
        bases = [line_modes(self.grid, axis, (False, False)) for axis in others]
        over = tuple(axis + 1 for axis in others)
        # Rows scaled by the widths across, so that their mean is that of one line:
        across = torch.ones((), dtype=torch.float64)
        for axis in range(self.grid.ndim):
            widths = self.grid.widths(axis) if axis != main else torch.ones(1).double()
            across = across.unsqueeze(-1) * widths
        scale = 1 / across.to(self.diagonal)[..., None, None]
        line, coupling = self.diagonal * scale, []
        for axis in others:
            both = (self.lower[axis] + self.upper[axis]) * scale
            line = line + both
            centres, widths = self.grid.coordinates(axis), self.grid.widths(axis)
            n = len(widths)
            if n == 1:
                coupling.append(torch.zeros_like(both.mean(over)))
                continue
            gaps = centres.diff()
            # What a unit coefficient would put beside the diagonal, summed over the line:
            unit = (1 / gaps / widths[1:]).sum() + (1 / gaps / widths[:-1]).sum()
            if self.grid.boundaries[axis] == "periodic":
                gap = (widths[0] + widths[-1]) / 2
                unit = unit + 1 / gap / widths[0] + 1 / gap / widths[-1]
            coupling.append(-both.mean(over) * (n / float(unit)))
        numbers = torch.zeros(1, dtype=torch.float64)
        shapes = [len(values) for values, _ in bases]
        block = line.mean(over).unsqueeze(1)  # (B, 1, N, m, m)
        for i, (values, _) in enumerate(bases):
            view = [1] * len(bases)
            view[i] = -1
            numbers = values.reshape(view).expand(shapes).flatten().to(block)
            block = block + numbers[None, :, None, None, None] * coupling[i].unsqueeze(1)
        lower = (self.lower[main] * scale).mean(over).unsqueeze(1).expand_as(block)
        upper = (self.upper[main] * scale).mean(over).unsqueeze(1).expand_as(block)
        lower, block, upper = (
            matrix.flatten(0, 1).contiguous() for matrix in (lower, block, upper)
        )
        periodic = self.grid.boundaries[main] == "periodic"

        solve = _line_solver(lower, block, upper, periodic=periodic)
        there = [vectors.to(self.diagonal).mT.contiguous() for _, vectors in bases]

        def inverse(load: Tensor) -> Tensor:
            modes = load
            for axis, matrix in zip(others, there, strict=True):
                modes = times_along(matrix, modes, axis + 1)
            moved = modes.movedim(main + 1, -2)  # (B, *others, N, m)
            x = solve(moved.flatten(0, -3).contiguous())
            x = x.reshape(moved.shape).movedim(-2, main + 1)
            for axis, matrix in zip(others, there, strict=True):
                x = times_along(matrix.mT, x, axis + 1)
            return x

        return inverse

    def _line_axis(self) -> int:
        """The axis along which coefficients vary most: that of the largest spread of diagonals."""
        spreads = []
        for axis in range(self.grid.ndim):
            over = tuple(other + 1 for other in range(self.grid.ndim) if other != axis)
            spreads.append(float(self.diagonal.mean(over).std(1, correction=0).sum()))
        return spreads.index(max(spreads))


def _line_solver(
    lower: Tensor, diagonal: Tensor, upper: Tensor, *, periodic: bool
) -> Callable[[Tensor], Tensor]:
    """The solution of block-tridiagonal lines for many loads ``(B, N, m)``, eliminated once."""
    if periodic or not _is_compiled(diagonal):
        return lambda load: solve_block_tridiagonal(lower, diagonal, upper, load, periodic=periodic)
    from pnpfusion.solvers.kernels.box.block_lines import factor_lines, solve_lines

    inverse, right = torch.empty_like(diagonal), torch.empty_like(diagonal)
    arrays = [*map(as_array, (lower, diagonal, upper, inverse, right))]
    factor_lines(*arrays)
    if not inverse.isfinite().all():  # LAPACK pivots between blocks
        return lambda load: solve_block_tridiagonal(lower, diagonal, upper, load)

    def solve(load: Tensor) -> Tensor:
        x = load.clone()
        solve_lines(arrays[0], arrays[3], arrays[4], x.numpy())
        return x

    return solve


def _is_compiled(x: Tensor) -> bool:
    """Whether what acts on ``x`` is compiled: without gradient, where Numba's code runs."""
    return backend(x) == "numba" and not x.requires_grad


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    return (matrix @ x.unsqueeze(-1)).squeeze(-1)


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(matrix: Stencil, tolerance: float | None, rhs: Tensor) -> Tensor:
        return matrix._solve(rhs, tolerance)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.matrix, ctx.tolerance, _ = inputs

    @staticmethod
    def jvp(ctx: Any, _matrix: None, _tolerance: None, tangent: Tensor) -> Tensor:
        return ctx.matrix.solve(tangent, ctx.tolerance)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.matrix.transposed()._solve(grad, None)
