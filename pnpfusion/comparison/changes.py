"""Samples as they are not in training: noisy. The same noise for every model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pnpfusion.data.feature_set import Features
from pnpfusion.training.randomness import drawn_by


@dataclass(frozen=True)
class Scales:
    """Mean and deviation of each feature over the training samples, (d,) by modality."""

    means: Mapping[str, Tensor]
    deviations: Mapping[str, Tensor]  #: 0 for a feature that is the same in all of them

    @classmethod
    def of(cls, train: Features) -> Scales:
        """Those of the training samples that have the modality.

        Raises:
            ValueError: one that none of them has.
        """
        rows = {name: train.measured(name).flatten(0, -2).double() for name in train.dims}
        deviations = {}
        for name, values in rows.items():
            flat = (values == values[0]).all(0)
            deviations[name] = torch.where(flat, 0, values.std(0, correction=0))
        return cls({name: values.mean(0) for name, values in rows.items()}, deviations)

    def apply(self, name: str, values: Tensor) -> Tensor:
        """In units of the deviation, float64; 0 where there is none."""
        spread = self.deviations[name]
        centred = values.double() - self.means[name]
        return torch.where(spread > 0, centred / torch.where(spread > 0, spread, 1), 0)


def noised(
    data: Features, scales: Scales, level: float, modalities: Sequence[str], *, seed: int
) -> Features:
    r"""The samples with normal noise on every feature, :math:`x + \ell \sigma \epsilon`.

    The draws :math:`\epsilon` of a modality follow from the seed and its name alone, so they are
    the same at every level and for every model.

    Args:
        data: samples.
        scales: :math:`\sigma`.
        level: :math:`\ell`; 0 changes nothing.
        modalities: which of them are noisy.
        seed: of the draws.
    """
    changed = dict(data.modalities)
    for name in modalities:
        values = changed[name]
        draw = torch.randn(values.shape, generator=drawn_by("noise", seed, name)).double()
        changed[name] = (values + level * scales.deviations[name] * draw).to(values.dtype)
    return replace(data, modalities=changed, splits={})
