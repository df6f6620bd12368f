"""The coefficients of exponential steps as leaves, whose gradients are brought back at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnpfusion.solvers.steppers.matrices import Coefficients, Matrices, make_room

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.exponential import Exponential

Sizes = dict[str, tuple[Tensor, Coefficients]]  #: sizes of steps and their coefficients


class LeafMatrices(Matrices):
    """Coefficients that are leaves; :attr:`used` are those given out since it was cleared."""

    def __init__(self, method: Exponential, linear: Tensor, alike: Tensor | None) -> None:
        super().__init__(method, linear, alike)
        self.used: Sizes = {}

    def _of_size(self, key: str, size: Tensor) -> Coefficients:
        if key not in self.known:
            make_room(self.known)
            with torch.no_grad():
                made = self.made(size)
            follows = self.linear.requires_grad
            self.known[key] = tuple(c.detach().requires_grad_(follows) for c in made)
        self.used[key] = size, self.known[key]
        return self.known[key]

    def _key(self, size: float) -> str:
        return f"{size:.15e}"

    def by_linear(self, sizes: Iterable[tuple[Tensor, list[Tensor]]]) -> Tensor:
        """The gradient by the linear part from those by the coefficients of some sizes.

        Modes that are alike add theirs up first. A size is found from its half, which comes first.
        """
        linear = self.linear.detach()
        flat = linear.flatten(3)
        leaf = (linear if self.few is None else flat[..., self.few[0]]).requires_grad_()
        outputs: list[Tensor] = []
        weights: list[Tensor] = []
        self.phis = {}  # those so far have no graph
        with torch.enable_grad():
            for size, grads in sorted(sizes, key=lambda entry: float(entry[0])):
                outputs += self._made(leaf, size)
                weights += grads if self.few is None else added_up(grads, *self.few)
        self.phis = {}
        (grad,) = torch.autograd.grad(outputs, [leaf], weights)
        if self.few is None:
            return grad
        return torch.zeros_like(flat).index_copy_(3, self.few[0], grad).reshape(linear.shape)


def added_up(grads: Sequence[Tensor], few: Tensor, place: Tensor) -> list[Tensor]:
    """Sums over modes ``(..., *modes)`` that are alike, ``(..., F)``, by their place there."""
    flat = [grad.flatten(3) for grad in grads]
    return [g.new_zeros(*g.shape[:3], len(few)).index_add_(3, place, g) for g in flat]
