"""Learning from samples some of which lack a modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pnpfusion.data.feature_set import Features
from pnpfusion.training.loop import Trained, train
from pnpfusion.training.model import FusionModel
from pnpfusion.training.recipe import Recipe

#: What stands in the place of absent features while the loop carries them: no measurement is it,
#: and float32 and float64 both have it.
MARK = torch.finfo(torch.float32).max


def train_with_absent(
    model: FusionModel,
    data: Features,
    present: Mapping[str, Tensor],
    recipe: Recipe,
    *,
    progress: bool = False,
    device: str | torch.device | None = None,
) -> Trained:
    """:func:`train`, where ``present`` says which samples have a modality.

    What is absent is absent in every step and in validation, as it is in a call of the model with
    the same flags; scales are those of the samples that have the modality. Modality dropout takes
    away from what is there.

    Args:
        model: what learns.
        data: samples with splits; features that are absent are not looked at.
        present: bool (n,), by modality, for all of them; every sample has one.
        recipe: how.
        progress: see :func:`train`.
        device: see :func:`train`.

    Raises:
        ValueError: a modality that no sample for training has, or see :func:`train`.
    """
    if all(bool(flags.all()) for flags in present.values()):
        return train(model, data, recipe, progress=progress, device=device)
    marked = {
        name: torch.where(present[name][:, None], values, MARK)
        for name, values in data.modalities.items()
    }
    data = replace(data, modalities=marked)
    model.to(torch.float64 if recipe.precision == "float64" else torch.float32)
    _fit_scales(model, data, present)
    hook = model.register_forward_pre_hook(_tell_absent, with_kwargs=True)
    try:
        return train(model, data, recipe, progress=progress, device=device)
    finally:
        hook.remove()


def _fit_scales(model: FusionModel, data: Features, present: Mapping[str, Tensor]) -> None:
    """The scales of each modality from the samples for training that have it."""
    rows, found = data.splits["train"], {}
    for place, name in enumerate(model.modalities):
        own = rows[present[name][rows]]
        if not len(own):
            raise ValueError(f"no sample to learn from has {name!r}; leave it out.")
        model.fit_scales(data.samples(own))
        for kind in ("mean", "scale"):
            found[f"{kind}_{place}"] = model.get_buffer(f"{kind}_{place}").clone()
    model.fit_scales(data.split("train"))  # of what is to be told, from all
    for name, scale in found.items():
        model.get_buffer(name).copy_(scale)


def _tell_absent(
    model: FusionModel, given: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Before a call: whose features are marked is absent, beside what is dropped."""
    inputs, *rest = given
    there = {name: (values != MARK).any(1) for name, values in inputs.items()}
    dropped = rest[0] if rest else None
    if dropped is not None:
        both = {name: flags & dropped.get(name, flags) for name, flags in there.items()}
        left = torch.stack([*both.values()]).any(0)  # who would lose all loses nothing
        there = {name: torch.where(left, both[name], flags) for name, flags in there.items()}
    return (inputs, there), named
