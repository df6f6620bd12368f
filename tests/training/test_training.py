"""The loop: what its seed settles, what it keeps of its epochs, and how it says no."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from pnpfusion import sealed_file
from pnpfusion.training import (
    FusionModel,
    Recipe,
    TrainingError,
    calibration,
    evaluate,
    randomness,
    train,
    with_noise,
)
from pnpfusion.training import checkpoint as checkpoints
from tests.tiny_sets import tiny
from tests.training.learning import QUICK, learn, weights


@pytest.mark.parametrize("name", ["concat", "pnp", "deq"])
def test_the_seed_settles_the_weights(name: str) -> None:
    recipe = dataclasses.replace(QUICK, modality_dropout=0.3)
    first = weights(learn(name, recipe=recipe))
    torch.manual_seed(99)  # nothing is drawn from there
    assert torch.equal(weights(learn(name, recipe=recipe)), first)
    assert not torch.equal(weights(learn(name, recipe=dataclasses.replace(recipe, seed=1))), first)


def test_the_callers_generators_are_left_alone() -> None:
    torch.manual_seed(5)
    before, plain = torch.get_rng_state(), random.getstate()
    learn()
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == plain


def test_every_sample_is_seen_once_in_an_epoch() -> None:
    rows = torch.arange(7, 30)
    orders = [randomness.order(rows, 0, epoch) for epoch in range(3)]
    assert all(torch.equal(one.sort().values, rows) for one in orders)
    assert not torch.equal(orders[0], orders[1])


def test_dropout_keeps_the_mean_and_presence_leaves_one() -> None:
    draw = torch.Generator().manual_seed(0)
    kept = randomness.dropout((200, 100), 0.2, draw)
    assert set(kept.unique().tolist()) == {0.0, 1.25}
    assert float(kept.mean()) == pytest.approx(1, abs=0.02)
    flags = torch.stack([*randomness.presence(("a", "b", "c"), 5000, 0.9, draw).values()])
    assert flags.any(0).all()
    assert float(flags.double().mean()) == pytest.approx((0.3 + 0.9**3) / 3, abs=0.02)
    alone = flags[:, flags.sum(0) == 1].double().mean(1)
    assert float((alone - 1 / 3).abs().max()) < 0.05


def test_the_best_epoch_is_kept_and_patience_ends_it() -> None:
    recipe = Recipe(epochs=60, batch=8, patience=3, learning_rate=0.02, schedule="constant")
    data = tiny("classes")
    trained = learn(recipe=recipe, data=data)
    scores = [(row["valid"]["accuracy"], -row["valid"]["loss"]) for row in trained.history]
    assert trained.stopped_early
    assert len(trained.history) == trained.best_epoch + 3
    assert scores.index(max(scores)) + 1 == trained.best_epoch
    found = evaluate(trained.model, data.split("valid"))
    assert found["accuracy"] == pytest.approx(scores[trained.best_epoch - 1][0])
    assert found["loss"] == pytest.approx(-scores[trained.best_epoch - 1][1], rel=1e-5)
    assert not trained.model.training


def test_without_validation_the_last_epoch_is_kept() -> None:
    data = tiny("classes")
    rows = {"train": data.splits["train"]}
    trained = learn(data=dataclasses.replace(data, splits=rows))
    assert trained.best_epoch == 3
    assert trained.history[-1]["valid"] == {}


def test_weights_of_classes_count() -> None:
    """With all weight on one class the model says nothing else."""
    data = tiny("classes")
    recipe = Recipe(epochs=30, class_weights=(0.0, 1.0, 0.0), label_smoothing=0.0)
    trained = learn(
        data=dataclasses.replace(data, splits={"train": data.splits["train"]}), recipe=recipe
    )
    told = trained.model(data.modalities).argmax(1)
    assert told.eq(1).all()


@pytest.mark.parametrize("name", ["pnp", "deq", "gmf", "attention", "pnp-transient"])
def test_mixed_precision_learns_and_solves_in_single(name: str) -> None:
    data = tiny("classes")
    seen: list[torch.dtype] = []
    model = FusionModel.build(data, name, hidden=8, width=8)

    def look(module: torch.nn.Module, given: Any, answer: Any) -> None:
        if isinstance(answer, tuple) and answer[1].solution is not None:
            seen.append(answer[1].solution.states.dtype)

    model.fusion.register_forward_hook(look)
    trained = train(model, data, dataclasses.replace(QUICK, precision="bfloat16-mixed"))
    assert set(seen) <= {torch.float32}
    assert bool(seen) == (name not in ("gmf", "attention"))
    assert all(one.dtype == torch.float32 for one in model.parameters())
    plain = learn(name)
    assert trained.history[-1]["train"]["task"] != plain.history[-1]["train"]["task"]
    assert trained.history[-1]["train"]["task"] == pytest.approx(
        plain.history[-1]["train"]["task"], rel=0.05
    )


def test_a_loss_that_is_not_finite_ends_it(tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        QUICK, learning_rate=1e30, clip=None, warmup=0.0, schedule="constant"
    )
    with pytest.raises(TrainingError, match=r"finite in epoch 1.*lower `learning_rate`"):
        learn(recipe=recipe, folder=tmp_path, checkpoint_every=0)
    found, header = sealed_file.unpack(tmp_path / checkpoints.NAME, checkpoints.KEY)
    assert header["standing"]["step"] == 1
    assert all(value.isfinite().all() for key, value in found.items() if "weight" in key)


def test_a_target_that_makes_the_loss_overflow() -> None:
    data = tiny("numbers")
    assert data.target is not None
    target = data.target.clone()
    target[data.splits["valid"]] *= 1e200
    with pytest.raises(TrainingError, match="metrics on 'valid'"):
        learn(data=dataclasses.replace(data, target=target))


def test_data_that_do_not_fit() -> None:
    data = tiny("classes")
    model = FusionModel.build(data, "concat")
    with pytest.raises(ValueError, match=r"has splits \['test'\], wanted one called 'train'"):
        train(model, dataclasses.replace(data, splits={"test": torch.arange(3)}))
    with pytest.raises(ValueError, match="must have a target of classes, as the model learned"):
        train(model, tiny("labels"))
    with pytest.raises(ValueError, match="`class_weights` must be 3 numbers"):
        train(model, data, Recipe(class_weights=(1.0,)))
    other = {"a": data.modalities["a"], "c": data.modalities["b"]}
    with pytest.raises(ValueError, match="`model` is made for the modalities"):
        train(model, dataclasses.replace(data, modalities=other, feature_names={}))


def test_noise_makes_it_worse_and_missing_features_too() -> None:
    data = tiny("classes", samples=400)
    trained = learn(data=data, recipe=Recipe(epochs=20))
    test = data.split("test")
    draw = torch.Generator().manual_seed(0)
    found = with_noise(trained.model, test, [0.0, 0.5, 3.0], generator=draw)
    accuracy = [one["accuracy"] for one in found]
    assert found[0] == evaluate(trained.model, test)
    assert accuracy[0] > accuracy[1] > accuracy[2]
    only_b = with_noise(trained.model, test, [3.0], modalities=["b"], generator=draw)
    assert accuracy[0] > only_b[0]["accuracy"] > accuracy[2]
    with pytest.raises(ValueError, match=r"`modalities` has unknown modalities \['c'\]"):
        with_noise(trained.model, test, [1.0], modalities=["c"], generator=draw)
    flags = {"a": torch.arange(len(test)) % 2 == 0}
    half = evaluate(trained.model, dataclasses.replace(test, present=flags))["accuracy"]
    none = evaluate(trained.model, test, missing=["a"])["accuracy"]
    assert none < half < accuracy[0]
    assert math.isclose(float(calibration(trained.model, test).share.sum()), 1)
    with pytest.raises(ValueError, match=r"`missing` has unknown modalities \['c'\]"):
        evaluate(trained.model, test, missing=["c"])
