"""The loop: what its seed settles, what it keeps, how it goes on, and how it says no."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import random
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pnpfusion.data import Features
from pnpfusion.solvers import ConvergenceWarning
from pnpfusion.sweeps.folder import FolderError, locked
from pnpfusion.training import (
    CheckpointError,
    FusionModel,
    HealthWarning,
    Recipe,
    Trained,
    TrainingError,
    calibration,
    evaluate,
    files,
    loop,
    randomness,
    train,
    with_noise,
)
from pnpfusion.training import checkpoint as checkpoints
from pnpfusion.training.health import warn_if_worse
from pnpfusion.training.step import Learner
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


# ---- what it keeps


@pytest.mark.parametrize("name", ["concat", "pnp", "deq", "gmf"])
@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_stopped_training_goes_on_bit_for_bit(
    name: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(QUICK, modality_dropout=0.3)
    whole = learn(name, recipe=recipe, folder=tmp_path / "whole")
    plain, calls = Learner.step, []

    def step(self: Learner, *given: Any) -> bool:
        calls.append(1)
        plain(self, *given)
        return len(calls) == after

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", step)
        with pytest.raises(KeyboardInterrupt, match="the same call goes on from it"):
            learn(name, recipe=recipe, folder=tmp_path / "cut")
    rest = learn(name, recipe=recipe, folder=tmp_path / "cut")
    assert torch.equal(weights(rest), weights(whole))
    assert rest.history == whole.history
    for file in ("model.safetensors", "config.json", "metrics.jsonl"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not [*(tmp_path / "cut").glob(".*")]


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    first = learn(folder=tmp_path)
    (tmp_path / "model.safetensors").unlink()
    again = learn(folder=tmp_path)
    assert torch.equal(weights(first), weights(again))
    assert again.seconds == first.seconds
    assert (tmp_path / "model.safetensors").exists()
    anew = learn(folder=tmp_path, resume=False)
    assert anew.seconds != first.seconds
    assert torch.equal(weights(first), weights(anew))


def test_metrics_have_a_line_for_each_epoch(tmp_path: Path) -> None:
    trained = learn("pnp", folder=tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows == [*trained.history]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[0]["health"].keys() >= {"iterations", "unconverged", "debye_cells"}
    assert rows[0]["train"].keys() >= {"loss", "task", "gradient_norm"}


def test_what_cells_in_time_resolve_is_said() -> None:
    health = learn("pnp-transient").history[-1]["health"]
    assert health.keys() >= {"courant", "diffusion_number", "debye_cells"}
    assert health["diffusion_number"] == pytest.approx(0.3 / 4 * 16**2, rel=0.2)


@pytest.mark.parametrize("where", ["tensor", "header", "end"])
@pytest.mark.parametrize("how", ["flip", "cut", "empty"])
def test_the_one_before_is_used_if_the_newest_is_damaged(
    where: str, how: str, tmp_path: Path
) -> None:
    whole = learn(folder=tmp_path / "whole")
    learn(folder=tmp_path, checkpoint_every=0)
    damage(tmp_path / checkpoints.NAME, where, how)
    with pytest.warns(UserWarning, match=r"checkpoint.safetensors is damaged.*previous.*is good"):
        trained = learn(folder=tmp_path)
    assert torch.equal(weights(trained), weights(whole))


@pytest.mark.parametrize("how", ["flip", "cut", "empty"])
def test_if_all_are_damaged_it_says_so_and_what_to_do(how: str, tmp_path: Path) -> None:
    learn(folder=tmp_path, checkpoint_every=0)
    for name in (checkpoints.NAME, checkpoints.BEFORE):
        damage(tmp_path / name, "tensor", how)
    with pytest.raises(CheckpointError, match=r"previous.safetensors is damaged.*begin anew"):
        learn(folder=tmp_path)
    assert len(learn(folder=tmp_path, resume=False).history) == 3


def damage(path: Path, where: str, how: str) -> None:
    content = bytearray(path.read_bytes())
    place = {"tensor": len(content) // 2, "header": 40, "end": len(content) - 1}[where]
    if how == "flip":
        content[place] ^= 4
    path.write_bytes(content if how == "flip" else content[: place if how == "cut" else 0])


def test_any_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    """What is read is what was written, wherever a byte of the file was changed."""
    learn(folder=tmp_path)
    path = tmp_path / checkpoints.NAME
    tensors, header = files.unpack(path, checkpoints.KEY)
    whole = path.read_bytes()
    pick = random.Random(0)
    noticed = 0
    for _ in range(300):
        content = bytearray(whole)
        content[pick.randrange(len(content))] ^= 1 << pick.randrange(8)
        path.write_bytes(content)
        try:
            found, told = files.unpack(path, checkpoints.KEY)
        except files.DamagedFile:
            noticed += 1
            continue
        assert told == header
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[key], tensors[key]) for key in tensors)
    assert noticed > 250


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": {"learning_rate": 0.5}}, "another recipe: learning_rate 0.01 .now 0.5"),
        ({"name": "attention"}, "another model: model 'concat' .now 'attention'"),
        ({"seed": 3}, "another data: digest"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    learn(folder=tmp_path)
    before = (tmp_path / checkpoints.NAME).read_bytes()
    recipe = dataclasses.replace(QUICK, **change.get("recipe", {}))
    data = tiny("classes", seed=change.get("seed", 0))
    with pytest.raises(CheckpointError, match=words):
        learn(change.get("name", "concat"), data, recipe, folder=tmp_path)
    assert (tmp_path / checkpoints.NAME).read_bytes() == before


def test_a_checkpoint_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(folder=tmp_path)
    monkeypatch.setattr("pnpfusion.__version__", "9.9.9")
    with pytest.raises(CheckpointError, match=r"was written by pnpfusion .*install that version"):
        learn(folder=tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(checkpoints, "FORMAT", 2)
    with pytest.raises(CheckpointError, match="in format 1, this is"):
        learn(folder=tmp_path)


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    learn(folder=tmp_path)
    (tmp_path / checkpoints.NAME).write_bytes((tmp_path / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="is damaged, or none of these files"):
        learn(folder=tmp_path)


def full_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls = os.fsync, []

    def fsync(handle: int) -> None:
        calls.append(1)
        if len(calls) > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(handle)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("writes", [5, 6, 7, 8, 9])
def test_a_full_disk_ends_it_and_the_last_checkpoint_is_intact(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn()
    full_after(writes, monkeypatch)
    with pytest.raises(TrainingError, match=r"No space left on device.*the same call goes on"):
        learn(folder=tmp_path, checkpoint_every=0)
    monkeypatch.undo()
    assert not [*tmp_path.glob("*.part"), *tmp_path.glob(".*.part"), *tmp_path.glob("*.new")]
    rest = learn(folder=tmp_path)
    assert torch.equal(weights(rest), weights(whole))


def test_a_full_disk_while_metrics_or_model_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_after(0, monkeypatch)
    with pytest.raises(TrainingError, match=r"metrics.jsonl cannot be written: No space left"):
        learn(folder=tmp_path)
    monkeypatch.undo()
    learn(folder=tmp_path)
    monkeypatch.setattr(
        "pnpfusion.training.pretrained.write_whole",
        lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    )
    with pytest.raises(TrainingError, match=r"the model cannot be written to .*No space left"):
        learn(folder=tmp_path)


def test_a_folder_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrainingError, match=r"the folder .*file cannot be written to"):
        learn(folder=tmp_path / "file")
    with pytest.raises(TrainingError, match="cannot be written to: Not a directory"):
        learn(folder=tmp_path / "file" / "below")
    if sys.platform != "win32":
        with (
            locked(tmp_path, shared=False),
            pytest.raises(FolderError, match="is in use by another training"),
        ):
            learn(folder=tmp_path)


def test_a_loss_that_is_not_finite_ends_it(tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        QUICK, learning_rate=1e30, clip=None, warmup=0.0, schedule="constant"
    )
    with pytest.raises(TrainingError, match=r"finite in epoch 1.*lower `learning_rate`"):
        learn(recipe=recipe, folder=tmp_path, checkpoint_every=0)
    found, header = files.unpack(tmp_path / checkpoints.NAME, checkpoints.KEY)
    assert header["standing"]["step"] == 1
    assert all(value.isfinite().all() for key, value in found.items() if "weight" in key)


def test_a_target_that_makes_the_loss_overflow() -> None:
    data = tiny("numbers")
    assert data.target is not None
    target = data.target.clone()
    target[data.splits["valid"]] *= 1e200
    with pytest.raises(TrainingError, match="metrics on 'valid'"):
        learn(data=dataclasses.replace(data, target=target))


# ---- what it refuses


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


def test_tensorboard_is_asked_for_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'pnpfusion\[tensorboard\]'"):
        learn(folder=tmp_path, tensorboard=True)
    with pytest.raises(ValueError, match="`tensorboard` writes into a `folder`"):
        learn(tensorboard=True)


def test_tensorboard_is_told_every_epoch_once(tmp_path: Path) -> None:
    """Also one that was interrupted and done again."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    learn(recipe=dataclasses.replace(QUICK, epochs=3), folder=tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for tag in ("train/loss", "valid/accuracy", "learning_rate"):
        part, _, name = tag.rpartition("/")
        wanted = [(row[part] if part else row)[name] for row in rows]
        told = events.Scalars(tag)
        assert [one.step for one in told] == [1, 2, 3]
        assert [one.value for one in told] == pytest.approx(wanted)


