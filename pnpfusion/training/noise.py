"""Samples as they are not in training: noisy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pnpfusion.data.feature_set import Features
from pnpfusion.training.randomness import drawn_by


def noised(
    data: Features,
    deviations: Mapping[str, Tensor],
    level: float,
    modalities: Sequence[str],
    *,
    seed: int,
) -> Features:
    r"""The samples with normal noise on every feature, :math:`x + \ell \sigma \epsilon`.

    The draws :math:`\epsilon` of a modality follow from the seed and its name alone, so they are
    the same at every level and for every model. The set has no splits.

    Args:
        data: samples.
        deviations: :math:`\sigma` of each feature in training, (d,) by modality; 0 for none.
        level: :math:`\ell`; 0 changes nothing.
        modalities: which of them are noisy.
        seed: of the draws.
    """
    changed = dict(data.modalities)
    for name in modalities:
        values = changed[name]
        draw = torch.randn(values.shape, generator=drawn_by("noise", seed, name)).double()
        changed[name] = (values + level * deviations[name] * draw).to(values.dtype)
    return replace(data, modalities=changed, splits={})
