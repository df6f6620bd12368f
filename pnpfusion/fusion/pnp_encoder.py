"""From the features of one modality to what its particles are on channels and cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from pnpfusion.fusion.inputs import Batch

Encoder = Literal["linear", "mlp"]


class Encoders(nn.Module):
    """One map for each modality, from its features to ``(rows, *shape)``.

    Args:
        dims: the width of each modality, by name.
        shape: of what comes out, per row.
        kind: ``"linear"``, or ``"mlp"`` with one hidden layer.
        hidden: the width of that layer.
        gain: the standard deviation of what comes out of features of variance 1 at the start.
        bias: what comes out of features that are 0 at the start.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        shape: tuple[int, ...],
        kind: Encoder,
        *,
        hidden: int,
        gain: float,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.maps = nn.ModuleList(
            _encoder(width, math.prod(shape), kind, hidden, gain, bias) for width in dims.values()
        )

    def forward(self, batch: Batch) -> list[Tensor]:
        """``(rows, *shape)`` for each modality, also where it is absent."""
        return [
            one(features).unflatten(1, self.shape)
            for one, features in zip(self.maps, batch.features.values(), strict=True)
        ]


def where_present(values: list[Tensor], batch: Batch, otherwise: Tensor) -> list[Tensor]:
    """``values`` of each modality, ``(rows, ...)``, and ``otherwise`` in rows that lack it."""
    if batch.present is None:
        return values
    space = (1,) * (values[0].ndim - 1)
    return [
        torch.where(there.reshape(-1, *space), one, otherwise)
        for one, there in zip(values, batch.present.unbind(1), strict=True)
    ]


def _encoder(
    width: int, outputs: int, kind: Encoder, hidden: int, gain: float, bias: float
) -> nn.Module:
    if kind == "linear":
        return _linear(width, outputs, gain, bias)
    # Half of the hidden values are cut off, so a mean square of 1/2 is left.
    return nn.Sequential(
        _linear(width, hidden, 1.0, 0.0), nn.ReLU(), _linear(hidden, outputs, gain * 2**0.5, bias)
    )


def _linear(width: int, outputs: int, gain: float, bias: float) -> nn.Linear:
    linear = nn.Linear(width, outputs)
    nn.init.normal_(linear.weight, std=gain / math.sqrt(width))
    nn.init.constant_(linear.bias, bias)
    return linear
