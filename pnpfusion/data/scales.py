"""How large features are in training: for models, for baselines and for noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.data.feature_set import Features


@dataclass(frozen=True)
class FeatureScales:
    """Mean and deviation of each feature over the training samples, (d,) by modality."""

    means: Mapping[str, Tensor]
    deviations: Mapping[str, Tensor]  #: 0 for a feature that is the same in all of them

    @classmethod
    def of(cls, train: Features, modalities: Sequence[str] = ()) -> FeatureScales:
        """Those of the training samples that have the modality; of all modalities if none is named.

        Raises:
            ValueError: one that none of them has.
        """
        names = modalities or train.dims
        rows = {name: train.measured(name).flatten(0, -2).double() for name in names}
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
