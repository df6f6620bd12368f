"""Floating point operations of an answer, against torch's counter."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pnpfusion as pf
from pnpfusion.comparison import Plan
from pnpfusion.comparison.measure import measure
from pnpfusion.fusion.inputs import read_inputs
from pnpfusion.solvers.backend import using
from pnpfusion.training import FusionModel, Recipe
from pnpfusion.training.operations import REST, TRANSIENT, cell_operations, operations
from tests.tiny_sets import tiny

ATEN = torch.ops.aten
ARITHMETIC = (
    ATEN.add, ATEN.sub, ATEN.rsub, ATEN.mul, ATEN.div, ATEN.reciprocal,
    ATEN.exp, ATEN.expm1, ATEN.log, ATEN.log1p,
)  # fmt: skip


def one_each(*_: Any, out_shape: Any = None, **__: Any) -> int:
    return prod(out_shape)


def of_sum(shape: Any, *_: Any, **__: Any) -> int:
    return prod(shape)


@pytest.mark.parametrize("run", ["equilibrium", "transient"])
@pytest.mark.parametrize("cells", [16, 48])
def test_cells_cost_what_their_equations_say(run: Any, cells: int) -> None:
    """Torch's own solve is counted, operation by operation; it is general, so it does more."""
    torch.manual_seed(0)
    layer = pf.fusion.PNP({"a": 4, "b": 3}, 5, run=run, channels=2, cells=cells)
    inputs = {"a": torch.randn(1, 4), "b": torch.randn(1, 3)}
    mapping = dict.fromkeys(ARITHMETIC, one_each) | {ATEN.sum: of_sum}
    with torch.no_grad(), using("torch"):
        outset = layer.cells.outset(read_inputs(layer.dims, inputs))
        law = layer.cells.law
        with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
            layer.cells.reach(law, outset)
        work = layer.cells.run(law, outset).work
    at_rest = run == "equilibrium"
    # All cells of a call iterate together in torch, to the end of the last one.
    sweeps = 2 * int((work.iterations if at_rest else work.steps).max())
    per_cell = REST if at_rest else TRANSIENT
    counted = cell_operations(cells, 2, sweeps, per_cell=per_cell)
    assert 1 < counter.get_total_flops() / counted < 2.5


def test_the_formula_is_cells_by_sweeps_by_species() -> None:
    assert cell_operations(16, 2, 3) == 16 * 3 * (2 * 8 + 34)
    assert cell_operations(16, 4, 5, per_cell=TRANSIENT) == 16 * 5 * (4 * 58 + 28)


def test_products_of_plain_models_are_known() -> None:
    data = tiny("classes")
    model = FusionModel.build(data, "concat", hidden=8, width=6)
    wanted = 2 * (5 * 8 + 3 * 8 + 16 * 6 + 6 * 3)
    assert operations(model, data) == wanted
    assert model.training
    alone = FusionModel.build(data, "only:a", hidden=8, width=6)
    assert operations(alone, data) == 2 * (5 * 8 + 8 * 6 + 6 * 3)


def test_every_round_of_a_fixed_point_counts() -> None:
    """Also where compiled code runs it, which the counter does not see."""
    data = tiny("classes")
    model = FusionModel.build(data, "deq", hidden=8, width=8)
    inputs = {name: values[:32] for name, values in data.modalities.items()}
    with torch.no_grad():
        _, info = model(inputs, return_info=True)
    rounds = float(info.iterations.double().mean())
    one_round = 2 * 8 * 8  # at the least: a product with a matrix
    found = operations(model, data)
    assert found > rounds * one_round
    tight = FusionModel.build(data, "deq:tol=1e-6", hidden=8, width=8)
    assert operations(tight, data) > 1.2 * found


def test_attention_is_counted_by_its_equations() -> None:
    """Fused kernels of torch, which a counter does not see, are not asked."""
    data, n, d = tiny("classes"), 2, 8
    model = FusionModel.build(data, "attention", hidden=d, width=d)
    encoders, head = 2 * (5 + 3) * d, 2 * d * 3
    tokens = n * 2 * d * d
    attention = n * (2 * d * 3 * d + 2 * d * d) + 2 * (2 * n * n * d)
    wanted = encoders + tokens + attention + 2 * d * d + head
    before = torch.backends.mha.get_fastpath_enabled()
    assert operations(model, data) == wanted
    assert torch.backends.mha.get_fastpath_enabled() == before


def products(model: FusionModel) -> int:
    """Of all linear maps, each run once."""
    return sum(2 * one.weight.numel() for one in model.modules() if isinstance(one, nn.Linear))


