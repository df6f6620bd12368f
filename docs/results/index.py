"""INDEX: models with the encoders of the task, beside what no late fusion can exceed."""

from __future__ import annotations

import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import pnpfusion as pf
from benchmarks.index_task import WIDTH, accuracy, late, progressive, silent, train
from docs.results.plans import FUSED, Size
from pnpfusion.comparison import Cell, Interval, mean_interval
from pnpfusion.comparison.records import CELLS, Task, read_record, write_record
from pnpfusion.data import IndexTask
from pnpfusion.solvers.fixed_point.base import ConvergenceWarning
from pnpfusion.training import MODELS

TASK = IndexTask(bits=8)
RATE, BATCH = 5e-3, 256


def feedback_around_pnp() -> nn.Module:
    """Two rounds of the task's encoders with the PNP layer as what fuses."""
    return pf.fusion.Progressive.around(
        TASK.encoders(),
        pf.fusion.PNP(TASK.dims, WIDTH),
        width=WIDTH,
        at={"bits": "0", "index": "0"},
        rounds=2,
    )


#: Models that run the task's own encoders: made by, and the bound that holds.
AROUND: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "feedback, R = 1": (lambda: progressive(TASK, 1), TASK.bound()),
    "feedback, R = 2, silenced": (lambda: silent(TASK, 2), TASK.bound()),
    "feedback, R = 2": (lambda: progressive(TASK, 2), 1.0),
    "feedback, R = 3": (lambda: progressive(TASK, 3), 1.0),
    "feedback around PNP, R = 2": (feedback_around_pnp, 1.0),
}


@dataclass(frozen=True)
class IndexRow:
    """A model on INDEX."""

    model: str
    bound: float  #: that no training can exceed; 1 for an encoder that is told the index
    accuracy: Interval
    highest: float  #: of all seeds
    parameters: int
    seconds: float  #: of training, the processor's


def made(model: str) -> nn.Module:
    """A new model of this name."""
    return AROUND[model][0]() if model in AROUND else late(TASK, MODELS[model])


def tasks(size: Size) -> list[Task]:
    """All there is to do, with what it depends on."""
    found = []
    for model in size.index_models or (*FUSED, *AROUND):
        for seed in size.seeds:
            identity: dict[str, Any] = {
                "version": pf.__version__,
                "model": model,
                "seed": seed,
                "bits": TASK.bits,
                "sigma": TASK.sigma,
                "steps": size.index_steps,
                "samples": size.index_samples,
                "rate": RATE,
                "batch": BATCH,
            }
            found.append(Task(Cell("index", 0, model, 0, seed), identity))
    return found


def measure(task: Task, steps: int, samples: int) -> dict[str, Any]:
    """Train the model of a task and judge it."""
    torch.set_num_threads(1)
    torch.manual_seed(task.cell.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        layer = made(task.cell.model)
        begun = time.process_time()
        model = train(layer, TASK, steps=steps, rate=RATE, batch=BATCH, seed=task.cell.seed)
        seconds = time.process_time() - begun
        found = accuracy(model, TASK, samples)
    size = sum(weight.numel() for weight in model.parameters())
    return {"accuracy": found, "parameters": size, "seconds": seconds}


def compare(size: Size, folder: Path, workers: int) -> list[IndexRow]:
    """Do what the folder does not have, and say what all of it says."""
    (folder / CELLS).mkdir(parents=True, exist_ok=True)
    everything = tasks(size)
    todo = [task for task in everything if read_record(folder, task) is None]
    if todo and workers > 1:
        spawned = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawned) as pool:
            given = [size.index_steps] * len(todo), [size.index_samples] * len(todo)
            for task, new in zip(todo, pool.map(measure, todo, *given), strict=True):
                write_record(folder, task, new)
    else:
        for task in todo:
            write_record(folder, task, measure(task, size.index_steps, size.index_samples))
    rows = []
    for model in dict.fromkeys(task.cell.model for task in everything):
        own = [task for task in everything if task.cell.model == model]
        records = [found for task in own if (found := read_record(folder, task)) is not None]
        right = [one["accuracy"] for one in records]
        rows.append(
            IndexRow(
                model,
                AROUND[model][1] if model in AROUND else TASK.bound(),
                mean_interval(right),
                max(right),
                records[0]["parameters"],
                statistics.median(one["seconds"] for one in records),
            )
        )
    return rows
