"""What a training writes: metrics, events, and how a full disk ends it."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from pnpfusion.sweeps.folder import FolderError, locked
from pnpfusion.training import TrainingError, loop
from pnpfusion.training.step import Learner
from tests.training.learning import QUICK, learn, weights


def test_metrics_have_a_line_for_each_epoch(tmp_path: Path) -> None:
    trained = learn("pnp", folder=tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows == [*trained.history]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[0]["health"].keys() >= {"iterations", "unconverged", "debye_cells"}
    assert rows[0]["train"].keys() >= {"loss", "task", "gradient_norm"}


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
