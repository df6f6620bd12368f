"""The baseline: concatenation and one linear map."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.layer import FusionInfo, FusionLayer


class Concat(FusionLayer):
    r"""Late fusion by concatenation, :math:`y = W [x_1, \dots, x_N] + b`.

    An absent modality is zero in the concatenation.

    Args:
        dims: the width of each modality, by name.
        out_dim: the width of y.
    """

    dynamics = None

    def __init__(self, dims: Mapping[str, int], out_dim: int) -> None:
        super().__init__(dims, out_dim)
        self.linear = nn.Linear(sum(self.dims.values()), out_dim)

    def fuse(self, batch: Batch, return_info: bool) -> tuple[Tensor, FusionInfo | None]:
        """See :meth:`FusionLayer.fuse`."""
        return self.linear(torch.cat([*batch.features.values()], 1)), None