def test_what_is_gone_on_from_takes_later_events_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a writer that only remembers, in the place of TensorBoard's."""
    told: list[tuple[str, float, int]] = []
    begun: list[tuple[str, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            begun.append((folder, purge_step))

        def __enter__(self) -> SummaryWriter:
            return self

        def __exit__(self, *_: object) -> None:
            told.append(("closed", 0.0, 0))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.append((name, value, step))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    plain = Learner.step

    def killed(self: Learner, epoch: int, *rest: Any) -> bool:
        if epoch == 2:
            raise RuntimeError("killed")
        return plain(self, epoch, *rest)

    monkeypatch.setattr(Learner, "step", killed)
    whole: dict[str, Any] = {"folder": tmp_path, "tensorboard": True, "checkpoint_every": 0}
    with pytest.raises(RuntimeError, match="killed"):
        learn(recipe=dataclasses.replace(QUICK, epochs=4), **whole)
    monkeypatch.setattr(Learner, "step", plain)
    trained = learn(recipe=dataclasses.replace(QUICK, epochs=4), **whole)
    place = str(tmp_path / "tensorboard")
    assert begun == [(place, 1), (place, 3)]
    losses = [(value, step) for name, value, step in told if name == "train/loss"]
    assert losses == [(row["train"]["loss"], row["epoch"]) for row in trained.history]
    assert [name for name, _, _ in told].count("closed") == 2


def test_seconds_are_those_of_all_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []

    def clock() -> float:
        ticks.append(len(ticks) + 100.0)  # a second from one look at it to the next
        return ticks[-1]

    monkeypatch.setattr(loop, "time", types.SimpleNamespace(perf_counter=clock))
    plain, recipe = Learner.step, dataclasses.replace(QUICK, epochs=3)

    def killed(self: Learner, epoch: int, *rest: Any) -> bool:
        if epoch == 2:
            raise RuntimeError("killed")
        return plain(self, epoch, *rest)

    monkeypatch.setattr(Learner, "step", killed)
    with pytest.raises(RuntimeError, match="killed"):
        learn(recipe=recipe, folder=tmp_path, checkpoint_every=0)
    kept = len(ticks) - 2.0  # less the first look, and one after the last checkpoint
    monkeypatch.setattr(Learner, "step", plain)
    between = len(ticks)
    trained = learn(recipe=recipe, folder=tmp_path, checkpoint_every=0)
    assert trained.seconds == kept + len(ticks) - between - 2
    again = learn(recipe=recipe, folder=tmp_path)
    assert again.seconds == trained.seconds  # nothing was left to do


# ---- health


def row(epoch: int, unconverged: float) -> dict[str, Any]:
    return {"epoch": epoch, "health": {"unconverged": unconverged, "iterations": 30.0}}


def test_health_warns_when_it_gets_worse_and_once() -> None:
    shares = [0.0, 0.02, 0.04, 0.015, 0.3, 0.25, 0.35]
    warned = []
    for n in range(1, len(shares) + 1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_if_worse([row(k + 1, share) for k, share in enumerate(shares[:n])])
        warned += [n] * len(caught)
    assert warned == [2, 5]
    with pytest.warns(HealthWarning, match=r"in epoch 5 30.0% of samples .*\(4.0% at most before"):
        warn_if_worse([row(k + 1, share) for k, share in enumerate(shares[:5])])


def test_the_papers_cell_is_warned_of_while_it_learns() -> None:
    """Wide features drive it out of where it contracts; each solve's own warning is not heard."""
    data = tiny("classes", samples=96)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained = learn("deq-paper", data, Recipe(epochs=2, learning_rate=0.05))
    kinds = {one.category for one in caught}
    worst = max(row["health"]["unconverged"] for row in trained.history)
    assert worst > 0.01
    assert HealthWarning in kinds
    assert ConvergenceWarning not in kinds


# ---- what a trained model is asked


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
    with pytest.raises(ValueError, match=r"`modalities` names \['c'\]"):
        with_noise(trained.model, test, [1.0], modalities=["c"], generator=draw)
    flags = {"a": torch.arange(len(test)) % 2 == 0}
    half = evaluate(trained.model, dataclasses.replace(test, present=flags))["accuracy"]
    none = evaluate(trained.model, test, missing=["a"])["accuracy"]
    assert none < half < accuracy[0]
    assert math.isclose(float(calibration(trained.model, test).share.sum()), 1)
    with pytest.raises(ValueError, match=r"`missing` names \['c'\]"):
        evaluate(trained.model, test, missing=["c"])
