"""Samples that lack a modality: in the record, in files, in training and in comparisons."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pnpfusion import cli
from pnpfusion.comparison import Plan, compare
from pnpfusion.comparison.baselines import Asked, fit_baseline
from pnpfusion.data import Features, from_npz, holdout, open_set
from pnpfusion.data.scales import Scales
from pnpfusion.training import FusionModel, Recipe, evaluate, predict, train, without_each
from pnpfusion.training.identity import fingerprint
from pnpfusion.training.noise import noised
from pnpfusion.training.objectives import Classes
from tests.tiny_sets import tiny

NAN = float("nan")


def torn(samples: int = 60) -> Features:
    """A third of the samples lack "a", another third "b"."""
    rows = torch.arange(samples)
    return replace(tiny("classes", samples), present={"a": rows % 3 != 0, "b": rows % 3 != 1})


# ---- the record


def test_what_stands_where_a_modality_is_absent_is_nothing() -> None:
    flags = torch.tensor([True, False, True])
    one, other = (
        Features("x", {"a": torch.tensor([[1.0], [filling], [3.0]]), "b": torch.ones(3, 2)},
                 present={"a": flags, "b": torch.ones(3, dtype=torch.bool)})
        for filling in (NAN, 7.0)
    )  # fmt: skip
    assert one.modalities["a"].tolist() == [[1.0], [0.0], [3.0]]
    assert one.present is not None
    assert [*one.present] == ["a"]  # all have b
    assert torch.equal(one.there("a"), flags)
    assert one.there("b").all()
    assert one.measured("a").tolist() == [[1.0], [3.0]]
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(replace(one, present=None))
    assert replace(one, present={"a": ~torch.zeros(3, dtype=torch.bool)}).present is None


def test_it_goes_along_with_the_samples() -> None:
    data = torn()
    some = data.samples([0, 1, 2, -1])
    assert some.there("a").tolist() == [False, True, True, True]
    assert some.there("b").tolist() == [True, False, True, True]
    assert data.samples([2, 5]).present is None
    draw = torch.Generator().manual_seed(0)
    cut = holdout(replace(data, splits={}), 0.3, generator=draw)
    part = cut.split("valid")
    assert torch.equal(part.there("a"), data.there("a")[cut.splits["valid"]])


def test_scales_are_of_those_who_have_it() -> None:
    data = torn()
    scaled = data.standardised()
    for name in data.dims:
        own = scaled.measured(name).double()
        torch.testing.assert_close(own.mean(0), torch.zeros_like(own[0]), atol=1e-6, rtol=0)
        torch.testing.assert_close(own.std(0, correction=0), torch.ones_like(own[0]))
        assert not scaled.modalities[name][~data.there(name)].any()
    scales = Scales.of(data)
    torch.testing.assert_close(scales.means["a"], data.measured("a").double().mean(0))
    noisy = noised(data, scales.deviations, 1.0, ["a", "b"], seed=0)
    assert noisy.measured("a").ne(data.measured("a")).all()
    assert not noisy.modalities["a"][~data.there("a")].any()


def test_without_leaves_out_who_has_nothing_else() -> None:
    data = torn(9)
    left = data.without(["a"])
    assert len(left) == 6  # three have only a
    assert not left.there("a").any()
    assert left.there("b").all()
    whole = tiny("classes")
    assert len(whole.without(["b"])) == len(whole)
    assert data.rows_without(["a"]).tolist() == [0, 2, 3, 5, 6, 8]
    assert data.rows_without(["a", "b"]).tolist() == []
    with pytest.raises(ValueError, match=r"nothing is left of 'tiny classes' without \['a', 'b'\]"):
        data.without(["a", "b"])
    with pytest.raises(ValueError, match=r"`modalities` names \['c'\]; there are \['a', 'b'\]"):
        data.without(["c"])


def test_without_keeps_the_splits_of_who_is_left() -> None:
    data = torn()
    left = data.without(["a"])
    assert {*left.splits} == {*data.splits}
    for name, rows in data.splits.items():
        here = rows[data.there("b")[rows]]
        assert torch.equal(left.split(name).modalities["b"], data.modalities["b"][here])
    whole = tiny("classes")
    for name, rows in whole.without(["a"]).splits.items():
        assert torch.equal(rows, whole.splits[name])
    lone = torch.ones(60, dtype=torch.bool)
    lone[data.splits["test"]] = False
    assert [*replace(data, present={"b": lone}).without(["a"]).splits] == ["train", "valid"]


def test_flags_are_its_own() -> None:
    flags = torch.tensor([True, False, True])
    data = Features("x", {"a": torch.ones(3, 1), "b": torch.ones(3, 2)}, present={"a": flags})
    flags[:] = True
    assert data.there("a").tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("present", "message"),
    [
        ({"c": torch.ones(3, dtype=torch.bool)}, r"`present` names \['c'\], but the modalities"),
        ({"a": torch.ones(3)}, r"`present\['a'\]` must be bool \(3,\), got torch.float32 \(3,\)"),
        ({"a": torch.ones(2, dtype=torch.bool)}, r"must be bool \(3,\), got torch.bool \(2,\)"),
        (
            {name: torch.tensor([True, False, True]) for name in "ab"},
            "`present` leaves 1 samples of 'x' without any modality, the first is row 1",
        ),
    ],
)
def test_flags_that_do_not_fit(present: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Features("x", {"a": torch.ones(3, 1), "b": torch.ones(3, 2)}, present=present)


# ---- files


def test_all_files_tell_the_same(tmp_path: Path) -> None:
    a = np.array([[0.5, 1.0], [NAN, NAN], [2.0, 3.0]])
    b = np.array([[4.0], [5.0], [NAN]])
    has_a, has_b = np.array([True, False, True]), np.array([True, True, False])
    arrays = {"a": a, "b": b, "present.a": has_a, "present.b": has_b, "label": np.array([0, 1, 0])}
    np.savez(tmp_path / "x.npz", **arrays)
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    save_file(tensors, tmp_path / "x.safetensors")
    (tmp_path / "x.csv").write_text("a_1,a_2,b_1,label\n0.5,1,4,0\n,,5,1\n2,3,,0\n")
    for kind in ("npz", "safetensors", "csv"):
        found = open_set(str(tmp_path / f"x.{kind}"))
        assert found.there("a").tolist() == has_a.tolist(), kind
        assert found.there("b").tolist() == has_b.tolist(), kind
        assert found.modalities["a"].tolist() == [[0.5, 1], [0, 0], [2, 3]], kind
        assert found.modalities["b"].tolist() == [[4], [5], [0]], kind
        assert found.dims == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"present.a": np.array([1, 0, 1])}, "'present.a' must be bool, and named for one of"),
        ({"present.c": np.ones(3, bool)}, r"'present.c' must be bool, and named for one of \['a'"),
        ({"present.a": np.ones(2, bool)}, r"must be bool \(3,\), got torch.bool \(2,\)"),
        ({"present.a": np.ones(3, bool)}, "must be finite, got nan in row 1"),
    ],
)
def test_broken_arrays(changed: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    whole = {"a": np.array([[0.5], [NAN], [2.0]]), "b": np.ones((3, 1))}
    np.savez(tmp_path / "x.npz", **whole, **changed)
    with pytest.raises(ValueError, match=message):
        from_npz(tmp_path / "x.npz")


def test_broken_tables(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a_1,a_2,b_1\n1,2,3\n1,,3\n")
    with pytest.raises(ValueError, match=r"line 3, column 'a_2'.*empty in all its columns"):
        open_set(str(path))
    path.write_text("a_1,b_1\n1,2\n,\n")
    with pytest.raises(ValueError, match=r"line 3: all of \['a', 'b'\] are empty; drop the line"):
        open_set(str(path))


# ---- learning and judging


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
    plan = Plan(
        sets=(str(path),), models=("concat", "logistic"), seeds=(0,), recipe=Recipe(epochs=1),
        hidden=8, width=8, noise=(1.0,),
    )  # fmt: skip
    found = compare(plan, tmp_path / "cells")
    assert not found.failures
    for row in found.sets[0].rows:
        assert "without b" not in row.measures
        assert row.measures["without one"].mean == row.measures["without a"].mean
    (record, *_) = (tmp_path / "cells" / "cells").iterdir()
    assert json.loads(record.read_text())["found"]["nobody_without"] == ["b"]


def test_what_is_lost_is_of_the_same_samples(tmp_path: Path) -> None:
    """A model that never sees "a" loses nothing without it, whoever is left out."""
    data = torn(300)
    plan = Plan(
        sets=(str(write(data, tmp_path)),), models=("logistic:b", "concat"), seeds=(0,),
        recipe=Recipe(epochs=1), hidden=8, width=8, noise=(1.0,),
    )  # fmt: skip
    found = compare(plan, tmp_path / "cells")
    records = [json.loads(one.read_text())["found"] for one in (tmp_path / "cells/cells").iterdir()]
    (one,) = (record for record in records if "epochs" not in record)
    assert one["beside"]["a"] == one["without"]["a"]
    assert one["test"]["accuracy"] != one["without"]["a"]["accuracy"]
    row = next(row for row in found.sets[0].rows if row.model == "logistic:b")
    lost = one["beside"]["b"]["accuracy"] - one["without"]["b"]["accuracy"]
    assert row.measures["lost without one"].mean == pytest.approx(lost / 2)
    assert lost > 0.1


def write(data: Features, folder: Path) -> Path:
    arrays = {name: values.numpy() for name, values in data.modalities.items()}
    flags = {f"present.{name}": data.there(name).numpy() for name in data.dims}
    parts = np.array(["train"] * len(data))
    for name, rows in data.splits.items():
        parts[rows.numpy()] = name
    assert data.target is not None
    np.savez(folder / "torn.npz", label=data.target.numpy(), split=parts, **arrays, **flags)
    return folder / "torn.npz"


def test_a_file_with_gaps_is_trained_on_compared_and_not_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = torn(120)
    path = write(data, tmp_path)
    plan = Plan(
        sets=(str(path),), models=("concat", "logistic"), seeds=(0,), recipe=Recipe(epochs=2),
        hidden=8, width=8, noise=(1.0,),
    )  # fmt: skip
    found = compare(plan, tmp_path / "cells")
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
