"""How long it takes: a few steps of every model on every set, timed, times what there is to do."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, replace

from benchmarks.index_task import accuracy
from benchmarks.index_task import train as train_index
from docs.results.ablations import plans as plans_of
from docs.results.index import BATCH, RATE, TASK, made, tasks
from docs.results.plans import Size
from pnpfusion.comparison import Cell, Plan
from pnpfusion.comparison.baselines import baseline_of
from pnpfusion.comparison.measure import REPEATS, measure, opened, splits_of
from pnpfusion.comparison.runner import facts_of
from pnpfusion.training import FusionModel, predict, train

STEPS, EPOCHS = 2, 2


@dataclass(frozen=True)
class Cost:
    """Of a model on a set."""

    model: str
    cells: int
    seconds: float  #: of the processor, for all of its cells, at most


def costs(plan: Plan) -> list[Cost]:
    """Of every model of a plan of one set; early stopping makes it less."""
    facts = facts_of(plan)
    cells = plan.cells(facts)
    found = []
    for model in dict.fromkeys(cell.model for cell in cells):
        own = [cell for cell in cells if cell.model == model]
        if baseline_of(model, facts[own[0].data].dims) is not None:
            begun = time.process_time()
            measure(plan, own[0])
            each = time.process_time() - begun
        else:
            each = _training(plan, own[0])
        found.append(Cost(model, len(own), each * len(own)))
    return found


def of_ablations(size: Size) -> list[Cost]:
    """The same for all ablations."""
    return [cost for plan in plans_of(size) for cost in costs(plan)]


def of_index(size: Size) -> list[Cost]:
    """Of every model on INDEX."""
    found = []
    own = tasks(size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in dict.fromkeys(task.cell.model for task in own):
            cells = sum(task.cell.model == model for task in own)
            for _ in range(2):  # the first may compile
                begun = time.process_time()
                fitted = train_index(made(model), TASK, steps=STEPS, rate=RATE, batch=BATCH, seed=0)
                spent = (time.process_time() - begun) / STEPS
            begun = time.process_time()
            accuracy(fitted, TASK, size.index_samples // 20)
            judged = 20 * (time.process_time() - begun)
            found.append(Cost(model, cells, cells * (size.index_steps * spent + judged)))
    return found


def _training(plan: Plan, cell: Cell) -> float:
    """Of one training with all that it is judged by."""
    data = splits_of(plan, cell, opened(cell.data))
    rows = data.splits["train"]
    recipe, sizes = plan.varied(cell.variation)
    few = replace(
        data, splits={"train": rows[: STEPS * recipe.batch], "valid": data.splits["valid"]}
    )
    short = replace(recipe, epochs=EPOCHS, patience=None)
    looks = len(plan.noise) * (len(data.dims) + 1) + len(data.dims) + 2 + REPEATS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):  # the first may compile
            model = FusionModel.build(few, cell.model, seed=0, **sizes)
            begun = time.process_time()
            train(model, few, short)
            spent = time.process_time() - begun
        begun = time.process_time()
        predict(model, data.split("test"))
        judged = looks * (time.process_time() - begun)
    steps = EPOCHS * max(1, math.ceil(len(few.splits["train"]) / recipe.batch))
    return spent / steps * recipe.epochs * math.ceil(len(rows) / recipe.batch) + judged
