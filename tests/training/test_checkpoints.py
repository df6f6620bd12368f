"""Checkpoints: training goes on bit for bit, and what cannot be gone on from is refused."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from pnpfusion import sealed_file
from pnpfusion.training import CheckpointError
from pnpfusion.training import checkpoint as checkpoints
from pnpfusion.training.step import Learner
from tests.tiny_sets import tiny
from tests.training.learning import QUICK, learn, weights


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
    tensors, header = sealed_file.unpack(path, checkpoints.KEY)
    whole = path.read_bytes()
    pick = random.Random(0)
    noticed = 0
    for _ in range(300):
        content = bytearray(whole)
        content[pick.randrange(len(content))] ^= 1 << pick.randrange(8)
        path.write_bytes(content)
        try:
            found, told = sealed_file.unpack(path, checkpoints.KEY)
        except sealed_file.DamagedFile:
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
