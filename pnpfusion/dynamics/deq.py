"""Deep equilibrium fusion as a law of motion: the cell of the paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.at_rest import AtRest
from pnpfusion.dynamics.deq_blocks import FusionBlock, Norm, Order, UnimodalBlock
from pnpfusion.dynamics.deq_cascade import combined
from pnpfusion.dynamics.deq_compiled import compiled_block
from pnpfusion.dynamics.deq_compiled_fusion import compiled_fusion
from pnpfusion.dynamics.deq_input import Modalities
from pnpfusion.dynamics.deq_law import DEQLaw
from pnpfusion.dynamics.input import Input
from pnpfusion.solvers.arguments import check_choice
from pnpfusion.solvers.fixed_point.base import (
    FixedPoint,
    FixedPointSolver,
    Residual,
    Tolerance,
)
from pnpfusion.solvers.fixed_point.broyden import Broyden
from pnpfusion.solvers.fixed_point.gradient import Gradient, solve_fixed_point


class DEQ(DEQLaw):
    r"""Deep equilibrium fusion [NBZ23], :math:`\dot z = f(z; x) - z`, of N modalities of width d.

    One evaluation of the cell f, with norms N (GroupNorm), all weights d × d:

    .. math::
        x_f &= \sum_i w_i x_i + b \\
        h_i &= \mathrm{ReLU}(N_{i1}(W_{i1} z_i + c_{i1})) \\
        z_i^+ &= N_{i3}(\mathrm{ReLU}(N_{i2}(W_{i2} h_i + c_{i2} + x_i) + z_i)) \\
        a_i &= W_g (z_i^+ + z_f) + c_g \\
        z_f^+ &= N_f(\mathrm{ReLU}(W_o \textstyle\sum_i z_f \odot a_i + c_o + x_f))

    No modality's state sees another's or the fused one, so :math:`\partial f / \partial z` is block
    lower triangular: :meth:`solve_equilibrium` solves N unimodal equations and then one for z_f.
    Nothing makes f a contraction; whether a solve converged is told for each sample. With two
    numbers to a group norms are almost signs, and explicit steps in time become very small; the
    norm of a single number is 0, so d must be larger than the number of groups to be of use.

    Args:
        modalities: N.
        width: d.
        state_residual: whether z_i is added before the third norm.
        order: what ends the fusion block.
        norm: N: groups, the root mean square, or nothing.
        learned_sum: whether w and b are learned; else x_f is the plain sum.
        groups: of the GroupNorms.

    Raises:
        ValueError: an option is none of those, or ``groups`` does not divide d.
    """

    def __init__(
        self,
        modalities: int,
        width: int,
        *,
        state_residual: bool = True,
        order: Order = "relu-norm",
        norm: Norm = "group",
        learned_sum: bool = True,
        groups: int = 4,
    ) -> None:
        super().__init__(modalities, width)
        check_choice("order", order, get_args(Order))
        check_choice("norm", norm, get_args(Norm))
        if norm == "group" and (type(groups) is not int or groups < 1 or width % groups):
            raise ValueError(
                f"`groups` must divide the width {width}, got {groups!r}; choose another of them, "
                f'or norm="rms".'
            )
        self.unimodal = nn.ModuleList(
            UnimodalBlock(width, norm, groups, residual=state_residual) for _ in range(modalities)
        )
        self.fusion = FusionBlock(width, norm, groups, order)
        self.sum_weights = nn.Parameter(torch.ones(modalities)) if learned_sum else None
        self.sum_bias = nn.Parameter(torch.zeros(())) if learned_sum else None

    def driven(self, x: Modalities) -> DrivenBlocks:
        """See :meth:`DEQLaw.driven`."""
        injected = x.features.sum(1)
        if self.sum_weights is not None and self.sum_bias is not None:
            injected = torch.einsum("n,bnd->bd", self.sum_weights, x.features) + self.sum_bias
        return DrivenBlocks(self, x, injected)

    def choose_solver(self, u0: Tensor, x: Input) -> tuple[FixedPointSolver, str]:
        """See :meth:`Dynamics.choose_solver`."""
        solver = Broyden(memory=50, max_evaluations=100)
        return solver, "the one that found most equilibria of this cell, which need not contract"

    def solve_equilibrium(
        self,
        u0: Tensor,
        x: Input,
        tolerance: Tolerance | float,
        solver: FixedPointSolver | None = None,
        gradient: Gradient | None = None,
    ) -> AtRest:
        """See :meth:`Dynamics.solve_equilibrium`; block after block, the fused one last.

        A block has converged when its own relative residual is within the tolerance, a sample when
        all of its blocks have; its residual is that of its worst block. All blocks cost the same,
        two products with a matrix, so N + 1 block evaluations count as one of the cell.
        """
        solver, way = self.solver_and_why(u0, x, solver)
        cell = self.driven(self.read(x, tuple(u0.shape[:-2])))
        start = u0.reshape(-1, *self.state_shape)
        found: list[FixedPoint] = []

        def solve(k: int, residual: Residual) -> None:
            found.append(
                solve_fixed_point(
                    residual,
                    start[:, k],
                    solver=solver,
                    tolerance=tolerance,
                    gradient=gradient,
                    name=f"the block of modality {k + 1} of {self.modalities}"
                    if k < self.modalities
                    else "the fused block",
                )
            )

        for i, block in enumerate(self.unimodal):
            compiled = compiled_block(block, *cell.x.modality(i), solver, gradient)
            solve(i, compiled or change_by(partial(cell.unimodal, i)))
        total = torch.stack([one.u for one in found]).sum(0)
        fusion = compiled_fusion(self.fusion, total, cell.number, cell.injected, solver, gradient)
        solve(self.modalities, fusion or change_by(partial(cell.fused, total)))
        rest = combined(found, f"{way}; one modality after the other, then the fused state")
        if gradient is None or not gradient.mask_unconverged:
            return rest
        # A block may have an answer that rests on one that has none:
        good = rest.converged[:, None, None]
        return replace(rest, u=torch.where(good, rest.u, rest.u.detach()))


def change_by(step: Callable[[Tensor, Tensor | None], Tensor]) -> Residual:
    """f(z) - z, if ``step`` is f."""
    return lambda z, which: step(z, which) - z


@dataclass(frozen=True, eq=False)
class DrivenBlocks:
    """The cell under one input, as a whole and block by block."""

    law: DEQ
    x: Modalities
    injected: Tensor  #: x_f, (B, d)

    def of(self, which: Tensor | None) -> DrivenBlocks:
        """See :class:`DrivenCell`."""
        if which is None:
            return self
        return DrivenBlocks(self.law, self.x.of(which), self.injected[which])

    def __call__(self, z: Tensor) -> Tensor:
        """See :class:`DrivenCell`."""
        states = [self.unimodal(i, z[:, i]) for i in range(self.law.modalities)]
        fused = self.fused(torch.stack(states).sum(0), z[:, -1])
        return torch.stack([*states, fused], 1)

    def unimodal(self, i: int, z: Tensor, which: Tensor | None = None) -> Tensor:
        """The next z_i of the samples ``which``, (B, d); 0 where the modality is absent."""
        features, present = self.x.features[:, i], self.x.present
        if which is not None:
            features = features[which]
        z = self.law.unimodal[i](z, features)
        if present is None:
            return z
        there = present[:, i] if which is None else present[which, i]
        return torch.where(there[:, None], z, 0)

    def fused(self, total: Tensor, z: Tensor, which: Tensor | None = None) -> Tensor:
        """The next z_f of the samples ``which``, (B, d), if ``total`` is the sum of all z_i."""
        injected, number = self.injected, self.number
        if which is not None:
            total, injected = total[which], injected[which]
            number = number[which] if isinstance(number, Tensor) else number
        fused: Tensor = self.law.fusion(z, total, number, injected)
        return fused

    @property
    def number(self) -> Tensor | int:
        """How many modalities are there: of each sample, (B, 1), or one number for all."""
        present = self.x.present
        return self.law.modalities if present is None else present.sum(1, keepdim=True)
