"""Ten thousand steps in one process: neither memory nor the number of live tensors may rise.

``python -m tests.torture.soak --count 10000``; one kind alone: ``--case training:deq``. Memory is
what is resident (RSS), looked at a hundred times; the first fifth of the steps warms up.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.dynamics.input import Input
from pnpfusion.solvers import RK4, BackwardEuler
from tests.registry import blocking_cell, f64
from tests.tiny_sets import tiny
from tests.torture.report import Report

MEGABYTE = 1e6
#: What memory may grow by after the warm-up: for what comes once, and for 1000 steps.
ONCE, RATE = 4.0, 0.2


class Watch:
    """Memory and live tensors as steps go by."""

    def __init__(self, steps: int) -> None:
        self.steps, self.count, self.every = steps, 0, max(1, steps // 100)
        self.resident: list[float] = []  # in megabytes
        self.tensors: list[int] = []

    def step(self) -> None:
        """One more step is done."""
        self.count += 1
        if self.count % self.every:
            return
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        self.resident.append(pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE)
        if self.count % (10 * self.every) == 0:
            gc.collect()
            self.tensors.append(sum(issubclass(type(one), Tensor) for one in gc.get_objects()))

    @property
    def growth(self) -> float:
        """Megabytes from the end of the warm-up to the end, by medians of a tenth each."""
        after, tenth = len(self.resident) // 5, max(1, len(self.resident) // 10)
        return median(self.resident[-tenth:]) - median(self.resident[after : after + tenth])

    def broken(self) -> str:
        """What is wrong, in words; empty where all is well."""
        if self.count < self.steps:
            return f"{self.count} of {self.steps} steps were taken"
        allowed = ONCE + RATE * self.steps / 1000
        if self.growth > allowed:
            return f"memory grew by {self.growth:.1f} MB, above {allowed:.1f}"
        if self.tensors[-1] > self.tensors[2] + 2:
            return f"live tensors grew from {self.tensors[2]} to {self.tensors[-1]}"
        return ""


def training(model: str, watch: Watch, seed: int) -> None:
    """Steps of one training; its history, a row an epoch, is kept on purpose."""
    data = tiny("classes", 1024, seed=seed)  # half of them to learn from: 32 steps an epoch
    recipe = pf.training.Recipe(epochs=-(-watch.steps // 32), batch=16, patience=None, seed=seed)
    learner = pf.training.FusionModel.build(data, model, seed=seed, hidden=8, width=8)
    learner.head.register_forward_hook(
        lambda module, given, made: watch.step() if module.training else None
    )
    pf.training.train(learner, data, recipe)


def calls(watch: Watch, seed: int) -> None:
    """Runs of other cells and other batches each time, every third with its gradient."""
    draw = torch.Generator().manual_seed(seed)
    times = torch.tensor([0.0, 0.01], dtype=f64)
    kept = blocking_cell(8)
    for number in range(watch.steps):
        voltage = torch.rand((), dtype=f64, generator=draw).requires_grad_(number % 3 == 0)
        cell = kept if number % 3 == 1 else blocking_cell(8, voltage=voltage)
        c0 = 0.5 + torch.rand(1, 2, 8, dtype=f64, generator=draw)
        run = pf.simulate(cell, c0.expand(1 + number % 3, 2, 8), times, rtol=1e-3)
        if number % 3 == 0:
            run.final.square().sum().backward()
        watch.step()


def rests(watch: Watch, seed: int) -> None:
    """States of rest, each with its gradient."""
    draw = torch.Generator().manual_seed(seed)
    for _ in range(watch.steps):
        voltage = torch.rand(2, dtype=f64, generator=draw).requires_grad_()
        c0 = torch.ones(2, 2, 8, dtype=f64)
        pf.equilibrium(blocking_cell(8, voltage=voltage), c0).final.square().sum().backward()
        watch.step()


def one_run(watch: Watch, seed: int) -> None:
    """One run of a cell by implicit steps of a given size, its electrodes asked at each."""

    def potential(t: Tensor) -> Tensor:
        now = float(t.flatten()[0])
        if now not in (asked[-1], 1.0):  # each step asks more than once, and checks ask for the end
            asked[-1] = now
            watch.step()
        return torch.sin(20 * t)

    asked = [0.0]
    cell = pf.PNP(
        pf.Grid((8,), (1.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=0.1,
        walls={"x-": pf.Wall(potential=potential), "x+": pf.Wall(potential=0.0)},
    )
    times = torch.tensor([0.0, 1.0], dtype=f64)
    stepper = BackwardEuler(dt=1 / (watch.steps + 1))
    pf.simulate(cell, torch.ones(2, 8, dtype=f64), times, stepper=stepper).require_success()


class Watched(pf.Dynamics):
    """A law of which only the rate is known: decay."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch, self.calls = watch, 0

    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        """Towards zero."""
        self.calls += 1
        if self.calls % 4 == 0:  # four a step
            self.watch.step()
        return -u


def one_explicit_run(watch: Watch, seed: int) -> None:
    """One run of a law of which only the rate is known."""
    times = torch.tensor([0.0, 1.0], dtype=f64)
    u0 = torch.ones(64, dtype=f64)
    pf.simulate(Watched(watch), u0, times, stepper=RK4(dt=1 / watch.steps)).require_success()


SOAKS: dict[str, Callable[[Watch, int], None]] = {
    **{
        f"training:{name}": partial(training, name) for name in ("pnp", "deq", "gmf", "progressive")
    },
    "calls": calls,
    "rests": rests,
    "run": one_run,
    "explicit-run": one_explicit_run,
}


def soak(report: Report, name: str, steps: int) -> None:
    """One kind of work, over and over."""
    watch, begun = Watch(steps), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SOAKS[name](watch, report.seed)
    broken = watch.broken()
    if broken:
        report.failed(name, broken)
        return
    report.passed()
    print(
        f"{name}: {watch.count} steps in {time.process_time() - begun:.0f} s of processor time, "
        f"memory {watch.resident[-1]:.0f} MB, {watch.growth:+.2f} MB since the warm-up, live "
        f"tensors {watch.tensors[2]} to {watch.tensors[-1]}",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> int:
    """Soak; 1 where memory grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.soak", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="steps of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of what is random")
    parser.add_argument("--case", choices=[*SOAKS], help="this kind alone")
    told = parser.parse_args(arguments)
    report = Report("soak", told.seed)
    for name in SOAKS if told.case is None else [told.case]:
        soak(report, name, told.count)
    return report.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
