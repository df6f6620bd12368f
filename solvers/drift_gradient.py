"""The transpose of the drift of ions in modes, and what it says of the cell's parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnpfusion.solvers.axis_modes import drift_transposed

if TYPE_CHECKING:
    from pnpfusion.solvers.low_modes import LowModes
    from pnpfusion.solvers.steppers.base import Semilinear


class DriftGradient:
    """N of a law in modes, and gradients by its modes and by what it is made of.

    Those by what it is made of are summed over all calls of :meth:`back`, see :meth:`summed`.
    """

    def __init__(self, law: LowModes) -> None:
        cell = law.cell
        #: Tensors of the law, which may have a graph.
        self.made_of = {
            "mean": law.mean,
            "permittivity": cell.permittivity,
            "valence": cell.valence,
            "mobility": law.mobility,
        }
        for name, tensor in (("fixed", law.fixed), ("source", law.source)):
            if tensor is not None:
                self.made_of[name] = tensor
        still = {name: tensor.detach() for name, tensor in self.made_of.items()}
        self.law = replace(
            law,
            cell=replace(
                cell,
                permittivity=still["permittivity"],
                valence=still["valence"],
                diffusivity=cell.diffusivity.detach(),
                fixed_charge=cell.fixed_charge.detach(),
                fixed_modes=cell.fixed_modes.detach(),
            ),
            mean=still["mean"],
            quickest=law.quickest.detach(),
            green=law.green.detach(),
            constant=law.constant.detach(),
            mobility=still["mobility"],
            fixed=still.get("fixed"),
            source=still.get("source"),
        )
        self.sums: dict[str, Tensor] = {}

    def remainder(self, modes: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See :meth:`LowModes.remainder`."""
        return self.law.remainder(modes)

    def back(self, modes: Tensor, kept: tuple[Tensor, ...], grad: Tensor) -> Tensor:
        """The gradient by ``modes`` ``(B, S, *kept)`` from that by N there."""
        law, (charge, values, *slopes) = self.law, kept
        space = tuple(range(2, modes.ndim))
        low, valence = law.low(modes), law.cell.valence
        by_c, by_phi = drift_transposed(law.axes, values, slopes, law.low(grad), law.mobility)
        if self.follows("mobility"):
            self.add("mobility", (by_c * (low - law.constant)).sum(space, keepdim=True))
        by_c, by_charge = by_c * law.mobility, by_phi * law.green
        if self.follows("mean"):  # which is in the first mode only
            first = (slice(None), slice(None), *(slice(0, 1) for _ in space))
            self.add("mean", by_c[first] * -law.unit)
        if self.follows("permittivity"):
            total = (by_charge * charge).sum([axis - 1 for axis in space], keepdim=True)
            self.add("permittivity", -total / law.cell.permittivity)
        if self.follows("fixed"):
            self.add("fixed", by_charge)
        if self.follows("source"):
            self.add("source", -grad)
        by_charge = by_charge.unsqueeze(1)
        if self.follows("valence"):
            self.add("valence", (by_charge * low).sum(space, keepdim=True))
        return law.whole(torch.addcmul(by_c, valence, by_charge))

    def reduced(self, modes: Tensor, since: float) -> Semilinear | None:
        """See :class:`Resolution`; None too where fixed charge moves ions by all modes it has."""
        return None if self.follows("fixed") else self.law.reduced(modes, since)

    def follows(self, name: str) -> bool:
        """Whether a gradient by one of :attr:`made_of` is asked for."""
        return name in self.made_of and self.made_of[name].requires_grad

    def add(self, name: str, grad: Tensor) -> None:
        """Add to the gradient by one of :attr:`made_of`."""
        grad = grad.sum_to_size(self.made_of[name].shape)
        self.sums[name] = self.sums[name] + grad if name in self.sums else grad

    def summed(self) -> list[tuple[Tensor, Tensor]]:
        """Tensors of the law, with their graph, and the gradients by them, which are forgotten."""
        found = [(self.made_of[name], grad) for name, grad in self.sums.items()]
        self.sums = {}
        return found
