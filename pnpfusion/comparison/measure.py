"""What one cell of a comparison finds out: train, and judge by samples that were not seen."""

from __future__ import annotations

import math
import statistics
import time
import warnings
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from pnpfusion.comparison.baselines import baseline_of, fit_baseline
from pnpfusion.comparison.contestant import Contestant
from pnpfusion.comparison.plan import Cell, Plan
from pnpfusion.data.feature_set import Features, target_of
from pnpfusion.data.scales import FeatureScales
from pnpfusion.data.sets import open_set
from pnpfusion.data.splits import folds_of_blocks, holdout
from pnpfusion.data.task import outputs_of, task_of
from pnpfusion.solvers.fixed_point.base import ConvergenceWarning
from pnpfusion.training.evaluate import predict
from pnpfusion.training.health import HealthWarning
from pnpfusion.training.loop import train
from pnpfusion.training.model import FusionModel
from pnpfusion.training.noise import noised
from pnpfusion.training.objectives import Objective, objective_of
from pnpfusion.training.operations import operations
from pnpfusion.training.randomness import drawn_by

REPEATS = 7  #: of the timed inference
#: Metrics that ask how sure a model is.
OF_SURE = ("loss", "brier", "calibration_error")

opened = lru_cache(maxsize=4)(open_set)  #: sets, which the next cell is likely to want again


def splits_of(plan: Plan, cell: Cell, data: Features) -> Features:
    """The set with the splits of a cell: the same for every model.

    Raises:
        ValueError: it cannot be cut so.
    """
    (one,) = (one for one in plan.sets if one.data == cell.data)
    if one.parts > 1:
        rest, judged = folds_of_blocks(target_of(data), one.parts)[cell.fold]
        data = replace(data, splits={"train": rest, "test": judged})
    draw = drawn_by("splits", cell.seed, cell.fold)
    return holdout(data, plan.valid, plan.test, generator=draw)


def measure(plan: Plan, cell: Cell) -> dict[str, Any]:
    """Train or fit the model of a cell, and judge it; a record that JSON can hold.

    Times are of the processor: others may be at work on the machine.

    Raises:
        ValueError: the set and the model do not fit.
        TrainingError: the training failed.
    """
    data = splits_of(plan, cell, opened(cell.data))
    learned, test = data.split("train"), data.split("test")
    objective = _objective(learned)
    begun = time.process_time()
    contestant = _contestant(plan, cell, data, objective)
    seconds = time.process_time() - begun
    judge = _Judge(contestant, objective)
    spreads = FeatureScales.of(learned).deviations
    found: dict[str, Any] = {
        "score": objective.score,
        "samples": {name: len(rows) for name, rows in data.splits.items()},
        "valid": judge.metrics(data.split("valid")),
        "test": judge.metrics(test),
        "parameters": contestant.parameters,
        **contestant.told,
    }
    if contestant.operations is not None:
        found["operations"] = contestant.operations(test)
    clean = found["test"][objective.score]
    if len(data.dims) > 1:
        left = {name: test.rows_without([name]) for name in data.dims}
        able = {name: rows for name, rows in left.items() if len(rows)}
        found["without"] = {name: judge.metrics(test.without([name])) for name in able}
        found["beside"] = {  # with it, where the samples are others than all
            name: judge.metrics(test.samples(rows))
            for name, rows in able.items()
            if len(rows) < len(test)
        }
        if lone := [name for name in data.dims if name not in able]:
            found["nobody_without"] = lone
        groups = {"all": [*data.dims], **{name: [name] for name in data.dims}}
    else:
        groups = {"all": [*data.dims]}
    seed = 1000 * cell.seed + cell.fold
    found["noise"] = {
        group: [
            clean,
            *(
                judge.metrics(noised(test, spreads, level, names, seed=seed))[objective.score]
                for level in plan.noise
            ),
        ]
        for group, names in groups.items()
    }
    found["times"] = {"training_seconds": seconds, "ms_per_sample": judge.milliseconds(test)}
    return found


class _Judge:
    def __init__(self, contestant: Contestant, objective: Objective) -> None:
        self.contestant, self.objective = contestant, objective

    def metrics(self, data: Features) -> dict[str, float]:
        told = self.contestant.outputs(data)
        found = self.objective.metrics(told, target_of(data))
        if not self.contestant.is_sure and data.task != "numbers":
            found = {name: value for name, value in found.items() if name not in OF_SURE}
        for name, value in found.items():
            if not math.isfinite(value):
                raise ValueError(f"the metric {name!r} is {value}")
        return found

    def milliseconds(self, data: Features) -> float:
        """Of inference, for each sample of all test samples together: the median."""
        spent = []
        for _ in range(REPEATS):
            begun = time.process_time()
            self.contestant.outputs(data)
            spent.append(time.process_time() - begun)
        return 1000 * statistics.median(spent) / len(data)


def _contestant(plan: Plan, cell: Cell, data: Features, objective: Objective) -> Contestant:
    asked = baseline_of(cell.model, data.dims)
    if asked is not None:
        return fit_baseline(asked, data, objective)
    recipe, sizes = plan.varied(cell.variation)
    model = FusionModel.build(data, cell.model, seed=cell.seed, **sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HealthWarning)  # what it warns of is in the record
        trained = train(model, data, replace(recipe, seed=cell.seed))
    health = trained.history[trained.best_epoch - 1]["health"]

    def outputs(data: Features) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return predict(model, data).cpu()

    return Contestant(
        outputs,
        sum(one.numel() for one in model.parameters()),
        {
            "epochs": len(trained.history),
            "best_epoch": trained.best_epoch,
            "health": {
                name: health[f"valid_{name}"]
                for name in ("iterations", "unconverged")
                if f"valid_{name}" in health
            },
        },
        operations=partial(operations, model),
    )


def _objective(learned: Features) -> Objective:
    """How answers are judged."""
    target = target_of(learned)
    spread = target.reshape(len(learned), -1).double().std(0, correction=0)
    outputs = outputs_of(target, learned.class_names)
    return objective_of(task_of(target), outputs, torch.where(spread > 0, spread, 1))
