"""Metrics against scikit-learn, and what objectives weigh and smooth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pnpfusion.training.metrics import brier_score, reliability
from pnpfusion.training.objectives import Classes, Labels, Numbers, objective_of

sklearn = pytest.importorskip("sklearn.metrics")
DRAW = np.random.default_rng(0)


def drawn(*shape: int) -> Tensor:
    return torch.from_numpy(DRAW.normal(size=shape))


@pytest.mark.parametrize("classes", [3, 5])
@pytest.mark.parametrize("lacking", [False, True])
def test_classes(classes: int, lacking: bool) -> None:
    outputs = drawn(200, classes) * 2
    target = torch.from_numpy(DRAW.integers(classes - lacking, size=200))
    if lacking:  # a class that is neither told nor so
        outputs[:, -1] = -50
    found = Classes(classes).metrics(outputs, target)
    said, likely = outputs.argmax(1), outputs.softmax(1)
    kinds = [*range(classes)]
    wanted = {
        "loss": sklearn.log_loss(target, likely, labels=kinds),
        "accuracy": sklearn.accuracy_score(target, said),
        "balanced_accuracy": sklearn.balanced_accuracy_score(target, said),
        "f1_macro": sklearn.f1_score(target, said, average="macro"),
        "f1_weighted": sklearn.f1_score(target, said, average="weighted"),
    }
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    truth = np.eye(classes)[target]
    assert found["brier"] == pytest.approx(((likely.numpy() - truth) ** 2).sum(1).mean())


def test_brier_of_two_classes_is_twice_that_of_scikit_learn() -> None:
    likely, target = drawn(100, 2).softmax(1), torch.from_numpy(DRAW.integers(2, size=100))
    wanted = sklearn.brier_score_loss(target, likely[:, 1])
    assert brier_score(likely, target) == pytest.approx(2 * wanted)


def test_labels() -> None:
    outputs, target = drawn(150, 4), drawn(150, 4) > 0.5
    target[:, 3] = False
    found = Labels(4).metrics(outputs, target)
    said = (outputs > 0).numpy()
    score: Callable[..., Any] = sklearn.f1_score
    for average in ("micro", "macro", "weighted"):
        wanted = score(target, said, average=average, zero_division=0)
        assert found[f"f1_{average}"] == pytest.approx(wanted), average
    assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(target, said))
    losses = [
        sklearn.log_loss(target[:, k], outputs[:, k].sigmoid(), labels=[0, 1]) for k in range(4)
    ]
    assert found["loss"] == pytest.approx(np.mean(losses))


def test_numbers() -> None:
    outputs, target = drawn(80, 3), drawn(80, 3)
    outputs += target
    found = Numbers(3, torch.tensor([2.0, 2.0, 2.0])).metrics(outputs, target)
    assert found["mse"] == pytest.approx(sklearn.mean_squared_error(target, outputs))
    assert found["mae"] == pytest.approx(sklearn.mean_absolute_error(target, outputs))
    assert found["r2"] == pytest.approx(sklearn.r2_score(target, outputs))
    assert found["loss"] == pytest.approx(found["mse"] / 4)


def test_r2_of_one_constant_column() -> None:
    target = torch.ones(4, 1)
    numbers = Numbers(1, torch.ones(1))
    assert numbers.metrics(target, target)["r2"] == 1.0
    assert numbers.metrics(target + 1, target)["r2"] == 0.0


def test_calibration_by_hand() -> None:
    confidence = torch.tensor([0.1, 0.15, 0.2, 0.9, 1.0], dtype=torch.float64)
    right = torch.tensor([True, False, False, True, True])
    found = reliability(confidence, right, bins=5)
    assert found.share.tolist() == pytest.approx([0.6, 0, 0, 0, 0.4])
    assert float(found.accuracy[0]) == pytest.approx(1 / 3)
    assert math.isnan(float(found.accuracy[1]))
    assert found.error == pytest.approx(0.6 * (1 / 3 - 0.15) + 0.4 * 0.05)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    target = torch.tensor([0, 0, 0, 1, 2, 2])
    objective = Classes(4)
    objective.prepare(target, "balanced")
    wanted = compute_sample_weight("balanced", target.numpy())
    # Class 3 has no sample; scikit-learn does not count it.
    assert objective.weights(target).tolist() == pytest.approx(list(wanted * 3 / 4))


def test_weights_of_labels_and_of_numbers() -> None:
    labels = Labels(2)
    target = torch.tensor([[True, False], [False, False], [False, False], [True, False]])
    labels.prepare(target, "balanced")
    assert labels.of_presence is not None
    assert labels.of_presence.tolist() == [1.0, 1.0]
    given = objective_of("labels", 2, torch.ones(2))
    given.prepare(target, (2.0, 3.0))
    outputs = torch.zeros(4, 2, dtype=torch.float64)
    wanted = math.log(2) * torch.tensor([(2 + 1) / 2, 1, 1, (2 + 1) / 2], dtype=torch.float64)
    torch.testing.assert_close(given.losses(outputs, target), wanted)
    with pytest.raises(ValueError, match="`class_weights` must be 2 numbers"):
        given.prepare(target, (1.0,))
    with pytest.raises(ValueError, match="`class_weights` are for classes and labels"):
        objective_of("numbers", 2, torch.ones(2)).prepare(target, "balanced")


def test_smoothing_is_that_of_torch() -> None:
    outputs, target = drawn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    found = Classes(3, 0.1).losses(outputs, target).mean()
    wanted = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(outputs, target)
    torch.testing.assert_close(found, wanted)
