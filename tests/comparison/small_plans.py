"""Small comparisons, and what is kept of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pnpfusion.comparison import Plan
from pnpfusion.training import Recipe
from tests.tiny_sets import tiny

SMALL = "interaction:samples=150,width=4"
RECIPE = Recipe(epochs=3, batch=32, patience=None)


def plan(**changes: Any) -> Plan:
    given = {
        "sets": (SMALL,),
        "models": ("concat", "gmf"),
        "seeds": (0, 1),
        "recipe": RECIPE,
        "hidden": 8,
        "width": 8,
        "noise": (1.0,),
    }
    return Plan(**{**given, **changes})


def saved(task: str, folder: Path) -> str:
    """A tiny set of a task as a file, without splits."""
    data = tiny(task, 90)
    assert data.target is not None
    arrays = {name: values.numpy() for name, values in data.modalities.items()}
    key = "target" if task == "numbers" else "label"
    path = folder / f"{task}.npz"
    np.savez(path, **arrays, **{key: data.target.numpy()})  # type: ignore[arg-type]
    return str(path)
