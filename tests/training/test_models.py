"""Every model by name, for every task: it learns, is saved, and comes back as it was."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.solvers import ConvergenceWarning
from pnpfusion.training import (
    MODELS,
    FusionModel,
    HealthWarning,
    ModelConfig,
    Recipe,
    evaluate,
    predict,
    train,
    without_each,
)
from tests.tiny_sets import TASKS, tiny

NAMES = [*MODELS, "only:a", "only:b"]


@pytest.fixture(autouse=True)
def _no_word_of_solves() -> None:
    """The paper's cell does not converge at first, and says so; that is not looked at here."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", HealthWarning)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_a_model_learns_and_comes_back(name: str, task: str, tmp_path: Path) -> None:
    data = tiny(task)
    model = FusionModel.build(data, name, hidden=8, width=8)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trained = train(model, data, Recipe(epochs=2, batch=16, modality_dropout=0.3), folder=tmp_path)
    assert len(trained.history) == 2
    assert any(not torch.equal(before[key], value) for key, value in model.state_dict().items())
    found = evaluate(trained.model, data.split("test"))
    assert all(map(math.isfinite, found.values()))
    assert set(without_each(trained.model, data.split("test"))) == {"a", "b"}
    again = FusionModel.from_pretrained(tmp_path)
    told, wanted = predict(again, data), predict(trained.model, data)
    assert told.shape == (48, 2 if task == "numbers" else 3)
    torch.testing.assert_close(told, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["concat", "pnp", "pnp+deq"])
def test_tokens_are_encoded_and_averaged(name: str) -> None:
    data = tiny("classes", tokens=4)
    trained = train(FusionModel.build(data, name), data, Recipe(epochs=2))
    assert predict(trained.model, data).shape == (48, 3)


@pytest.mark.parametrize("name", ["concat", "deq", "pnp", "gmf+deq", "progressive"])
def test_two_things_can_be_told_apart_after_training(name: str) -> None:
    data = tiny("classes", samples=400)
    trained = train(FusionModel.build(data, name), data, Recipe(epochs=40))
    assert evaluate(trained.model, data.split("test"))["accuracy"] > 0.75


def test_numbers_are_told_in_their_own_units() -> None:
    data = tiny("numbers", samples=400)
    trained = train(FusionModel.build(data, "concat"), data, Recipe(epochs=60))
    assert evaluate(trained.model, data.split("test"))["r2"] > 0.8
    assert 60 < float(predict(trained.model, data).std()) < 200


def test_a_modality_alone_sees_nothing_else() -> None:
    data = tiny("classes")
    model = FusionModel.build(data, "only:a").eval()
    model.fit_scales(data)
    told = model(data.modalities)
    changed = {**data.modalities, "b": data.modalities["b"] + 9}
    torch.testing.assert_close(model(changed), told, rtol=0, atol=0)
    gone = model({**data.modalities, "a": None}).detach()
    assert float(gone.std(0).max()) < 1e-6  # one answer for all
    flags = torch.arange(48) % 2 == 0
    mixed = model(data.modalities, {"a": flags})
    torch.testing.assert_close(mixed[flags], told[flags])
    torch.testing.assert_close(mixed[~flags], gone[~flags])


@pytest.mark.parametrize("name", ["pnp+deq", "pnp+progressive"])
def test_a_chain_passes_on_losses_presence_and_gradients(name: str) -> None:
    layer = MODELS[name]({"front": 4, "b": 3}, 6).double()
    draw = torch.Generator().manual_seed(0)
    given = {
        key: torch.randn(5, n, dtype=torch.float64, generator=draw)
        for key, n in {"front": 4, "b": 3}.items()
    }
    fused, info = layer(given, return_info=True)
    assert fused.shape == (5, 6)
    assert info.succeeded.all()
    assert info.iterations.shape == (5,)
    torch.testing.assert_close(layer(given), fused)
    fused.square().sum().backward()
    assert all(one.grad is not None for one in layer.parameters())
    flags = torch.tensor([True, False, True, True, True])
    hidden = {**given, "b": torch.where(flags[:, None], given["b"], 7.0)}
    one, other = (layer(x, present={"b": flags}) for x in (given, hidden))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_own_encoders_and_an_own_layer(tmp_path: Path) -> None:
    data = tiny("classes")
    config = dataclasses.replace(ModelConfig.of(data, hidden=6), model="own", encoders="own")

    def parts() -> tuple[dict[str, nn.Module], pf.fusion.FusionLayer]:
        return {"a": nn.Linear(5, 6), "b": nn.Linear(3, 6)}, pf.fusion.Concat({"a": 6, "b": 6}, 4)

    encoders, fusion = parts()
    model = FusionModel(config, encoders=encoders, fusion=fusion)
    train(model, data, Recipe(epochs=1), folder=tmp_path)
    encoders, fusion = parts()
    again = FusionModel.from_pretrained(tmp_path, encoders=encoders, fusion=fusion)
    torch.testing.assert_close(predict(again, data), predict(model, data), rtol=0, atol=0)
    with pytest.raises(ValueError, match="`encoders` must be given: the config calls them 'own'"):
        FusionModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="`fusion` are not: it names"):
        FusionModel(ModelConfig.of(data), fusion=fusion)


