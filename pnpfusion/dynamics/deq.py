"""Deep equilibrium fusion as a law of motion: the cell of the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.deq_blocks import FusionBlock, Norm, Order, UnimodalBlock
from pnpfusion.dynamics.deq_input import Modalities
from pnpfusion.dynamics.deq_law import DEQLaw


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
    Nothing makes f a contraction; whether a solve converged is told for each sample.

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
        if order not in ("relu-norm", "norm-relu"):
            raise ValueError(f'`order` must be "relu-norm" or "norm-relu", got {order!r}.')
        if norm not in ("group", "rms", "none"):
            raise ValueError(f'`norm` must be "group", "rms" or "none", got {norm!r}.')
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

    def injected(self, x: Modalities) -> Tensor:
        """x_f, (B, d)."""
        if self.sum_weights is None or self.sum_bias is None:
            return x.features.sum(1)
        return torch.einsum("n,bnd->bd", self.sum_weights, x.features) + self.sum_bias

    def unimodal_cell(self, i: int, z: Tensor, x: Modalities) -> Tensor:
        """The next z_i, (B, d), from ``z`` = z_i; 0 where the modality is absent."""
        z = self.unimodal[i](z, x.features[:, i])
        return z if x.present is None else torch.where(x.present[:, i, None], z, 0)

    def cell(self, z: Tensor, x: Modalities) -> Tensor:
        """See :meth:`DEQLaw.cell`."""
        states = [self.unimodal_cell(i, z[:, i], x) for i in range(self.modalities)]
        fused = self.fusion(z[:, -1], sum(states), count(x), self.injected(x))
        return torch.stack([*states, fused], 1)


def count(x: Modalities) -> Tensor | int:
    """How many modalities are there: for each sample, (B, 1), or one number for all."""
    if x.present is None:
        return x.features.shape[1]
    return x.present.sum(1, keepdim=True)
