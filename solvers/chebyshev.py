r"""One axis between two walls by its Chebyshev points: where they are, sums and slopes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pnpfusion.solvers.grid import Boundary, Grid


@dataclass(frozen=True)
class ChebyshevGrid(Grid):
    r"""Chebyshev points of an axis of length L, dense at its walls, which are points themselves.

    .. math:: r_j = \tfrac{L}{2} \big(1 - \cos(\pi j / M)\big), \qquad j = 0 \dots M.

    A field has M + 1 = ``shape[0]`` values, the polynomial through which is what they mean.
    :attr:`weights` are Clenshaw and Curtis', exact for polynomials of degree M [Tre00, 12].

    Raises:
        ValueError: fewer than three points, more than one axis, or one that is not between walls.
    """

    boundaries: tuple[Boundary, ...] = ("wall",)  #: the axis lies between walls

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ndim != 1 or self.boundaries != ("wall",) or self.shape[0] < 3:
            raise ValueError(
                f"a ChebyshevGrid has one axis between walls with at least 3 points, got shape "
                f"{self.shape} with boundaries {self.boundaries}."
            )
        if self.edges is not None:
            raise ValueError("a ChebyshevGrid places its own points; leave `edges` None.")

    def coordinates(self, axis: int = 0) -> Tensor:
        """Positions of the points, the walls among them, float64, shape ``(M + 1,)``, in L.

        Args:
            axis: 0, the only one.
        """
        return self.lengths[axis] * _angles(self.shape[axis]).div(2).sin().square()

    def widths(self, axis: int = 0) -> Tensor:
        """The weights of the points in integrals, float64, shape ``(M + 1,)``, in L.

        Args:
            axis: 0, the only one.
        """
        m = self.shape[axis] - 1
        angles = _angles(m + 1)
        weights = torch.ones(m + 1, dtype=torch.float64)
        for k in range(1, m // 2 + 1):
            share = 1.0 if 2 * k == m else 2.0
            weights -= share * (2 * k * angles).cos() / (4 * k**2 - 1)
        weights[[0, -1]] /= 2
        return weights * (self.lengths[axis] / m)

    def faces(self, axis: int = 0) -> Tensor:
        """Bounds between the points that are their weights apart, ``(M + 2,)``, in L.

        Args:
            axis: 0, the only one.
        """
        return torch.cat([torch.zeros(1, dtype=torch.float64), self.widths(axis).cumsum(0)])

    @property
    def derivative(self) -> Tensor:
        """The matrix of slopes at the points, float64, ``(M + 1, M + 1)``, in 1 / L."""
        return _derivative(self.shape[0]) / self.lengths[0]


def _angles(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float64) * (math.pi / (n - 1))


@lru_cache(maxsize=32)
def _derivative(n: int) -> Tensor:
    """Of a unit length [Tre00, 6]; differences of points by products of sines, which cancel not."""
    angles = _angles(n)
    half = angles / 2
    distance = (half[:, None] + half).sin() * (half[:, None] - half).sin()
    share = torch.ones(n, dtype=torch.float64)
    share[1::2] = -1
    share[[0, -1]] *= 2
    matrix = share[:, None] / share / (distance + torch.eye(n))
    matrix.fill_diagonal_(0)
    return matrix - torch.diag(matrix.sum(1))
