"""Samples that lack a modality, in training, comparisons and commands."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pnpfusion import cli
from pnpfusion.comparison import Comparison, Plan, compare
from pnpfusion.comparison.baselines import Asked, fit_baseline
from pnpfusion.data import Features
from pnpfusion.training import FusionModel, Recipe, evaluate, predict, train, without_each
from pnpfusion.training.objectives import Classes
from tests.tiny_sets import tiny, torn


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_every_call_is_told_who_lacks_what(dropout: float) -> None:
    data, told = torn(), []
    model = FusionModel.build(data, "concat", hidden=8, width=8)

    def listen(_: torch.nn.Module, inputs: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
        features, present = inputs
        told.append({name: (features[name], present[name]) for name in features})

    model.register_forward_pre_hook(listen)
    train(model, data, Recipe(epochs=2, modality_dropout=dropout, input_dropout=0.0))
    lost = 0
    assert told
    for call in told:
        for values, flags in call.values():
            has = values.ne(0).any(1)
            assert not (flags & ~has).any()  # dropout only takes away
            lost += int((has & ~flags).sum())
        assert torch.stack([flags for _, flags in call.values()]).any(0).all()
    assert (lost > 0) == (dropout > 0)


def test_a_whole_modality_that_is_absent_is_one_that_is_missing() -> None:
    data = tiny("classes", 80)
    model = FusionModel.build(data, "pnp", hidden=8, width=8)
    train(model, data, Recipe(epochs=2))
    test = data.split("test")
    nobody = torch.zeros(len(test), dtype=torch.bool)
    gone = replace(test, present={"b": nobody})
    assert evaluate(model, gone) == evaluate(model, test, missing=["b"])
    torn_test = torn().split("test")
    only_a = torn_test.without(["b"])
    assert torch.equal(predict(model, only_a), predict(model, only_a, missing=["b"]))
    assert {*without_each(model, torn_test)} == {"a", "b"}
    with pytest.raises(ValueError, match="every sample needs a modality"):
        predict(model, torn_test, missing=["b"])


def test_a_modality_that_nobody_has_cannot_be_learned_from() -> None:
    data = tiny("classes")
    lacking = torch.ones(len(data), dtype=torch.bool)
    lacking[data.splits["train"]] = False
    data = replace(data, present={"a": lacking})
    model = FusionModel.build(data, "concat", hidden=8, width=8)
    with pytest.raises(ValueError, match="no sample of 'tiny classes' to learn from has 'a'"):
        train(model, data, Recipe(epochs=1))


def test_baselines_see_the_mean_in_its_place() -> None:
    data = torn(90)
    asked = Asked("logistic", ("a", "b"))
    one = fit_baseline(asked, data, Classes(3))
    means = {name: data.split("train").measured(name).mean(0) for name in data.dims}
    test = data.split("test")
    filled = {
        name: torch.where(test.there(name)[:, None], values, means[name])
        for name, values in test.modalities.items()
    }
    whole = replace(test, modalities=filled, present=None)
    torch.testing.assert_close(one.outputs(test), one.outputs(whole), atol=1e-5, rtol=1e-5)


def write(data: Features, folder: Path) -> Path:
    arrays = {name: values.numpy() for name, values in data.modalities.items()}
    flags = {f"present.{name}": data.there(name).numpy() for name in data.dims}
    parts = np.array(["train"] * len(data))
    for name, rows in data.splits.items():
        parts[rows.numpy()] = name
    assert data.target is not None
    np.savez(folder / "torn.npz", label=data.target.numpy(), split=parts, **arrays, **flags)
    return folder / "torn.npz"


def compared(path: Path, folder: Path, *models: str, epochs: int = 1) -> Comparison:
    """A small comparison on one file, from one seed."""
    recipe = Recipe(epochs=epochs)
    return compare(
        Plan(
            sets=(str(path),),
            models=models,
            seeds=(0,),
            recipe=recipe,
            hidden=8,
            width=8,
            noise=(1.0,),
        ),
        folder,
    )


def with_lone(samples: int = 120) -> Features:
    """Who is to be judged has only b; of the others a third lack "a", a third "b"."""
    data = torn(samples)
    assert data.present is not None
    flags = {name: one.clone() for name, one in data.present.items()}
    for split in ("valid", "test"):
        flags["a"][data.splits[split]], flags["b"][data.splits[split]] = False, True
    return replace(data, present=flags)


def test_what_nobody_can_do_without_is_left_out_of_a_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = with_lone()
    model = FusionModel.build(data, "concat", hidden=8, width=8)
    train(model, data, Recipe(epochs=1))
    with pytest.warns(UserWarning, match=r"no sample has another modality than \['b'\]"):
        assert [*without_each(model, data.split("test"))] == ["a"]
    path = write(data, tmp_path)
    command = ["train", "--data", str(path), "--epochs", "1", "--out", str(tmp_path / "t")]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main(command) == 0
    told = capsys.readouterr()
    assert "no sample has another modality than ['b']" in " ".join(told.err.split())
    line = next(line for line in told.out.splitlines() if "without b" in line)
    assert line.split() == ["without", "b", "–", "–"]


def test_what_nobody_can_do_without_is_left_out_of_a_comparison(tmp_path: Path) -> None:
    path = write(with_lone(), tmp_path)
    found = compared(path, tmp_path / "cells", "concat", "logistic")
    assert not found.failures
    for row in found.sets[0].rows:
        assert "without b" not in row.measures
        assert row.measures["without one"].mean == row.measures["without a"].mean
    (record, *_) = (tmp_path / "cells" / "cells").iterdir()
    assert json.loads(record.read_text())["found"]["nobody_without"] == ["b"]


def test_what_is_lost_is_of_the_same_samples(tmp_path: Path) -> None:
    """A model that never sees "a" loses nothing without it, whoever is left out."""
    data = torn(300)
    found = compared(write(data, tmp_path), tmp_path / "cells", "logistic:b", "concat")
    records = [json.loads(one.read_text())["found"] for one in (tmp_path / "cells/cells").iterdir()]
    (one,) = (record for record in records if "epochs" not in record)
    assert one["beside"]["a"] == one["without"]["a"]
    assert one["test"]["accuracy"] != one["without"]["a"]["accuracy"]
    row = next(row for row in found.sets[0].rows if row.model == "logistic:b")
    lost = one["beside"]["b"]["accuracy"] - one["without"]["b"]["accuracy"]
    assert row.measures["lost without one"].mean == pytest.approx(lost / 2)
    assert lost > 0.1


def test_a_file_with_gaps_is_trained_on_compared_and_not_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = torn(120)
    path = write(data, tmp_path)
    found = compared(path, tmp_path / "cells", "concat", "logistic", epochs=2)
    assert not found.failures
    for row in found.sets[0].rows:
        assert {"without a", "without b", "noise all"} <= {*row.measures}
    command = ["train", "--data", str(path), "--epochs", "2", "--out", str(tmp_path / "t")]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.count("of the same, with it") == 2
    summary = json.loads((tmp_path / "t" / "summary.json").read_text())["results"]["test"]
    part = data.split("test")
    model = FusionModel.from_pretrained(tmp_path / "t")
    wanted = evaluate(model, part.samples(part.rows_without(["a"])))
    assert summary["beside"]["a"] == pytest.approx(wanted, rel=1e-5)
    command = ["simulate", "--data", str(path), "--sample", "0", "--out", str(tmp_path / "s")]
    assert cli.main(command) == 2
    assert "lack ['a']; choose others" in capsys.readouterr().err
