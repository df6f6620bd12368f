"""Features of samples some of which lack a modality."""

from __future__ import annotations

import torch
from torch import Tensor


def masked(modality: str, values: Tensor, flags: Tensor | None) -> Tensor:
    """The values, 0 in samples that lack the modality.

    Raises:
        ValueError: flags that are not bool, one for each sample.
    """
    if flags is None:
        return values
    if not isinstance(flags, Tensor) or flags.dtype != torch.bool or flags.shape != (len(values),):
        got = f"{flags.dtype} {tuple(flags.shape)}" if isinstance(flags, Tensor) else type(flags)
        raise ValueError(f"`present[{modality!r}]` must be bool ({len(values)},), got {got}.")
    return values if flags.all() else values.where(flags.reshape(-1, *[1] * (values.ndim - 1)), 0)
