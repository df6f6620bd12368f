"""A model's text may set what its layer can be asked for; the rest is an error that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pnpfusion as pf
from pnpfusion.cli.argument_types import names
from pnpfusion.comparison.baselines import baseline_of
from pnpfusion.solvers.fixed_point.gradient import Phantom
from pnpfusion.training import FusionModel, ModelConfig, Recipe, predict, train
from pnpfusion.training.models import layer_of, named
from tests.tiny_sets import tiny

DIMS = {"a": 5, "b": 3}


def test_options_reach_the_layer() -> None:
    layer = layer_of("pnp:coupled=false,cells=6,encoder=mlp,debye_length=none", DIMS, 4)
    assert isinstance(layer, pf.fusion.PNP)
    assert (layer.coupled, layer.cells.shape) == (False, (8, 6))
    deq = layer_of("deq:gradient=phantom-5,tol=1e-2,rounds=none", DIMS, 4)
    assert isinstance(deq, pf.fusion.DEQ)
    assert (deq.gradient, deq.tol, deq.rounds) == (Phantom(5), 1e-2, None)
    assert layer_of("pnp-transient:duration=2", DIMS, 4).cells.duration == 2
    assert named("only:a") == ("only:a", {})
    assert baseline_of("gmf:boundary=0.25", DIMS) is None


def test_options_stay_with_their_model_on_the_command_line() -> None:
    text = "concat, pnp:coupled=false,cells=8,logistic:*,deq:tol=1e-2,gmf"
    wanted = ("concat", "pnp:coupled=false,cells=8", "logistic:*", "deq:tol=1e-2", "gmf")
    assert names(text) == wanted


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("pnp:coupld=false", r"has options \['run', .*got 'coupld=false'"),
        ("pnp:cells", "each NAME=VALUE and once, got 'cells'"),
        ("pnp:cells=8,cells=9", "got 'cells=9'"),
        ("pnp:cells=[8]", "must be a number or a word, got '"),
        ("pnp:cells=few", "`cells` must be a whole number"),
        ("pnp:debye_length=9", "`debye_length` must be between"),
        ("pnp:debye_length=thin", "`debye_length` must be a number or None"),
        ("pnp-transient:reading=middle", "`reading` must be one of"),
        ("deq:gradient=exact", "must be one of .*'phantom'"),
        ("deq:solver=picard", "got 'solver=picard'"),
        ("concat:cells=3", "the model 'concat' has no options"),
        ("gmf+deq:boundary=0.5", "has no options"),
        ("pmp:cells=3", "`model` must be the name of one"),
    ],
)
def test_what_is_no_option_is_said(model: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        layer_of(model, DIMS, 4)


def test_a_model_with_options_learns_and_comes_back(tmp_path: Path) -> None:
    data = tiny("classes")
    text = "pnp-transient:reading=end,debye_length=0.2,duration=0.1"
    model = FusionModel.build(data, text, hidden=8, width=8)
    trained = train(model, data, Recipe(epochs=2, batch=16), folder=tmp_path)
    again = FusionModel.from_pretrained(tmp_path)
    assert again.config == ModelConfig.from_json(model.config.to_json())
    assert again.config.model == text
    torch.testing.assert_close(predict(again, data), predict(trained.model, data), rtol=0, atol=0)
    layer = again.fusion
    assert isinstance(layer, pf.fusion.PNP)
    torch.testing.assert_close(layer.debye_length, torch.full((8,), 0.2))


@pytest.mark.parametrize("run", ["equilibrium", "transient"])
def test_a_fixed_debye_length_is_not_learned(run: str) -> None:
    torch.manual_seed(0)
    layer = pf.fusion.PNP(DIMS, 4, run=run, debye_length=0.5).double()
    given = {name: torch.randn(3, d, dtype=torch.float64) for name, d in DIMS.items()}
    layer(given).square().sum().backward()
    names = [name for name, one in layer.named_parameters() if one.grad is None]
    assert [name for name in names if "reconstruction" not in name] == ["cells.debye_length.raw"]


def test_readings_are_parts_of_the_whole() -> None:
    given = {name: torch.randn(3, d, dtype=torch.float64) for name, d in DIMS.items()}
    read = {}
    for reading in ("both", "end", "start"):
        torch.manual_seed(0)
        layer = pf.fusion.PNP(DIMS, 4, run="transient", reading=reading).double()
        outset = layer.cells.outset(layer.read(given))
        read[reading] = layer.cells.answer(outset, None)[0]
        fused, info = layer(given, return_info=True)
        assert (read[reading].shape[1], fused.shape) == (layer.cells.numbers, (3, 4))
        assert [*info.losses] == ([] if reading == "start" else ["reconstruction"])
    torch.testing.assert_close(read["both"], torch.cat([read["end"], read["start"]], 1))
