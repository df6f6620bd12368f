"""``pnpfusion train``, end to end: what it makes, how it goes on, and how it says no."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from pnpfusion.cli import main, train_setup
from pnpfusion.cli import train as command
from pnpfusion.training import MODELS, FusionModel, Recipe
from pnpfusion.training import recipe as recipes
from pnpfusion.training.loop import BETWEEN_CHECKPOINTS
from tests.cli.commands import start, summary
from tests.source_tree import environment

MADE = {
    *("config.json", "model.safetensors", "metrics.jsonl", "settings.json", "summary.json"),
    *("checkpoint.safetensors", "curves.png"),
}
#: Of a set that is learned in a moment.
QUICK = ["--data", "mine.npz", "--model", "concat", "--epochs", "3", "--batch", "16"]


def write_set(folder: Path, samples: int) -> None:
    """Two modalities that each tell a little of three classes, as mine.npz."""
    draw = np.random.default_rng(0)
    told = draw.integers(3, size=samples)
    np.savez(
        folder / "mine.npz",
        left=np.eye(3)[told] + draw.normal(size=(samples, 3)),
        right=np.eye(3)[told] + draw.normal(size=(samples, 3)),
        label=told,
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_set(tmp_path, 90)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_made_and_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK]) == 0
    folder = here / "runs" / "train-001"
    assert {path.name for path in folder.iterdir()} == MADE
    out, err = capsys.readouterr()
    assert "mine, 90 samples of 3 classes (train 54, valid 18, test 18)" in out
    assert "of the most frequent class" in out
    assert "without left" in out
    assert "best epoch" in out
    assert "12/12" in err  # the bar
    found = summary(folder)
    results = found["results"]
    assert results.keys() == {"valid", "test"}
    assert results["test"]["metrics"]["accuracy"] > 0.4
    assert results["test"]["largest_class"] == pytest.approx(1 / 3, abs=0.12)
    assert found["settings"]["recipe"]["epochs"] == 3
    model = FusionModel.from_pretrained(folder)
    assert model.config.class_names == ("0", "1", "2")
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3


def test_quiet_is_quiet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK, "--quiet", "--out", "mine"]) == 0
    assert capsys.readouterr() == ("", "")
    assert {path.name for path in (here / "mine").iterdir()} == MADE


def test_the_digits_are_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    told = ["--data", "digits", "--model", "pnp", "--epochs", "3", "--quiet", "--out", "a"]
    assert main(["train", *told]) == 0
    found = summary(tmp_path / "a")
    assert found["results"]["test"]["metrics"]["accuracy"] > 0.7
    assert found["health"]["unconverged"] == 0


def test_splits_follow_from_the_seed_and_are_the_same_for_all_models(here: Path) -> None:
    def splits(seed: int, model: str) -> list[list[int]]:
        told = argparse.Namespace(resume=None, data="mine.npz", model=model, seed=seed)
        setup = train_setup.set_up(train_setup.settings_of(told))
        return [rows.tolist() for rows in setup.data.splits.values()]

    assert splits(0, "pnp") == splits(0, "deq")
    assert splits(0, "pnp") != splits(1, "pnp")


def test_the_same_command_goes_on_and_another_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *QUICK, "--quiet", "--out", "mine"]) == 0
    weights = (here / "mine" / "model.safetensors").read_bytes()
    (here / "mine" / "model.safetensors").unlink()
    assert main(["train", *QUICK, "--quiet", "--out", "mine"]) == 0
    assert (here / "mine" / "model.safetensors").read_bytes() == weights
    assert main(["train", *QUICK, "--seed", "1", "--out", "mine"]) == 2
    assert "mine holds another training: seed were others" in capsys.readouterr().err
    assert main(["train", *QUICK, "--seed", "1", "--out", "mine", "--overwrite", "--quiet"]) == 0
    assert (here / "mine" / "model.safetensors").read_bytes() != weights


def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(here: Path) -> None:
    long = ["--epochs", "120", "--patience", "none", "--checkpoint-every", "1000"]
    told = ["train", *QUICK, *long]
    process = start(*told, cwd=here)
    metrics = here / "runs" / "train-001" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    last = err.splitlines()[-1]
    assert "the checkpoint is in runs/train-001. Go on with: pnpfusion train --resume" in last
    assert (here / "runs" / "train-001" / "checkpoint.safetensors").exists()
    assert not (here / "runs" / "train-001" / "model.safetensors").exists()
    assert main(["train", "--resume", "runs/train-001", "--quiet"]) == 0
    assert main([*told, "--out", "whole", "--quiet"]) == 0
    for name in ("model.safetensors", "metrics.jsonl"):
        cut, whole = (here / folder / name for folder in ("runs/train-001", "whole"))
        assert cut.read_bytes() == whole.read_bytes()


def test_a_recipe_from_a_file_and_options_over_it(here: Path) -> None:
    (here / "recipe.json").write_text(json.dumps({"epochs": 2, "clip": 3.0, "batch": 30}))
    told = ["--data", "mine.npz", "--model", "gmf", "--recipe", "recipe.json", "--out", "mine"]
    more = ["--clip", "none", "--epochs", "1", "--loss-weight", "reconstruction=0.5"]
    assert main(["train", *told, *more, "--quiet"]) == 0
    found = Recipe.from_json(summary(here / "mine")["settings"]["recipe"])
    assert (found.epochs, found.clip, found.batch) == (1, None, 30)
    assert found.loss_weights == {"reconstruction": 0.5, "jacobian": 0.1, "completion": 0.1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "pmp"], "did you mean 'pnp'"),
        (["--model", "only:nose"], "asks for a modality that is not there"),
        (["--data", "nothing"], "'nothing' is no known set"),
        (["--epochs", "0"], "argument --epochs: got '0', wanted a whole number >= 1"),
        (["--clip", "-1"], "argument --clip: got '-1', wanted a number > 0"),
        (["--valid", "1"], "argument --valid: got '1', wanted a number >= 0 and < 1"),
        (["--loss-weight", "x"], "got 'x', wanted name=number"),
        (["--recipe", "gone.json"], "No such file"),
        (["--device", "abacus"], "--device abacus is of no use here"),
        (["--resume", "gone"], "--resume goes on with what was settled"),
        (["--schedule", "step"], "invalid choice: 'step'"),
        (["--precision", "float64", "--label-smoothing", "1"], "wanted a number >= 0 and < 1"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["train", "--data", "mine.npz", *options])
    except SystemExit as end:
        code = int(end.code or 0)
    err = capsys.readouterr().err
    assert code == 2
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (here / "runs").exists()


def test_a_set_without_a_target(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(here / "bare.npz", left=np.ones((5, 2)))
    assert main(["train", "--data", "bare.npz"]) == 2
    assert "'bare' has no target, so there is nothing to learn" in capsys.readouterr().err


def test_resume_of_a_folder_that_is_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", "gone"]) == 2
    assert "--resume gone holds no training" in capsys.readouterr().err
    (here / "gone").mkdir()
    (here / "gone" / "settings.json").write_text("{}")
    assert main(["train", "--resume", "gone"]) == 2
    assert "must have the entries" in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").write_text("years")
    assert main(["train", *QUICK, "--out", "mine"]) == 2
    assert "--out mine is not empty" in capsys.readouterr().err
    assert main(["train", *QUICK, "--out", "mine", "--overwrite", "--quiet"]) == 0
    assert (here / "mine" / "thesis.txt").read_text() == "years"


def test_a_damaged_checkpoint_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK, "--quiet", "--out", "mine"]) == 0
    path = here / "mine" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    assert main(["train", "--resume", "mine"]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert "mine/checkpoint.safetensors is damaged" in err
    assert "begin anew without it (`--overwrite`" in err


def test_training_that_fails_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK, "--learning-rate", "1e30", "--clip", "none", "--quiet"]) == 1
    err = capsys.readouterr().err
    assert "training stopped being finite in epoch 1" in err
    assert "lower `learning_rate`" in err


@pytest.mark.skipif(sys.platform == "win32", reason="folders have other permissions there")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "the folder runs cannot be made here: Permission denied; choose a folder by --out"),
        (["--out", "closed"], "closed cannot be written to: Permission denied; choose another"),
        (["--out", "closed/below"], "--out closed/below cannot be made: Permission denied"),
    ],
)
def test_a_folder_that_may_not_be_written_to(options: list[str], words: str, here: Path) -> None:
    prefix = []
    if os.geteuid() == 0:  # to whom nothing is forbidden but by giving that up
        if shutil.which("setpriv") is None:
            pytest.skip("nothing is forbidden to root")
        prefix = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    (here / "closed").mkdir(mode=0o500)
    here.chmod(0o500)
    try:
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "pnpfusion", "train", *QUICK, *options],
            cwd=here,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        here.chmod(0o700)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_options_are_those_of_the_library() -> None:
    parser = argparse.ArgumentParser()
    command.add_what(parser)
    command.add_recipe(parser)
    wanted = (*MODELS,)
    assert wanted == command.MODELS, f"write in pnpfusion/cli/train.py: MODELS = {wanted}"
    assert get_args(recipes.Schedule) == command.SCHEDULES
    assert get_args(recipes.Precision) == command.PRECISIONS
    assert get_args(recipes.ClassWeights) == command.CLASS_WEIGHTS
    told = {action.dest: action.help or "" for action in parser._actions}
    assert {*command.SETTLED} == told.keys() - {"help"}
    for one in fields(Recipe):
        if one.name == "loss_weights":
            assert "reconstruction=0.1, jacobian=0.1" in told["loss_weight"]
            continue
        default = getattr(Recipe(), one.name)
        words = f"{default:g}" if isinstance(default, int | float) else str(default)
        assert f"default: {words})" in told[one.name], one.name
    for name, value in train_setup.DEFAULTS.items():
        assert f"(default: {value})" in told[name]
    where = argparse.ArgumentParser()
    command.add_where(where)
    assert where.get_default("checkpoint_every") == BETWEEN_CHECKPOINTS


def test_threads_are_as_before(here: Path) -> None:
    before = torch.get_num_threads()
    assert main(["train", *QUICK, "--quiet", "--out", "mine", "--threads", "1"]) == 0
    assert torch.get_num_threads() == before
