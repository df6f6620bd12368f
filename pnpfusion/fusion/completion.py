"""What is missing is told from what is there, before it is fused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.layer import FusionInfo, FusionLayer


class Completion(FusionLayer):
    r"""A fusion layer F whose absent modalities are completed from those that are there.

    .. math::
        \hat x_m = G_m\big([s_k x_k, s_k]_{k \ne m}\big), \qquad
        y = F(s_1 x_1 + (1 - s_1) \hat x_1, \dots), \qquad
        L = \frac1N \sum_m \mathrm{mean}_{s_m = 1} (\hat x_m - x_m)^2,

    with :math:`s_m` 1 where a modality is there and 0 where it is not, and :math:`G_m` an mlp of
    one hidden layer. ``info.losses["completion"]`` is L. It needs no labels, and its gradient
    reaches the G alone: samples that lack nothing are fused as F does. As L falls,
    :math:`\hat x_m` tends to the conditional mean of what is absent, where F would else see zeros
    or particles that are neutral.

    Args:
        layer: F; its widths are those of this layer.
        hidden: the width of each hidden layer.

    Raises:
        ValueError: a layer of one modality, of which nothing is left where it is absent, something
            that is no fusion layer, or a ``hidden`` that is no whole number >= 1.
    """

    def __init__(self, layer: FusionLayer, *, hidden: int = 64) -> None:
        if not isinstance(layer, FusionLayer):
            raise ValueError(f"`layer` must be a fusion layer, got {type(layer).__name__}.")
        super().__init__(layer.dims, layer.out_dim)
        if len(self.dims) < 2:
            raise ValueError(
                f"`layer` must fuse two modalities or more, got {[*self.dims]}: without its only "
                f"one there is nothing to tell it from."
            )
        if isinstance(hidden, bool) or not isinstance(hidden, int) or hidden < 1:
            raise ValueError(f"`hidden` must be a whole number >= 1, got {hidden!r}.")
        self.layer = layer
        self.maps = nn.ModuleList(_map(self.dims, name, hidden) for name in self.dims)

    @property
    def dynamics(self) -> Dynamics | None:  # type: ignore[override]
        """That of F."""
        return self.layer.dynamics

    @property
    def iterates(self) -> bool:
        """Whether F does."""
        return self.layer.iterates

    @property
    def solves(self) -> bool:
        """Whether F does."""
        return self.layer.solves

    def complete(self, batch: Batch) -> dict[str, Tensor]:
        r"""The :math:`\hat x_m` of every modality, (rows, d), also where it is there."""
        flags = _flags(batch, len(self.dims)).split(1, 1)
        heard = [
            torch.cat([x, there.to(x)], 1).detach()
            for x, there in zip(batch.features.values(), flags, strict=True)
        ]
        return {
            name: one(torch.cat(heard[:place] + heard[place + 1 :], 1))
            for place, (name, one) in enumerate(zip(self.dims, self.maps, strict=True))
        }

    def fuse(self, batch: Batch, return_info: bool) -> tuple[Tensor, FusionInfo | None]:
        """See :meth:`FusionLayer.fuse`."""
        if batch.present is None and not return_info:
            return self.layer.fuse(batch, return_info)
        told = self.complete(batch)
        whole = batch
        if batch.present is not None:
            features = {
                name: torch.where(there[:, None], batch.features[name], told[name])
                for name, there in zip(self.dims, batch.present.unbind(1), strict=True)
            }
            whole = replace(batch, features=features, present=None)
        fused, info = self.layer.fuse(whole, return_info)
        if not return_info:
            return fused, None
        if info is None:
            info = FusionInfo.without_solve(batch.rows, fused.device)
        losses = {**info.losses, "completion": self._loss(batch, told)}
        return fused, replace(info, losses=losses)

    def _loss(self, batch: Batch, told: Mapping[str, Tensor]) -> Tensor:
        there = _flags(batch, len(self.dims))
        parts = []
        for place, (name, guess) in enumerate(told.items()):
            error = (guess - batch.features[name].detach()).square().mean(1)
            known = there[:, place].to(error)
            parts.append((error * known).sum() / known.sum().clamp_min(1))
        return torch.stack(parts).mean()


def _map(dims: Mapping[str, int], absent: str, hidden: int) -> nn.Module:
    heard = sum(width + 1 for name, width in dims.items() if name != absent)
    return nn.Sequential(nn.Linear(heard, hidden), nn.ReLU(), nn.Linear(hidden, dims[absent]))


def _flags(batch: Batch, modalities: int) -> Tensor:
    """Which rows have which modality, (rows, modalities)."""
    if batch.present is not None:
        return batch.present
    first = next(iter(batch.features.values()))
    return torch.ones(batch.rows, modalities, dtype=torch.bool, device=first.device)
