"""Floating point operations of an answer, against torch's counter."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
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


@pytest.mark.parametrize("model", ["pnp", "pnp-transient", "pnp+deq", "gmf+deq", "pnp+progressive"])
def test_solves_are_part_of_it(model: str) -> None:
    data = tiny("classes")
    small, large = (
        operations(FusionModel.build(data, model, hidden=h, width=h), data) for h in (8, 16)
    )
    assert small < large
    if model.startswith("pnp"):
        options = ":cells=32" if "+" not in model else ""
        other = FusionModel.build(data, model + options, hidden=8, width=8)
        factor = 1.5 if options else 0.99
        assert operations(other, data) > factor * small


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
