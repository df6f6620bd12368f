r"""The derivative of a Fourier or cosine series along one axis, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.bases import Basis, frequencies, lowest
from pnpfusion.solvers.grid import Grid

Pieces = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class AxisDerivative:
    r"""The derivative along one axis, as each mode's successor and its factor.

    A cosine becomes a sine of the same frequency, so a cosine axis becomes a sine axis and back; a
    Fourier axis stays one. The highest frequency of an even number of cells has no partner at the
    cell centres and is dropped.
    """

    axis: int  #: counted from the end, -D ... -1
    bases: tuple[Basis, ...]  #: of the derivative
    pieces: Pieces  #: runs of modes (start, length) in their new order
    factor: Tensor  #: by which each mode of the derivative differs from its origin, (N, 1, ...)
    pieces_back: Pieces  #: the same from the derivative to the series
    factor_back: Tensor

    def slope(self, modes: Tensor) -> Tensor:
        """The derivative of ``modes`` ``(..., *grid.shape)``, in :attr:`bases`."""
        return self._reordered(modes, self.pieces) * self.factor

    def divergence(self, modes: Tensor) -> Tensor:
        """The derivative of modes in :attr:`bases`: minus the transpose of :meth:`slope`."""
        return self._reordered(modes, self.pieces_back) * self.factor_back

    def _reordered(self, modes: Tensor, pieces: Pieces) -> Tensor:
        return torch.cat([modes.narrow(self.axis, *piece) for piece in pieces], self.axis)


def axis_derivative(
    grid: Grid, bases: tuple[Basis, ...], axis: int, count: int, like: Tensor
) -> AxisDerivative:
    """The derivative of the lowest ``count`` modes along ``axis``, Fourier or cosine."""
    cells, basis, n = grid.shape[axis], bases[axis], count
    k = frequencies(basis, cells)[lowest(basis, count, cells)] * (cells / grid.lengths[axis])
    factor, back = torch.zeros(2, n, dtype=torch.float64)
    pieces: Pieces
    pieces_back: Pieces
    if basis == "fourier":
        pairs, sines = (n - 1) // 2, n // 2 + 1
        pieces = pieces_back = ((0, 1), (sines, pairs), (sines - 1, 1 - n % 2), (1, pairs))
        factor[1 : 1 + pairs], factor[sines:] = k[sines:], -k[sines:]
        back = factor
    else:
        bases = (*bases[:axis], "sine", *bases[axis + 1 :])
        pieces = ((1, n - 1), (0, 1))
        pieces_back = ((n - 1, 1), (0, n - 1))
        factor[:-1], back[1:] = -k[1:], k[1:]
    shape = (n, *(1,) * (grid.ndim - axis - 1))
    return AxisDerivative(
        axis=axis - grid.ndim,
        bases=bases,
        pieces=pieces,
        factor=factor.reshape(shape).to(like),
        pieces_back=pieces_back,
        factor_back=back.reshape(shape).to(like),
    )
