r"""Two-point fluxes of drift and diffusion between neighbouring cells.

Between two points a distance :math:`h` apart, with :math:`u = z(\phi_R - \phi_L)`, every scheme
here is

.. math:: J = \frac{D}{h}\,[\,a(u)\,c_L - b(u)\,c_R\,], \qquad b(u) = a(-u),

and differs only in the weight :math:`a`. All are second order; J is positive along +x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class FaceScheme:
    """How a face weighs its two neighbours, and what that promises."""

    name: str
    weights: Callable[[Tensor], Weights]  #: u -> (a(u), b(u)), like u
    slopes: Callable[[Tensor, Weights], Weights]  #: u, (a(u), b(u)) -> (a'(u), b'(u)), like u
    monotone: bool  #: a, b > 0 for every u: linear steps keep concentrations positive
    well_balanced: bool  #: J = 0 exactly where ln c + z phi is constant (Boltzmann equilibrium)


def bernoulli(u: Tensor) -> Tensor:
    r"""The Bernoulli function :math:`B(u) = u / (e^u - 1)`, with :math:`B(0) = 1`.

    Accurate to round-off for every finite ``u``, and so are its first two derivatives under
    autograd: the argument is replaced before a branch is taken, so no branch yields NaN.

    Args:
        u: any shape, dimensionless, float32 or float64.

    Returns:
        Like ``u``; not negative (it underflows to 0 for u above 745 in float64).
    """
    return bernoulli_pair(u)[0]


def bernoulli_pair(u: Tensor) -> Weights:
    """``(B(u), B(-u))``, each to round-off; cheaper than two calls. Shapes of ``u``."""
    small = u.abs() < (1e-2 if u.dtype == torch.float64 else 0.25)
    v = torch.where(small, u, 0.0)
    squared = v * v
    series = 1 + squared * (1 / 12 - squared * (1 / 720 - squared / 30240))
    w = torch.where(small, 1.0, u).abs()
    tail = torch.exp(-w) * w / -torch.expm1(-w)
    return (
        torch.where(small, series - v / 2, tail + torch.relu(-u)),
        torch.where(small, series + v / 2, tail + torch.relu(u)),
    )


def _bernoulli_slopes(u: Tensor, weights: Weights) -> Weights:
    small = u.abs() < (1e-2 if u.dtype == torch.float64 else 0.25)
    v = torch.where(small, u, 0.0)
    squared = v * v
    series = -0.5 + v * (1 / 6 - squared * (1 / 180 - squared / 5040))
    ahead, back = weights
    slope = torch.where(small, series, ahead * (1 - back) / torch.where(small, 1.0, u))
    return slope, slope + 1


def _central_weights(u: Tensor) -> Weights:
    return 1 - u / 2, 1 + u / 2


def _central_slopes(u: Tensor, weights: Weights) -> Weights:
    half = torch.full_like(u, 0.5)
    return -half, half


def _harmonic_weights(u: Tensor) -> Weights:
    return 2 * torch.sigmoid(-u), 2 * torch.sigmoid(u)


def _harmonic_slopes(u: Tensor, weights: Weights) -> Weights:
    slope = weights[0] * weights[1] / 2
    return -slope, slope


#: Every face scheme by the name that ``pf.PNP(scheme=...)`` takes.
FACE_SCHEMES = {
    scheme.name: scheme
    for scheme in (
        # Exact for constant J and field [SG69]; the default.
        FaceScheme("scharfetter-gummel", bernoulli_pair, _bernoulli_slopes, True, True),
        # The plain average; loses positivity of the weights at |u| > 2.
        FaceScheme("central", _central_weights, _central_slopes, False, False),
        # Harmonic mean of the Slotboom factor e^{-z phi}; bounded weights at any u.
        FaceScheme("harmonic", _harmonic_weights, _harmonic_slopes, True, True),
    )
}

#: The number by which kernels know each of them.
SCHEME_NUMBERS = {name: number for number, name in enumerate(FACE_SCHEMES)}
