"""What a deep-equilibrium law is driven by: the features of its modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.dynamics.input import Input
from pnpfusion.solvers.arguments import check_known
from pnpfusion.solvers.faq import Faq


@dataclass(frozen=True, eq=False)
class Modalities:
    """The features of a flat batch."""

    features: Tensor  #: (B, N, d); zero where the modality is absent
    present: Tensor | None  #: bool (B, N); None where nothing is missing

    def of(self, which: Tensor | None) -> Modalities:
        """Those of the samples ``which``."""
        if which is None:
            return self
        present = None if self.present is None else self.present[which]
        return Modalities(self.features[which], present)

    def modality(self, i: int) -> tuple[Tensor, Tensor | None]:
        """The features of one, (B, d), and which samples have it, bool (B,) or None."""
        return self.features[:, i], None if self.present is None else self.present[:, i]


def read_modalities(x: Input, batch: tuple[int, ...], number: int, width: int) -> Modalities:
    """``x``, a tensor of features or a mapping that also says which are there, on a flat batch.

    Raises:
        ValueError: ``x`` is neither, or of another shape or kind.
    """
    present: object = None
    features: object = x
    if isinstance(x, Mapping):
        check_known("x", x, ("features", "present"), "keys")
        features, present = x.get("features"), x.get("present")
    wanted = (*batch, number, width)
    if not isinstance(features, Tensor) or features.shape != wanted:
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(
            f"`x` must hold the features of {number} modalities for each sample, a tensor of shape "
            f"{wanted}, or a mapping with such 'features' and with 'present'; got {got}"
            f" {Faq.WRONG_SHAPE}."
        )
    if not features.is_floating_point():
        raise ValueError(f"`x` must be of a floating dtype, got {features.dtype}.")
    flat = features.reshape(-1, number, width)
    if present is None:
        return Modalities(flat, None)
    if (
        not isinstance(present, Tensor)
        or present.dtype != torch.bool
        or present.shape != wanted[:-1]
    ):
        kind = present.dtype if isinstance(present, Tensor) else type(present).__name__
        size = f" {tuple(present.shape)}" if isinstance(present, Tensor) else ""
        raise ValueError(
            f"`x['present']` must be a bool tensor of shape {wanted[:-1]}, got {kind}{size}."
        )
    there = present.reshape(-1, number)
    return Modalities(torch.where(there[..., None], flat, 0), there)
