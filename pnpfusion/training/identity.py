"""What a training is: its model, its recipe and its data, told apart from any other."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pnpfusion.data.feature_set import Features
from pnpfusion.sealed_file import bytes_of
from pnpfusion.training.evaluate import fitting_target, objective_for
from pnpfusion.training.model import FusionModel
from pnpfusion.training.recipe import Recipe


def check_fit(model: FusionModel, data: Features, recipe: Recipe) -> None:
    """See that a model can learn from these data by this recipe.

    Raises:
        ValueError: it cannot.
    """
    if "train" not in data.splits:
        raise ValueError(
            f"{data.name!r} has splits {[*data.splits]}, wanted one called 'train' and, to select "
            f"by, 'valid'; pnpfusion.data.holdout makes them."
        )
    if dict(data.dims) != dict(model.config.dims):
        raise ValueError(
            f"`model` is made for the modalities {dict(model.config.dims)}, got {data.dims}."
        )
    if not bool(model.get_buffer("fitted")):
        for name in model.modalities:
            data.split("train").measured(name)
    target = fitting_target(data, model)
    objective_for(model).prepare(target[data.splits["train"]], recipe.class_weights)


def identity_of(model: FusionModel, recipe: Recipe, data: Features) -> dict[str, Any]:
    """What a training is, as JSON reads it back."""
    shapes = {name: [*value.shape] for name, value in model.state_dict().items()}
    told = {
        "model": model.config.to_json(),
        "weights": hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest(),
        "recipe": recipe.to_json(),
        "data": {"name": data.name, "digest": fingerprint(data)},
    }
    same: dict[str, Any] = json.loads(json.dumps(told))
    return same


def fingerprint(data: Features) -> str:
    """A digest of all features, targets and splits, and of who lacks what."""
    total = hashlib.sha256()
    named = {**{f"m {k}": v for k, v in data.modalities.items()}}
    named |= {f"s {k}": v for k, v in data.splits.items()}
    named |= {f"p {k}": v for k, v in sorted((data.present or {}).items())}
    if data.target is not None:
        named["target"] = data.target
    for name, values in named.items():
        total.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        total.update(bytes_of(values))
    return total.hexdigest()
