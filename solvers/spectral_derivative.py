r"""The derivative of a Fourier or cosine series along one axis, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.transforms import Basis, frequencies


@dataclass(frozen=True, eq=False)
class AxisDerivative:
    r"""The derivative along one axis, as each mode's successor and its factor.

    A cosine becomes a sine of the same frequency, so a cosine axis becomes a sine axis and back; a
    Fourier axis stays one. The highest frequency of an even number of cells has no partner at the
    cell centres and is dropped.
    """

    axis: int  #: counted from the end, -D ... -1
    bases: tuple[Basis, ...]  #: of the derivative
    successor: Tensor  #: which mode of the series makes each mode of the derivative, (N,)
    factor: Tensor  #: times what, (N, 1, ...)

    def slope(self, modes: Tensor) -> Tensor:
        """The derivative of ``modes`` ``(..., *grid.shape)``, in :attr:`bases`."""
        return modes.index_select(self.axis, self.successor) * self.factor

    def divergence(self, modes: Tensor) -> Tensor:
        """The derivative of modes in :attr:`bases`: minus the transpose of :meth:`slope`."""
        rolled = torch.argsort(self.successor)
        return -(modes * self.factor).index_select(self.axis, rolled)


def axis_derivative(
    grid: Grid, bases: tuple[Basis, ...], axis: int, like: Tensor
) -> AxisDerivative:
    """The derivative along ``axis`` (0 ... D - 1), whose basis is Fourier or cosine."""
    n, basis = grid.shape[axis], bases[axis]
    k = frequencies(basis, n) * (n / grid.lengths[axis])
    factor = torch.zeros(n, dtype=torch.float64)
    successor = torch.arange(n)
    if basis == "fourier":
        cosines, sines = slice(1, (n + 1) // 2), slice(n // 2 + 1, n)
        successor[cosines], successor[sines] = successor[sines].clone(), successor[cosines].clone()
        factor[cosines], factor[sines] = k[cosines], -k[sines]
    else:
        successor = successor.roll(-1)
        factor[:-1] = -k[1:]
        bases = (*bases[:axis], "sine", *bases[axis + 1 :])
    trailing = (1,) * (grid.ndim - axis - 1)
    return AxisDerivative(
        axis=axis - grid.ndim,
        bases=bases,
        successor=successor.to(like.device),
        factor=factor.reshape(n, *trailing).to(like),
    )
