"""What is missing is told from what is there, before it is fused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.layer import FusionInfo, FusionLayer
from pnpfusion.solvers.arguments import check_whole


class Completion(FusionLayer):
    r"""A fusion layer F whose absent modalities are completed from those that are there.

    .. math::
        \hat x_m = G_m\big([s_k x_k, s_k]_{k \ne m}\big), \qquad
        y = F(s_1 x_1 + (1 - s_1) \hat x_1, \dots), \qquad
        L = \mathrm{mean}_\text{rows} \Big(
            \sum_m s_m \overline{(\hat x_m - x_m)^2} \Big/ \sum_m s_m \Big),

    with :math:`s_m` 1 where a modality is there and 0 where it is not, and :math:`G_m` an mlp of
    one hidden layer. ``info.losses["completion"]`` is L: of each row the mean over the modalities
    that it has, then the mean over rows. It needs no labels, and its gradient reaches the G alone;
    that of the task reaches them where something is absent. Samples that lack nothing are fused as
    F does. As L falls, :math:`\hat x_m` tends to the conditional mean of what is absent, where F
    would else see zeros or particles that are neutral.

    Args:
        layer: F; its widths are those of this layer.
        hidden: the width of each hidden layer.

    Raises:
        ValueError: a layer of one modality, of which nothing is left where it is absent, one
            around encoders (:meth:`Progressive.around`), one that holds a completion already,
            something that is no fusion layer, or a ``hidden`` that is no whole number >= 1.
    """

    def __init__(self, layer: FusionLayer, *, hidden: int = 64) -> None:
        if not isinstance(layer, FusionLayer):
            raise ValueError(f"`layer` must be a fusion layer, got {type(layer).__name__}.")
        if not layer.dims:
            raise ValueError(
                "`layer` must fuse features of known widths, got one around encoders, whose inputs "
                "have any shape; complete what its encoders make, before another layer."
            )
        if any(isinstance(one, Completion) for one in layer.modules()):
            raise ValueError(
                "`layer` must hold no Completion: inside another nothing is absent; wrap once."
            )
        super().__init__(layer.dims, layer.out_dim)
        if len(self.dims) < 2:
            raise ValueError(
                f"`layer` must fuse two modalities or more, got {[*self.dims]}: without its only "
                f"one there is nothing to tell it from."
            )
        check_whole("hidden", hidden)
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
        r"""The :math:`\hat x_m` of every modality, (rows, d), also where it is there.

        Args:
            batch: what :meth:`FusionLayer.read` returned.

        Returns:
            By modality.
        """
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
        whole, told = batch.features, dict[str, Tensor]()
        if batch.present is not None or return_info:
            told = self.complete(batch)
        if batch.present is not None:
            whole = {
                name: torch.where(there[:, None], batch.features[name], told[name])
                for name, there in zip(self.dims, batch.present.unbind(1), strict=True)
            }
        if not return_info:
            alone: Tensor = self.layer(whole, start=batch.start)
            return alone, None
        fused, info = self.layer(whole, return_info=True, start=batch.start)
        losses = {**info.losses, "completion": self._loss(batch, told)}
        return fused, replace(info, losses=losses)

    def _loss(self, batch: Batch, told: Mapping[str, Tensor]) -> Tensor:
        errors = torch.stack(
            [
                (guess - batch.features[name].detach()).square().mean(1)
                for name, guess in told.items()
            ],
            1,
        )
        there = _flags(batch, len(self.dims)).to(errors)
        return ((errors * there).sum(1) / there.sum(1)).mean()


def _map(dims: Mapping[str, int], absent: str, hidden: int) -> nn.Module:
    heard = sum(width + 1 for name, width in dims.items() if name != absent)
    return nn.Sequential(nn.Linear(heard, hidden), nn.ReLU(), nn.Linear(hidden, dims[absent]))


def _flags(batch: Batch, modalities: int) -> Tensor:
    """Which rows have which modality, (rows, modalities)."""
    if batch.present is not None:
        return batch.present
    first = next(iter(batch.features.values()))
    return torch.ones(batch.rows, modalities, dtype=torch.bool, device=first.device)
