"""Short trainings on small made-up sets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pnpfusion.data import Features
from pnpfusion.training import FusionModel, Recipe, Trained, train
from tests.tiny_sets import tiny

QUICK = Recipe(epochs=3, batch=8)


def learn(
    name: str = "concat", data: Features | None = None, recipe: Recipe = QUICK, **more: Any
) -> Trained:
    data = data or tiny("classes")
    model = FusionModel.build(data, name, seed=recipe.seed, hidden=8, width=8)
    return train(model, data, recipe, **more)


def weights(trained: Trained) -> Tensor:
    return torch.cat([one.detach().flatten() for one in trained.model.parameters()])
