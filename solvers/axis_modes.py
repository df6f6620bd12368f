r"""The lowest modes of each axis at points of their own, where products are formed.

K modes of a Fourier or cosine axis have products of at most twice their highest frequency; at
:math:`n > \tfrac32 (K - 1)` points none of these looks like one of the K [CHQZ06, 3.3]. The points
need not be the cells: fewer will do where the modes are fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pnpfusion.solvers.bases import Basis, lowest, transform_matrix
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.lines import times_along
from pnpfusion.solvers.spectral_derivative import AxisDerivative, axis_derivative
from pnpfusion.solvers.transforms import from_modes, to_modes

#: Points by the number of axes up to which products with matrices are quicker than fast transforms.
MATRICES_UP_TO = {1: 256, 2: 96, 3: 96}


@dataclass(frozen=True, eq=False)
class AxisModes:
    """The lowest K modes of an axis, orthonormal over n points, along ``axis`` of any tensor."""

    axis: int  #: counted from the end, -D ... -1
    basis: Basis
    points: int  #: n
    derivative: AxisDerivative  #: of the K modes
    matrices: tuple[Tensor, ...] | None
    """Of the four methods, (n, K) and (K, n); None: fast transforms."""

    def values(self, modes: Tensor) -> Tensor:
        """At the points, from K modes along the axis."""
        if self.matrices is not None:
            return times_along(self.matrices[0], modes, self.axis)
        return from_modes(modes, (self.basis, *self._after), self._shape(modes, self.points))

    def slopes(self, modes: Tensor) -> Tensor:
        """The derivative at the points."""
        if self.matrices is not None:
            return times_along(self.matrices[1], modes, self.axis)
        bases = (self.derivative.bases[self.axis], *self._after)
        return from_modes(self.derivative.slope(modes), bases, self._shape(modes, self.points))

    def modes(self, values: Tensor) -> Tensor:
        """The K modes of values at the points: the transpose of :meth:`values`."""
        if self.matrices is not None:
            return times_along(self.matrices[2], values, self.axis)
        return to_modes(values, (self.basis, *self._after), self._shape(values, self._count))

    def divergence(self, values: Tensor) -> Tensor:
        """The K modes of the derivative of values: minus the transpose of :meth:`slopes`."""
        if self.matrices is not None:
            return times_along(self.matrices[3], values, self.axis)
        bases = (self.derivative.bases[self.axis], *self._after)
        return self.derivative.divergence(to_modes(values, bases, self._shape(values, self._count)))

    @property
    def _count(self) -> int:
        return self.derivative.factor.shape[0]

    @property
    def _after(self) -> tuple[None, ...]:
        return (None,) * (-self.axis - 1)

    def _shape(self, x: Tensor, count: int) -> tuple[int, ...]:
        return (count, *x.shape[x.ndim + self.axis + 1 :])


def axis_modes(
    grid: Grid, bases: tuple[Basis, ...], counts: tuple[int, ...], like: Tensor
) -> tuple[AxisModes, ...]:
    """The lowest ``counts`` modes along each axis of ``grid``, Fourier or cosine.

    Matrices for few points and on devices, where they are quicker; else fast transforms.
    """
    return tuple(
        _axis_modes(grid, bases, axis, count, like.dtype, like.device)
        for axis, count in enumerate(counts)
    )


@lru_cache(maxsize=256)
def _axis_modes(
    grid: Grid,
    bases: tuple[Basis, ...],
    axis: int,
    count: int,
    dtype: torch.dtype,
    device: torch.device,
) -> AxisModes:
    with torch.inference_mode(False), torch.no_grad():
        cells, matrices = grid.shape[axis], None
        points = cells if count == cells else 3 * (count - 1) // 2 + 1
        small = device.type != "cpu" or points <= MATRICES_UP_TO[grid.ndim]
        if not small and count < cells:
            from scipy import fft

            points = fft.next_fast_len(points, real=True)
        like = torch.zeros((), dtype=dtype, device=device)
        derivative = axis_derivative(grid, bases, axis, count, like)
        if small:
            exact = torch.zeros((), dtype=torch.float64)
            slope = axis_derivative(grid, bases, axis, count, exact)
            beside = (1,) * (grid.ndim - axis - 1)
            unit = torch.eye(count, dtype=torch.float64).reshape(count, count, *beside)
            turned = slope.slope(unit).reshape(count, count).mT  # successors of each mode
            own, other = (
                transform_matrix(basis, points, torch.float64, exact.device)[
                    lowest(basis, count, points)
                ].mT
                for basis in (bases[axis], slope.bases[axis])
            )
            four = own, other @ turned, own.mT, -(other @ turned).mT
            matrices = tuple(matrix.to(like).contiguous() for matrix in four)
        return AxisModes(axis - grid.ndim, bases[axis], points, derivative, matrices)


def at_points(axes: tuple[AxisModes, ...], c: Tensor, phi: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Values of c ``(B, S, *n)`` and the slopes of φ along each axis ``(B, 1, *n)``.

    Args:
        axes: one per axis.
        c: modes ``(B, S, *K)``.
        phi: modes ``(B, *K)``.
    """
    last = axes[-1]
    slopes: list[Tensor] = []
    both = torch.cat([phi.unsqueeze(1), c], 1)
    for axis in axes[:-1]:
        slopes = [axis.values(s) for s in slopes] + [axis.slopes(both[:, :1])]
        both = axis.values(both)
    slopes = [last.values(s) for s in slopes] + [last.slopes(both[:, :1])]
    return last.values(both[:, 1:]), slopes


