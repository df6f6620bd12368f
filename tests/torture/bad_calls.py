"""Bad input to the library: what is called, and the words that the answer must have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, Anderson, BackwardEuler, Euler, KenCarp4, Odeint
from pnpfusion.training import FusionModel, ModelConfig, Recipe, train
from tests.registry import Decay, blocking_cell, f64, times
from tests.tiny_sets import tiny

Bad = tuple[Callable[[], object], str]

ONES = torch.ones(2, 16, dtype=f64)
NAN = float("nan")
IONS = [pf.Species("cation", +1), pf.Species("anion", -1)]
WAYS = torch.ones(4, 3)


def _cell(**changes: Any) -> pf.PNP:
    grid = pf.Grid((16,), (1.0,), ("wall",))
    walls = {"x-": pf.Wall(potential=1.0)}
    given = {"grid": grid, "species": IONS, "permittivity": 0.5, "walls": walls}
    return pf.PNP(**{**given, **changes})


def _run(c0: Any = ONES, until: Any = None, cell: Any = None, **options: Any) -> pf.Solution:
    until = times(0, 0.01) if until is None else until
    return pf.simulate(cell or _cell(), c0, until, **options)


def _rest(c0: Any = ONES, **options: Any) -> pf.Solution:
    return pf.equilibrium(_cell(), c0, **options)


def _fuse(inputs: Any, layer: str = "Concat", **options: Any) -> object:
    made = getattr(pf.fusion, layer)({"a": 3, "b": 2}, 4)
    return made(inputs, **options)


def _features(**changes: Any) -> pf.data.Features:
    given = {"name": "few", "modalities": {"a": WAYS, "b": WAYS}}
    return pf.data.Features(**{**given, **changes})


def _train(**changes: Any) -> object:
    few = changes.pop("data", tiny("classes", 12))
    model = FusionModel.build(tiny("classes", 12), "concat", hidden=4, width=4)
    return train(model, few, Recipe(**{"epochs": 1, **changes}))


def _sweep(cases: Any, **options: Any) -> object:
    return pf.sweep(lambda _: _run(), cases, "/nonexistent/nowhere", **options)


CELLS: dict[str, Bad] = {
    "no cells": (lambda: pf.Grid((0,), (1.0,), ("wall",)), "`shape`.*got"),
    "half a cell": (lambda: pf.Grid((2.5,), (1.0,), ("wall",)), r"`shape`.*got.*2\.5"),
    "cells that are text": (lambda: pf.Grid(("8",), (1.0,), ("wall",)), "`shape`.*got.*'8'"),
    "a shape that is a number": (lambda: pf.Grid(8, (1.0,), ("wall",)), "`shape`.*got 8"),
    "a length below 0": (lambda: pf.Grid((8,), (-1.0,), ("wall",)), "`lengths`.*got.*-1"),
    "a length that is NaN": (lambda: pf.Grid((8,), (NAN,), ("wall",)), "`lengths`.*got.*nan"),
    "a length that is text": (lambda: pf.Grid((8,), ("1",), ("wall",)), "`lengths`.*got.*'1'"),
    "lengths that are a number": (lambda: pf.Grid((8,), 1.0, ("wall",)), "`lengths`.*got 1"),
    "a boundary unheard of": (lambda: pf.Grid((8,), (1.0,), ("door",)), "`boundaries`.*'door'"),
    "boundaries as one word": (lambda: pf.Grid((8,), (1.0,), "wall"), "`boundaries`.*got 'wall'"),
    "two lengths for an axis": (lambda: pf.Grid((8,), (1.0, 1.0), ("wall",)), "`lengths`.*got"),
    "four axes": (
        lambda: pf.Grid((2,) * 4, (1.0,) * 4, ("wall",) * 4),
        r"`shape`.*got \(2, 2, 2, 2\)",
    ),
    "edges that fall": (
        lambda: pf.Grid((2,), (1.0,), ("wall",), edges=(torch.tensor([0.0, 2.0, 1.0]),)),
        "`edges",
    ),
    "a valence that is text": (lambda: pf.Species("ion", "+1"), "`valence`.*got '.1'"),
    "a valence that is nothing": (
        lambda: _run(cell=_cell(species=[pf.Species("ion", None), IONS[1]])),
        "`valence of 'ion'`.*got None",
    ),
    "cells without end": (lambda: pf.Grid((float("inf"),), (1.0,), ("wall",)), "`shape`.*got.*inf"),
    "a length that is nothing": (lambda: pf.Grid((8,), (None,), ("wall",)), "`lengths`.*got.*None"),
    "edges that are text": (
        lambda: pf.Grid((2,), (1.0,), ("wall",), edges=("abc",)),
        r"`edges\[0\]`.*got 'abc'",
    ),
    "edges that are a number": (
        lambda: pf.Grid((2,), (1.0,), ("wall",), edges=(2,)),
        r"`edges\[0\]`.*got 2",
    ),
    "a valence that is NaN": (
        lambda: _cell(species=[pf.Species("i", NAN)]),
        "`valence of 'i'`.*got NaN",
    ),
    "a diffusivity of 0": (lambda: _cell(species=[pf.Species("i", 1, 0.0)]), "`diffusivity`.*0"),
    "two species of one name": (lambda: _cell(species=[IONS[0], IONS[0]]), "'cation'"),
    "a species that is text": (lambda: _cell(species=["cation"]), "`species`.*got.*'?cation|str"),
    "species that are no list": (lambda: _cell(species=IONS[0]), "`species`.*got.*Species"),
    "a grid that is a number": (lambda: _cell(grid=16), "`grid`.*got.*16|int"),
    "permittivity as text": (lambda: _cell(permittivity="0.5"), "`permittivity`.*got.*'0.5'|str"),
    "no permittivity": (lambda: _cell(permittivity=None), "`permittivity`.*got.*None"),
    "permittivity below 0": (lambda: _cell(permittivity=-1.0), "`permittivity`.*-1"),
    "a complex permittivity": (lambda: _cell(permittivity=1j), "`permittivity`.*1j|complex"),
    "a wall beside the grid": (
        lambda: _cell(walls={"y-": pf.Wall()}),
        "names 'y-', but the walls .* 'x-'",
    ),
    "walls that are a list": (lambda: _cell(walls=[pf.Wall()]), "`walls`.*got.*list"),
    "a wall that is a number": (lambda: _cell(walls={"x-": 1.0}), "must be a Wall, got float"),
    "a potential as text": (
        lambda: _run(cell=_cell(walls={"x-": pf.Wall(potential="1")})),
        "potential`.*got '1'",
    ),
    "a Stern layer below 0": (lambda: pf.Wall(potential=0.0, stern=-0.1), "`stern`.*-0.1"),
    "potential and charge": (
        lambda: pf.Wall(potential=1.0, surface_charge=1.0),
        "`potential`|`surface_charge`",
    ),
    "a scheme unheard of": (lambda: _cell(scheme="upwind"), "`scheme`.*got 'upwind'"),
    "a reaction that is text": (lambda: _cell(reactions=["a <-> b"]), "`reactions`.*got"),
    "crowding that is text": (lambda: _cell(steric="0.1"), "`steric`.*got.*'0.1'|str"),
    "a field of another shape": (
        lambda: pf.simulate(_cell(permittivity=pf.Field(torch.ones(7))), ONES, times(0, 1)),
        r"`permittivity`.*\(7,\)|must end in",
    ),
    "a field of text": (lambda: pf.Field("ones"), "`values` of a Field.*got 'ones'"),
}
VERBS: dict[str, Bad] = {
    "a law that is none": (lambda: pf.simulate("PNP", ONES, times(0, 1)), "`dynamics`.*got str"),
    "a state that is a list": (lambda: _run([[1.0] * 16] * 2), "`u0`.*got list"),
    "a state of NumPy": (lambda: _run(np.ones((2, 16))), "`u0`.*got ndarray"),
    "a state of whole numbers": (lambda: _run(torch.ones(2, 16, dtype=torch.int64)), "`u0`.*int64"),
    "a state in halves": (lambda: _run(ONES.half()), "`u0`.*float16"),
    "a state of another shape": (lambda: _run(torch.ones(2, 15)), r"`u0`.*\(2, 15\)"),
    "a state of NaN": (lambda: _run(ONES * NAN), "`u0`.*finite|nan"),
    "a state below 0": (lambda: _run(-ONES), "`u0`.*-1"),
    "a state at rest that is NaN": (lambda: _rest(ONES * NAN), "`u0`.*finite|nan"),
    "times that fall": (lambda: _run(until=times(1, 0)), "`times`.*got"),
    "a time that is NaN": (lambda: _run(until=times(0, NAN)), "`times`.*got NaN"),
    "no times": (lambda: _run(until=times()), r"`times`.*\(0,\)"),
    "times that are text": (lambda: _run(until="0 1"), "`times`.*got.*str|'0 1'"),
    "a tolerance of 0": (lambda: _run(rtol=0.0), "`rtol`.*got 0"),
    "a tolerance as text": (lambda: _run(rtol="1e-3"), "`rtol`.*got '1e-3'"),
    "a tolerance twice": (lambda: _run(rtol=1e-3, stepper=KenCarp4()), "`rtol`"),
    "a stepper by name": (lambda: _run(stepper="heun"), "`stepper`.*got 'heun'"),
    "a stepper's class": (lambda: _run(stepper=Euler), "`stepper`.*got.*Euler"),
    "half a checkpoint": (lambda: _run(checkpoints=0.5), r"`checkpoints`.*got 0\.5"),
    "an input that is unknown": (lambda: _run(x={"potential:y-": 1.0}), "'potential:y-'"),
    "an input that is text": (lambda: _run(x="1"), "`x`.*got.*str|'1'"),
    "a run to go on from that is none": (lambda: _run(resume=ONES), "`resume`.*got.*Tensor"),
    "a step of 0": (lambda: BackwardEuler(dt=0.0), "`dt`.*got 0"),
    "a step as text": (lambda: BackwardEuler(dt="small"), "`dt`.*got 'small'"),
    "half a step at most": (lambda: TRBDF2(max_steps=0.5), r"`max_steps`.*got 0\.5"),
    "a method unheard of": (lambda: Odeint("rk9000"), "`method`.*got 'rk9000'|rk9000"),
    "rounds below 0": (lambda: pf.unroll(Decay(), torch.ones(2), -1), "`rounds`.*got -1"),
    "rounds as text": (lambda: pf.unroll(Decay(), torch.ones(2), "3"), "`rounds`.*got '3'"),
    "a step of a round as text": (
        lambda: pf.unroll(Decay(), torch.ones(2), 3, step="1"),
        "`step`.*got.*1",
    ),
    "a round's state as a number": (lambda: pf.unroll(Decay(), 1.0, 3), "`u0`.*got float"),
    "a solver by name": (lambda: _rest(solver="newton"), "`solver`.*got 'newton'"),
    "a tolerance of rest as text": (lambda: _rest(tol="small"), "`tol`.*got 'small'"),
    "a tolerance of rest below 0": (lambda: _rest(tol=-1e-9), "`tol`.*got -1e-09"),
    "a memory of 0": (lambda: Anderson(memory=0), "`memory`.*got 0"),
    "charge that nothing takes up": (
        lambda: pf.solvers.solve_poisson(
            torch.ones(8, dtype=f64), pf.Grid((8,), (1.0,), ("periodic",))
        ),
        "`rho` carries a net charge of 1",
    ),
    "charge on another grid": (
        lambda: pf.solvers.solve_poisson(torch.ones(7), pf.Grid((8,), (1.0,), ("wall",))),
        r"`rho`.*\(7,\)",
    ),
    "cases that are text": (lambda: _sweep("voltage"), "`cases`"),
    "a grid without values": (lambda: _sweep({"grid": {"v": []}}), r"'v'.*got \[\]"),
    "a share that is not there": (lambda: _sweep([{"v": 1}], shard=(2, 2)), r"`shard`.*\(2, 2\)"),
    "half a stack": (lambda: _sweep([{"v": 1}], stack=0.5), r"`stack`.*got 0\.5"),
    "a case of tensors": (lambda: _sweep([{"v": torch.ones(2)}]), "'v'.*got tensor"),
    "a folder that cannot be": (lambda: _sweep([{"v": 1}], overwrite=1), "nonexistent|nowhere"),
    "a name that is not there": (lambda: pf.simulat, "did you mean 'simulate'"),
}
LEARNING: dict[str, Bad] = {
    "no modalities": (lambda: pf.fusion.Concat({}, 4), "`dims`.*got {}"),
    "a width of 0": (lambda: pf.fusion.DEQ({"a": 0}, 4), "`dims.'a'.`.*got 0"),
    "an output that is text": (lambda: pf.fusion.PNP({"a": 3}, "4"), "`out_dim`.*got '4'"),
    "a cell unheard of": (lambda: pf.fusion.DEQ({"a": 3}, 4, cell="new"), "`cell`.*got 'new'"),
    "a run unheard of": (lambda: pf.fusion.PNP({"a": 3}, 4, run="fast"), "`run`.*got 'fast'"),
    "half a channel": (lambda: pf.fusion.PNP({"a": 3}, 4, channels=0.5), r"`channels`.*got 0\.5"),
    "a magnification of 0": (
        lambda: pf.fusion.GMF({"a": 3, "b": 3}, magnification=0),
        "`magnif.*got 0",
    ),
    "an input that is lacking": (lambda: _fuse({"a": WAYS}), "`inputs`.*'b'"),
    "an input too many": (lambda: _fuse({"a": WAYS, "b": WAYS, "c": WAYS}), "`inputs`.*'c'"),
    "an input too wide": (lambda: _fuse({"a": WAYS, "b": WAYS}), r"`inputs.'b'.`.*\(4, 3\)"),
    "inputs of other lengths": (
        lambda: _fuse({"a": WAYS, "b": WAYS[:2, :2]}),
        "`inputs|rows|samples",
    ),
    "inputs that are one tensor": (lambda: _fuse(torch.ones(4, 5)), "`inputs`.*got"),
    "an input of whole numbers": (
        lambda: _fuse({"a": WAYS.long(), "b": WAYS[:, :2]}),
        "`inputs.'a'.`.*int64",
    ),
    "an input of NaN": (
        lambda: _fuse({"a": WAYS * NAN, "b": WAYS[:, :2]}, "PNP"),
        "`inputs.'a'.`.*finite",
    ),
    "nothing at all": (lambda: _fuse({"a": None, "b": None}), "`inputs`|every|all"),
    "flags that are numbers": (
        lambda: _fuse({"a": WAYS, "b": WAYS[:, :2]}, present={"a": torch.ones(4)}),
        "`present.'a'.`.*float32",
    ),
    "a start of a layer without": (
        lambda: _fuse({"a": WAYS, "b": WAYS[:, :2]}, start=torch.ones(4, 4)),
        "`start` is for layers",
    ),
    "a set without modalities": (lambda: _features(modalities={}), "`modalities` of 'few'"),
    "a set of lists": (lambda: _features(modalities={"a": [[1.0]]}), "`modalities.*got list"),
    "a set of NaN": (lambda: _features(modalities={"a": WAYS * NAN}), "finite, got nan"),
    "rows that differ": (lambda: _features(modalities={"a": WAYS, "b": WAYS[:2]}), "'b': 2"),
    "a class beyond the names": (
        lambda: _features(target=torch.arange(4), class_names=("x",)),
        "`target`.*got 0 to 3",
    ),
    "a split beyond the rows": (
        lambda: _features(splits={"train": torch.tensor([4])}),
        "`splits.'train'.`.*got 4",
    ),
    "a row in two splits": (
        lambda: _features(splits={"train": torch.arange(4), "test": torch.arange(1)}),
        "must not share samples",
    ),
    "a set unheard of": (lambda: pf.data.open_set("mnist"), "'mnist' is no known set"),
    "an option unheard of": (lambda: pf.data.open_set("index:bit=8"), "got 'bit=8'"),
    "an option of text": (lambda: pf.data.open_set("index:bits=many"), "got 'many'"),
    "a set of no samples": (lambda: pf.data.open_set("interaction:samples=0"), "`samples`.*got 0"),
    "no epochs": (lambda: Recipe(epochs=0), "`epochs`.*got 0"),
    "a rate that is NaN": (lambda: Recipe(learning_rate=NAN), "`learning_rate`.*got nan"),
    "all dropped": (lambda: Recipe(input_dropout=1), "`input_dropout`.*got 1"),
    "an entry unheard of": (lambda: Recipe.from_json({"epoch": 3}), "'epoch'; did you mean"),
    "a recipe that is a list": (lambda: Recipe.from_json([3]), r"must be an object.*got \[3\]"),
    "weights that are text": (lambda: Recipe(loss_weights={"a": "1"}), "loss_weights.*got '1'"),
    "a model unheard of": (lambda: FusionModel.build(tiny("classes"), "moe"), "'moe'"),
    "a model's option": (lambda: FusionModel.build(tiny("classes"), "pnp:salt=1"), "salt"),
    "a model of one modality": (lambda: FusionModel.build(tiny("classes"), "only:c"), "'only:c'"),
    "a config without a task": (
        lambda: ModelConfig.from_json({"model": "pnp"}),
        "must have.*'task'",
    ),
    "nothing to learn": (
        lambda: _train(data=pf.data.Features("few", {"a": torch.ones(4, 5)})),
        "'few' has",
    ),
    "a model for other data": (lambda: _train(data=tiny("numbers", 12)), "`model`|task|numbers"),
    "a class without a weight": (lambda: _train(class_weights=(1.0,)), "class_weights"),
    "a seed that is text": (lambda: _train(seed="0"), "`seed`.*got '0'"),
    "labels of another length": (
        lambda: pf.FusionClassifier().fit({"a": np.ones((4, 3))}, [0, 1]),
        "4.*2|2.*4",
    ),
    "features that are text": (
        lambda: pf.FusionClassifier().fit({"a": [["x"]]}, [0]),
        "'a'|`X`",
    ),
    "a state in another grid's ledger": (lambda: blocking_cell(8).energy(ONES), r"\(2, 16\)"),
}
ALL = {**CELLS, **VERBS, **LEARNING}