def solved(layer: pf.fusion.PNP, inputs: dict[str, torch.Tensor]) -> float:
    """Operations of the cells of a layer for each row, by the iterations that it tells."""
    with torch.no_grad():
        _, info = layer(inputs, return_info=True)
    law, run = layer.cells.law, info.solution
    if layer.run == "equilibrium":
        sweeps, per_cell = run.work.iterations, REST
    else:
        sweeps, per_cell = run.work.steps, TRANSIENT
    assert sweeps.shape == (len(info.succeeded), 8)  # of each row and channel
    cells, species = law.grid.shape[-1], len(law.species)
    return cell_operations(cells, species, float(sweeps.sum()), per_cell=per_cell) / len(sweeps)


def seen(model: FusionModel, data: pf.data.Features) -> dict[str, torch.Tensor]:
    """What reaches the fusion layer of the first samples, whole."""
    model.eval()
    told = []
    hook = model.fusion.register_forward_pre_hook(lambda _, given: told.append(given[0]))
    with torch.no_grad():
        model({name: values[:32] for name, values in data.modalities.items()})
    hook.remove()
    return dict(told[0])


@pytest.mark.parametrize("name", ["pnp", "pnp-transient", "pnp:cells=32"])
def test_what_is_no_product_is_what_cells_do(name: str) -> None:
    data = tiny("classes")
    model = FusionModel.build(data, name, hidden=8, width=8)
    known = products(model)
    if name == "pnp-transient":
        known -= sum(2 * one.weight.numel() for one in model.fusion.cells.reconstruction)
        known += 8 * 2 * 16**2  # the potential that is read is of Green's matrix
    by_cells = solved(model.fusion, seen(model, data))
    assert by_cells > known / 2
    assert operations(model, data) - known == pytest.approx(by_cells, rel=1e-12)


@pytest.mark.parametrize("chain", ["pnp+deq", "pnp+progressive"])
def test_cells_before_another_layer_count(chain: str) -> None:
    data = tiny("classes")
    model = FusionModel.build(data, chain, hidden=8, width=8)
    by_cells, whole = solved(model.fusion.front, seen(model, data)), operations(model, data)
    inputs = {name: values[:32] for name, values in data.modalities.items()}
    with torch.no_grad(), using("torch"), FlopCounterMode(display=False) as counter:
        model(inputs)
    assert by_cells > 0
    assert whole - counter.get_total_flops() / 32 == pytest.approx(by_cells, rel=1e-12)


def test_maps_of_a_completion_count_where_they_are_used_and_cells_within_always() -> None:
    data = tiny("classes")
    plain = FusionModel.build(data, "pnp", hidden=8, width=8)
    model = FusionModel.build(data, "completion+pnp", hidden=8, width=8)
    own = {key.replace("fusion.", "fusion.layer."): v for key, v in plain.state_dict().items()}
    assert model.load_state_dict(own, strict=False).missing_keys
    assert operations(model, data) == operations(plain, data)
    maps = sum(
        2 * one.weight.numel() for one in model.fusion.maps.modules() if hasattr(one, "weight")
    )
    there = torch.arange(len(data)) % 2 == 0
    whole = seen(model, data)
    with torch.no_grad():
        told = model.fusion.complete(model.fusion.read(whole, {"b": there[:32]}))["b"]
    filled = {**whole, "b": torch.where(there[:32, None], whole["b"], told)}
    wanted = products(plain) + maps + solved(model.fusion.layer, filled)
    assert operations(model, replace(data, present={"b": there})) == pytest.approx(wanted)


def test_a_model_is_left_as_it_was_also_by_an_error() -> None:
    data = tiny("classes")
    model = FusionModel.build(data, "attention", hidden=8, width=8)
    other = replace(data, modalities={"a": data.modalities["b"], "b": data.modalities["a"]},
                    feature_names={})  # fmt: skip
    assert model.training
    with pytest.raises(ValueError, match="must be"):
        operations(model, other)
    assert model.training
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_comparison_tells_them() -> None:
    models = ("concat", "logistic", "constant", "svm")
    plan = Plan(
        sets=("interaction:samples=80",), models=models, seeds=(0,), recipe=Recipe(epochs=1),
        noise=(1.0,), hidden=8, width=8,
    )  # fmt: skip
    found = {
        model: measure(plan, cell).get("operations")
        for model, cell in zip(models, plan.cells(_facts(plan)), strict=True)
    }
    assert found["concat"] == 2 * (2 * 16 * 8 + 16 * 8 + 8 * 2)
    assert found["logistic"] == 2 * 2 * 32
    assert found["constant"] == 0
    assert found["svm"] is None


def _facts(plan: Plan) -> Any:
    from pnpfusion.comparison.runner import facts_of

    return facts_of(plan)