def drift(axes: tuple[AxisModes, ...], values: Tensor, slopes: Sequence[Tensor]) -> Tensor:
    r"""Modes of :math:`\nabla\cdot(c \nabla\phi)`, ``(B, S, *K)``, from c and ∇φ at the points."""
    return _divergence(axes, [values * s for s in slopes])


def drift_transposed(
    axes: tuple[AxisModes, ...],
    values: Tensor,
    slopes: Sequence[Tensor],
    grad: Tensor,
    mobility: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients by c and φ, modes, in as many transforms as the drift itself.

    Args:
        axes: one per axis.
        values: c at the points.
        slopes: those of φ there.
        grad: by the drift of each species, ``(B, S, *K)``.
        mobility: of each, ``(B|1, S, 1, ...)``, by which its drift is to be multiplied.

    Returns:
        That by c ``(B, S, *K)``, of the drift without its mobility, and by φ ``(B, *K)``, with it.
    """
    steep: list[Tensor] = []  # minus the transpose of the divergence: slopes of the gradient
    for axis in axes:
        steep = [axis.values(s) for s in steep] + [axis.slopes(grad)]
        grad = grad if axis is axes[-1] else axis.values(grad)
    by_c = steep[0] * slopes[0]
    for one, other in zip(steep[1:], slopes[1:], strict=True):
        by_c = torch.addcmul(by_c, one, other)
    for axis in axes[::-1]:
        by_c = axis.modes(by_c)
    moved = values * mobility
    by_phi = _divergence(axes, [(s * moved).sum(1, keepdim=True) for s in steep])
    return -by_c, by_phi.squeeze(1)


def _divergence(axes: tuple[AxisModes, ...], products: list[Tensor]) -> Tensor:
    """Modes of the divergence of a field ``(B, S, *n)`` of so many components."""
    last = axes[-1]
    total = last.divergence(products[-1])
    products = [last.modes(p) for p in products[:-1]]
    for axis in axes[-2::-1]:
        total = axis.modes(total) + axis.divergence(products.pop())
        products = [axis.modes(p) for p in products]
    return total


def values_at_points(axes: tuple[AxisModes, ...], modes: Tensor) -> Tensor:
    """Values ``(..., *n)`` of ``modes`` ``(..., *K)`` at the points of all axes."""
    for axis in axes:
        modes = axis.values(modes)
    return modes
