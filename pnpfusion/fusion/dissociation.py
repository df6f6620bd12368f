"""A feature taken apart into what it shares with others and what is its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dissociation(nn.Module):
    r"""Invariant and specific part of one feature, by three affine maps [GMF].

    .. math:: u = A f + a, \qquad s = C u_{1 \dots b} + c, \qquad p = S u_{b+1 \dots n} + e.

    Args:
        width: the length l of f, and of p.
        units: the length n of u.
        boundary: b, how many units belong to the invariant part, 1 <= b < n.
        shared: the length of s.
        bias: whether the maps have the terms a, c and e.
    """

    def __init__(self, width: int, units: int, boundary: int, shared: int, *, bias: bool) -> None:
        super().__init__()
        self.boundary = boundary
        self.dissociate = nn.Linear(width, units, bias=bias)
        self.invariant = nn.Linear(boundary, shared, bias=bias)
        self.specific = nn.Linear(units - boundary, width, bias=bias)

    def forward(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """The parts (..., shared) and (..., l) of features (..., l)."""
        u = self.dissociate(f)
        return self.invariant(u[..., : self.boundary]), self.specific(u[..., self.boundary :])

    def fold(self) -> FoldedDissociation:
        """The same function of f in two maps instead of three; independent of this one."""
        a, b = self.dissociate, self.boundary
        return FoldedDissociation(
            _product(self.invariant, a, slice(None, b)), _product(self.specific, a, slice(b, None))
        )

    def extra_repr(self) -> str:
        """Where the units are split."""
        return f"boundary={self.boundary}"


class FoldedDissociation(nn.Module):
    r"""What :class:`Dissociation` amounts to, :math:`s = M f + m` and :math:`p = N f + n`."""

    def __init__(self, invariant: nn.Linear, specific: nn.Linear) -> None:
        super().__init__()
        self.invariant, self.specific = invariant, specific

    def forward(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Dissociation.forward`."""
        return self.invariant(f), self.specific(f)


@torch.no_grad()
def _product(after: nn.Linear, before: nn.Linear, units: slice) -> nn.Linear:
    """``after`` applied to the outputs ``units`` of ``before``, as one map."""
    weight = after.weight @ before.weight[units]
    folded: nn.Linear = nn.utils.skip_init(
        nn.Linear,
        before.in_features,
        after.out_features,
        bias=after.bias is not None,
        dtype=weight.dtype,
        device=weight.device,
    )
    folded.weight.copy_(weight)
    if after.bias is not None:
        folded.bias.copy_(after.weight @ before.bias[units] + after.bias)
    return folded
