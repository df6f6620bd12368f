"""The recipe: what it refuses, its JSON, and the learning rate of every step."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from pnpfusion.training import Recipe


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"epochs": 0}, "`epochs` must be a whole number >= 1, got 0"),
        ({"epochs": True}, "`epochs` must be a whole number >= 1, got True"),
        ({"batch": 1.5}, "`batch` must be a whole number >= 1, got 1.5"),
        ({"seed": -1}, "`seed` must be a whole number >= 0, got -1"),
        ({"patience": 0}, "`patience` must be a whole number >= 1, got 0"),
        ({"learning_rate": 0}, "`learning_rate` must be a finite number above 0, got 0"),
        ({"learning_rate": math.nan}, "`learning_rate` must be a finite number above 0, got nan"),
        ({"weight_decay": -1.0}, "`weight_decay` must be a finite number >= 0, got -1.0"),
        ({"warmup": 2}, "`warmup` must be a finite number >= 0 and <= 1, got 2"),
        ({"clip": 0}, "`clip` must be a finite number above 0, got 0"),
        ({"input_dropout": 1}, "`input_dropout` must be below 1, got 1"),
        ({"modality_dropout": "x"}, "`modality_dropout` must be a finite number"),
        ({"label_smoothing": -0.1}, "`label_smoothing` must be a finite number >= 0"),
        ({"schedule": "step"}, r"`schedule` must be one of \['cosine', 'constant'\], got 'step'"),
        ({"precision": "half"}, "`precision` must be one of"),
        ({"class_weights": "equal"}, "`class_weights` must be one of"),
        ({"class_weights": ()}, "`class_weights` must be a tuple of numbers"),
        ({"class_weights": (1, -1)}, r"`class_weights\[1\]` must be a finite number >= 0, got -1"),
        ({"loss_weights": 3}, "`loss_weights` must map names to numbers, got 3"),
        ({"loss_weights": {"jacobian": -1}}, r"`loss_weights\['jacobian'\]` must be a finite"),
    ],
)
def test_a_bad_value_is_refused(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Recipe(**entry)


def test_json_there_and_back() -> None:
    recipe = Recipe(epochs=3, clip=None, patience=None, class_weights=(1.0, 2.5), seed=7)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert Recipe.from_json({}) == Recipe()


def test_an_unknown_entry_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="has no 'epoch'; did you mean 'epochs'"):
        Recipe.from_json({"epoch": 3})
    with pytest.raises(ValueError, match="a recipe must be an object"):
        Recipe.from_json([1])  # type: ignore[arg-type]


def test_the_rate_rises_and_falls() -> None:
    recipe = Recipe(learning_rate=2.0, warmup=0.1)
    rates = [recipe.rate_at(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert 0 < rates[-1] < 0.001
    level = Recipe(learning_rate=2.0, warmup=0.0, schedule="constant")
    assert {level.rate_at(step, 100) for step in range(100)} == {2.0}
