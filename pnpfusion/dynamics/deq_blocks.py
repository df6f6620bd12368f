"""The blocks of the deep-equilibrium fusion cell [NBZ23]."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pnpfusion.solvers.products import linear

#: What stands in the norms' place.
Norm = Literal["group", "rms", "none"]
#: What comes first at the end of the fusion block.
Order = Literal["relu-norm", "norm-relu"]


def make_norm(norm: Norm, width: int, groups: int) -> nn.Module:
    """The normalisation of vectors of ``width`` that ``norm`` names."""
    if norm == "group":
        return GroupNorm(groups, width)
    return nn.RMSNorm(width, eps=1e-5) if norm == "rms" else nn.Identity()


class Linear(nn.Linear):
    """torch.nn.Linear of vectors, (B, d), by the faster library."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, d)."""
        return linear(input, self.weight, self.bias)


class GroupNorm(nn.GroupNorm):
    """torch.nn.GroupNorm of vectors, (B, d), in less time: as a layer norm of each group."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, d), as it comes in."""
        size = self.num_channels // self.num_groups
        by_group = F.layer_norm(input.reshape(-1, size), (size,), eps=self.eps)
        return torch.addcmul(self.bias, by_group.reshape(input.shape), self.weight)


class UnimodalBlock(nn.Module):
    r"""One modality's own step, :math:`N_3(\mathrm{ReLU}(N_2(W_2 h + c_2 + x_i) + z_i))`.

    With :math:`h = \mathrm{ReLU}(N_1(W_1 z_i + c_1))`.
    """

    def __init__(self, width: int, norm: Norm, groups: int, *, residual: bool) -> None:
        super().__init__()
        self.residual = residual  #: whether z_i is added
        self.linear1 = Linear(width, width)
        self.linear2 = Linear(width, width)
        self.norm1 = make_norm(norm, width, groups)
        self.norm2 = make_norm(norm, width, groups)
        self.norm3 = make_norm(norm, width, groups)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """The next z_i, (B, d), from ``z`` and the modality's features ``x``, (B, d) each."""
        hidden = F.relu(self.norm1(self.linear1(z)))
        inner = self.norm2(self.linear2(hidden) + x)
        next_z: Tensor = self.norm3(F.relu(inner + z if self.residual else inner))
        return next_z


class FusionBlock(nn.Module):
    r"""The fused state's step, :math:`N(\mathrm{ReLU}(W_o \sum_i z_f \odot a_i + c_o + x_f))`.

    The gates :math:`a_i = W_g (z_i + z_f) + c_g` are linear and share their weights, so their sum
    is one product, :math:`W_g (\sum_i z_i + n z_f) + n c_g`.
    """

    def __init__(self, width: int, norm: Norm, groups: int, order: Order) -> None:
        super().__init__()
        self.order = order
        self.gate = Linear(width, width)
        self.out = Linear(width, width)
        self.norm = make_norm(norm, width, groups)

    def forward(self, z: Tensor, total: Tensor, number: Tensor | int, injected: Tensor) -> Tensor:
        """The next z_f, (B, d).

        Args:
            z: z_f, (B, d).
            total: the sum of z_i over the modalities that are there, (B, d).
            number: n, how many are there, (B, 1) or one number for all.
            injected: x_f, (B, d).
        """
        gates = linear(total + number * z, self.gate.weight) + number * self.gate.bias
        mixed = self.out(z * gates) + injected
        if self.order == "norm-relu":
            return F.relu(self.norm(mixed))
        next_z: Tensor = self.norm(F.relu(mixed))
        return next_z