def test_what_is_constant_in_training_is_not_looked_at() -> None:
    data = tiny("classes")
    data.modalities["a"][:, 0] = 3.0
    model = FusionModel.build(data, "concat").eval()
    model.fit_scales(data)
    moved = {**data.modalities, "a": data.modalities["a"].clone()}
    moved["a"][:, 0] = 1e6
    torch.testing.assert_close(model(moved), model(data.modalities), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pmp", "got 'pmp'; did you mean 'pnp'"),
        ("zzz", "there are"),
        ("only:c", r"asks for a modality that is not there; there are \['a', 'b'\]"),
    ],
)
def test_an_unknown_model(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FusionModel.build(tiny("classes"), name)


def test_inputs_that_do_not_fit() -> None:
    data = tiny("classes")
    model = FusionModel.build(data, "concat")
    a, b = data.modalities.values()
    with pytest.raises(ValueError, match=r"`inputs\['a'\]` must be \(batch, 5\)"):
        model({"a": b, "b": b})
    with pytest.raises(ValueError, match=r"has unknown modalities \['c'\]"):
        model({"a": a, "b": b, "c": b})
    with pytest.raises(ValueError, match=r"lacks \['b'\]; give None"):
        model({"a": a})
    with pytest.raises(ValueError, match="must have one entry for each"):
        model([a])
    with pytest.raises(ValueError, match=r"`inputs\['a'\]` must be finite"):
        model({"a": a * math.nan, "b": b})
    with pytest.raises(ValueError, match=r"`present\['b'\]` must be a bool tensor"):
        model({"a": a, "b": b}, {"b": torch.ones(48)})
    flags = torch.arange(48) > 3
    assert (
        model({"a": torch.where(flags[:, None], a, math.nan), "b": b}, {"a": flags})
        .isfinite()
        .all()
    )
    with pytest.raises(ValueError, match="has no target"):
        FusionModel.build(pf.data.Features("bare", data.modalities))


def broken(folder: Path, entry: str, value: object) -> None:
    header = json.loads((folder / "config.json").read_text())
    if entry in header:
        header[entry] = value
    else:
        header["config"][entry] = value
    (folder / "config.json").write_text(json.dumps(header))


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("format", 99, "has format 99, this version of pnpfusion reads format 1"),
        ("module", "os.system", "a model's config has no 'module'"),
        ("model", "os.system", "`model` must be the name of one"),
        ("dims", {"a": 0}, r"`dims\['a'\]` must be a whole number >= 1"),
        ("task", "guess", "`task` must be one of"),
        ("dtype", "float16", "`dtype` must be one of"),
        ("width", 9, "is not the config of model.safetensors beside it"),
        ("config", [], "a model's config must be an object"),
    ],
)
def test_a_config_that_is_not_right(entry: str, value: object, words: str, tmp_path: Path) -> None:
    FusionModel.build(tiny("classes"), "concat", hidden=8, width=8).save_pretrained(tmp_path)
    broken(tmp_path, entry, value)
    with pytest.raises(ValueError, match=words):
        FusionModel.from_pretrained(tmp_path)


def test_files_that_are_not_there_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no saved model: config.json is not there"):
        FusionModel.from_pretrained(tmp_path)
    model = FusionModel.build(tiny("classes"), "concat", hidden=8, width=8)
    model.save_pretrained(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    for content in (whole[:-9], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"model.safetensors is damaged.*; copy it again"):
            FusionModel.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(whole)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is damaged"):
        FusionModel.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match="must have the entries"):
        FusionModel.from_pretrained(tmp_path)


def test_weights_of_another_shape(tmp_path: Path) -> None:
    """Both files are whole and belong together, and are still not of this model."""
    from pnpfusion.sealed_file import pack, unpack

    model = FusionModel.build(tiny("classes"), "concat", hidden=8, width=8)
    model.save_pretrained(tmp_path)
    weights, header = unpack(tmp_path / "model.safetensors", "pnpfusion_model")
    for change, words in (
        ({"head.bias": torch.zeros(4)}, r"'head.bias' must be torch.float32 \(3,\), got"),
        ({"head.bias": torch.zeros(3).double()}, "got torch.float64"),
        ({"evil": torch.zeros(1)}, r"has \['evil'\] beyond"),
    ):
        path = tmp_path / "model.safetensors"
        pack(path, {**weights, **change}, header, "pnpfusion_model")
        with pytest.raises(ValueError, match=words):
            FusionModel.from_pretrained(tmp_path)


def test_float64_comes_back_as_float64(tmp_path: Path) -> None:
    data = tiny("numbers")
    model = FusionModel.build(data, "pnp")
    train(model, data, Recipe(epochs=1, precision="float64"), folder=tmp_path)
    again = FusionModel.from_pretrained(tmp_path)
    assert again.head.weight.dtype == torch.float64
    torch.testing.assert_close(predict(again, data), predict(model, data), rtol=0, atol=0)


def test_a_dict_of_tensors_is_told_as_a_set_is() -> None:
    data = tiny("classes")
    model = FusionModel.build(data, "concat", hidden=8, width=8)
    rows = dict(data.modalities)
    first = next(iter(rows))
    assert torch.equal(predict(model, rows), predict(model, data))
    without = predict(model, rows | {first: None})
    assert torch.equal(without, predict(model, data, missing=[first]))
    assert not torch.equal(without, predict(model, data))
    wrong = {
        "None for one that is missing; got": {first: rows[first]},
        "lacks every modality": dict.fromkeys(rows),
        "must have the modalities": rows | {first: rows[first][:, :1]},
        r"Features or a dict of tensors, .* got list": [*rows.values()],
    }
    for words, given in wrong.items():
        with pytest.raises(ValueError, match=words):
            predict(model, given)  # type: ignore[arg-type]
