"""The fusion block of the paper's cell with all compiled that lies between its products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.deq_blocks import FusionBlock, GroupNorm, Linear
from pnpfusion.dynamics.deq_compiled import (
    ByInputs,
    Kept,
    can_compile,
    is_made_of,
    kernels,
    norm_of,
    parameters_of,
)
from pnpfusion.solvers.fixed_point.base import FixedPointSolver
from pnpfusion.solvers.fixed_point.gradient import Gradient
from pnpfusion.solvers.fixed_point.linearised import Linearised
from pnpfusion.solvers.products import Products


def compiled_fusion(
    block: nn.Module,
    total: Tensor,
    number: Tensor | int,
    injected: Tensor,
    solver: FixedPointSolver,
    gradient: Gradient | None,
) -> CompiledFusion | None:
    """f(z) - z of the fusion block, or None where only torch can evaluate it.

    Args:
        block: the block.
        total: see :meth:`FusionBlock.forward`, like the next two.
        number: see there.
        injected: see there.
        solver: of the equilibrium; one that takes derivatives by itself needs torch's.
        gradient: of the equilibrium; likewise.
    """
    known = can_compile(total, solver, gradient) and injected.dtype == total.dtype
    parts = {"gate": Linear, "out": Linear, "norm": GroupNorm}
    if not (known and is_made_of(block, FusionBlock, parts, total)):
        return None
    fusion = cast(FusionBlock, block)
    return CompiledFusion(fusion, total, number, injected) if fusion.order == "relu-norm" else None


class CompiledFusion:
    """f(z) - z of a fusion block that ends in its norm, and its derivatives.

    Args:
        block: the block.
        total: see :meth:`FusionBlock.forward`, like the next two.
        number: see there.
        injected: see there.
    """

    def __init__(
        self, block: FusionBlock, total: Tensor, number: Tensor | int, injected: Tensor
    ) -> None:
        self.total, self.injected = total, injected
        self.parameters = parameters_of(block.gate, block.out, block.norm)
        self.number = number if isinstance(number, int) else number.to(total.dtype)
        self.gate = Products(block.gate.weight, None)
        self.out = Products(block.out.weight, block.out.bias)
        self.gate_bias, self.norm = block.gate.bias.detach(), norm_of(block.norm)
        self._none = Kept.of(0, 0, total.detach(), 1)
        self._total, self._injected = total.detach(), injected.detach().contiguous()

    def __call__(self, z: Tensor, which: Tensor | None) -> Tensor:
        """f(z) - z of the samples ``which``, without gradient."""
        return self.at(z, which, self._none)[0]

    def linearised(self, u: Tensor, rows: Tensor | None) -> Linearised:
        """See :class:`pnpfusion.solvers.fixed_point.linearised.OwnDerivative`."""
        total, injected = self.total, self.injected
        if rows is not None:
            total, injected = total[rows], injected[rows]
        with torch.no_grad():
            kept = Kept.of(len(u), self.norm.groups, u, 1)
            f, place = self.at(u.detach().contiguous(), rows, kept)
        plan = [place, f]  # hidden from autograd, whose inputs are tensors that stand alone
        f = ByInputs.apply(plan, total, injected, *self.parameters)  # type: ignore[no-untyped-call]
        return Linearised(f, place.transposed)

    def at(self, z: Tensor, which: Tensor | None, kept: Kept) -> tuple[Tensor, _Place]:
        """f(z) - z of the samples ``which``, and the place, whose derivatives want ``kept``."""
        total, injected, number = self._total, self._injected, self.number
        if which is not None:
            total, injected = total[which], injected[which]
            number = number[which] if isinstance(number, Tensor) else number
        both = total + number * z
        gates = self.gate.forward(both) + number * self.gate_bias
        a, f = self.out.forward(z * gates), torch.empty_like(z)
        given = a.numpy(), injected.numpy(), z.numpy(), self.norm
        kernels().norm_of_relu(*given, f.numpy(), kept.on.numpy(), kept.units[0])
        return f, _Place(self, z, number, both, gates, kept)


@dataclass(frozen=True, eq=False)
class _Place:
    """The derivatives of a fusion block at the states ``z``."""

    block: CompiledFusion
    z: Tensor  #: (R, d)
    number: Tensor | int  #: of modalities, (R, 1) or one for all
    both: Tensor  #: what the gates are made from, (R, d)
    gates: Tensor  #: (R, d)
    kept: Kept

    def back(self, by: Tensor) -> tuple[Tensor, Tensor]:
        """From the derivative by the new state to that by the second product, and by its factor."""
        block, kept, by_a = self.block, self.kept, torch.empty_like(by)
        given = by.numpy(), block.norm, kept.on.numpy(), kept.units[0]
        kernels().back_norm_of_relu(*given, by_a.numpy())
        return by_a, block.out.back(by_a)

    def transposed(self, w: Tensor) -> Tensor:
        """The derivative of f(z) - z, transposed, times ``w``."""
        _, by_mixed = self.back(w.contiguous())
        by_gates = self.block.gate.back(by_mixed * self.z)
        return (by_mixed * self.gates).sub_(w).add_(self.number * by_gates)

    def by_inputs(self, w: Tensor) -> list[Tensor]:
        """That by the total, what is injected, and the parameters in their order."""
        by, block, (unit, _) = w.contiguous(), self.block, self.kept.norms[0]
        by_a, by_mixed = self.back(by)
        by_gates = by_mixed * self.z
        return [
            block.gate.back(by_gates),
            by_a,
            *(block.gate.by_weight(by_gates, self.both), (self.number * by_gates).sum(0)),
            *(block.out.by_weight(by_a, self.z * self.gates), by_a.sum(0)),
            *((by * unit).sum(0), by.sum(0)),
        ]
