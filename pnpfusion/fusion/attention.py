"""A baseline: self-attention over one token per modality."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.layer import FusionInfo, FusionLayer
from pnpfusion.solvers.arguments import check_whole


class Attention(FusionLayer):
    r"""Each modality is one token, :math:`t_j = W_j x_j + b_j + e_j`, and tokens see each other.

    Multi-head self-attention over the tokens of the modalities that are present, their mean, and a
    linear map: :math:`y = W \, \mathrm{mean}_j \, \mathrm{attention}(t)_j + b`, by
    `torch.nn.MultiheadAttention`. An absent modality has no influence whatsoever.

    Args:
        dims: the width of each modality, by name.
        out_dim: the width of y.
        heads: of the attention.
        width: of the tokens, a multiple of ``heads``; None for the smallest multiple that is no
            less than ``out_dim``.

    Raises:
        ValueError: no whole number of heads, or a width that they do not divide.
    """

    dynamics = None

    def __init__(
        self, dims: Mapping[str, int], out_dim: int, *, heads: int = 4, width: int | None = None
    ) -> None:
        super().__init__(dims, out_dim)
        check_whole("heads", heads)
        if width is None:
            width = -(-out_dim // heads) * heads
        if isinstance(width, bool) or not isinstance(width, int) or width < 1 or width % heads:
            raise ValueError(
                f"`width` must be a multiple of the {heads} `heads`, e.g. {8 * heads}, "
                f"got {width!r}."
            )
        self.tokens = nn.ModuleList(nn.Linear(d, width) for d in self.dims.values())
        self.embedding = nn.Parameter(torch.empty(len(self.dims), width).normal_(std=width**-0.5))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.linear = nn.Linear(width, out_dim)

    def fuse(self, batch: Batch, return_info: bool) -> tuple[Tensor, FusionInfo | None]:
        """See :meth:`FusionLayer.fuse`."""
        projected = [
            token(x) for token, x in zip(self.tokens, batch.features.values(), strict=True)
        ]
        tokens = torch.stack(projected, 1) + self.embedding
        present = batch.present
        absent = None if present is None else ~present
        seen, _ = self.attention(tokens, tokens, tokens, absent, need_weights=False)
        if present is None:
            return self.linear(seen.mean(1)), None
        weights = present.to(seen.dtype) / present.sum(1, keepdim=True)
        return self.linear((seen * weights[..., None]).sum(1)), None
