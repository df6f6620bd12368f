"""What one run of pnpfusion costs at a given size: processor time, with a gradient too, or memory.

usage: python -m benchmarks.suite.cost '{"curve": "line", "size": 1024, "mode": "forward"}'

The curves are those of :mod:`benchmarks.suite.curves`; the mode is forward (of one law, again and
again), anew (of a law made for the run, as where its parameters have moved), gradient (likewise,
and its gradient in the start, the permittivity and the wall's potential) or memory (of the forward
run; in a process that has run nothing else but a small one of the same kind).
"""

from __future__ import annotations

import ctypes
import gc
import math
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks.memory import resident
from benchmarks.peers.problems import P2, P3, P4, Box
from benchmarks.peers.serve import answer_lines
from benchmarks.script import significant
from benchmarks.suite.ours import unit_box
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers import ETDRK4, AsymptoticPreserving, Stepper

F64 = torch.float64
IONS = (pf.Species("cation", +1), pf.Species("anion", -1))
STEPS = 5  #: of runs with equal steps


class Job:
    """One run: a law, a start, an end and how it is stepped."""

    def __init__(
        self,
        grid: pf.Grid,
        start: Tensor,
        permittivity: Tensor,
        end: float,
        *,
        voltage: Tensor | None = None,
        species: tuple[pf.Species, ...] = IONS,
        stepper: Stepper | None = None,
        scheme: str = "scharfetter-gummel",
    ) -> None:
        self.grid, self.start, self.permittivity, self.voltage = grid, start, permittivity, voltage
        self.species, self.stepper, self.scheme = species, stepper, scheme
        self.times = torch.tensor([0.0, end], dtype=F64)
        self.law = self.make(permittivity, voltage)

    def make(self, permittivity: Tensor, voltage: Tensor | None) -> pf.PNP:
        """The law with these parameters."""
        walls = {}
        if voltage is not None:
            walls = {"x-": pf.Wall(potential=-voltage), "x+": pf.Wall(potential=voltage)}
        return pf.PNP(
            self.grid,
            self.species,
            permittivity=permittivity,
            walls=walls,
            scheme=self.scheme,  # type: ignore[arg-type]
        )

    def run(self, law: pf.PNP, start: Tensor) -> pf.Solution:
        """Through the public verb."""
        rtol = 1e-3 if self.stepper is None else None
        found = pf.simulate(law, start, self.times, stepper=self.stepper, rtol=rtol)
        return found.require_success()

    def forward(self) -> pf.Solution:
        """Without a gradient."""
        return self.run(self.law, self.start)

    def anew(self) -> pf.Solution:
        """Without a gradient, by a law of its own."""
        law, start, _ = self.copied()
        return self.run(law, start)

    def gradient(self) -> pf.Solution:
        """The same, and the gradient of a number that depends on all of its end."""
        law, start, given = self.copied(followed=True)
        found = self.run(law, start)
        torch.autograd.grad(found.final.square().sum(), [start, *given])
        return found

    def copied(self, *, followed: bool = False) -> tuple[pf.PNP, Tensor, list[Tensor]]:
        """A law of copies, the start and these copies."""
        voltage = [] if self.voltage is None else [self.voltage]
        start, *given = (
            values.clone().requires_grad_(followed)
            for values in (self.start, self.permittivity, *voltage)
        )
        return self.make(given[0], given[1] if voltage else None), start, given


def blocking(cells: int, batch: int, species: int = 2) -> Job:
    """Blocking cells on [0, 2] with the voltages and Debye lengths of P3, to t = .5."""
    signs = [(-1) ** k for k in range(species)]
    share = torch.arange(batch) % len(P3.debye)
    debye, voltage = (torch.from_numpy(a)[share] for a in (P3.debye, P3.voltage))
    valences = [sign * (1 + k // 4) for k, sign in enumerate(signs)]
    ions = tuple(
        pf.Species(f"ion {k}", valence, diffusivity=1 / (1 + 0.2 * k))
        for k, valence in enumerate(valences)
    )
    neutral = [1 / (abs(z) * signs.count(sign)) for z, sign in zip(valences, signs, strict=True)]
    start = torch.tensor(neutral, dtype=F64)[:, None].expand(batch, species, cells).clone()
    grid = pf.Grid((cells,), (2.0,), ("wall",))
    return Job(grid, start, 2 * debye**2, P3.end, voltage=voltage, species=ions)


def boxed(box: Box, cells: int, scheme: str) -> Job:
    """P2 or P4 on another grid, through a few equal steps."""
    grid = unit_box(cells, len(box.plus))
    end = 0.25 * box.end
    kind = ETDRK4 if scheme == "spectral" else AsymptoticPreserving
    return Job(
        grid,
        torch.from_numpy(box.start_on(cells)),
        torch.tensor(box.permittivity, dtype=F64),
        end,
        stepper=kind(dt=end / STEPS),
        scheme=scheme,
    )


JOBS: dict[str, Callable[[int], Job]] = {
    "line": lambda n: blocking(n, 1),
    "batch": lambda n: blocking(128, n),
    "species": lambda n: blocking(128, 16, n),
    "square, series": lambda n: boxed(P2, n, "spectral"),
    "cube, series": lambda n: boxed(P4, n, "spectral"),
    "square, volumes": lambda n: boxed(P2, n, "scharfetter-gummel"),
    "cube, volumes": lambda n: boxed(P4, n, "scharfetter-gummel"),
}
WARMED: set[tuple[str, int, str]] = set()  #: what has run in this process
WARM = {"line": 64, "batch": 2, "species": 2}  #: the size of the run that warms up; 16 of boxes


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the module says."""
    curve, size, mode = request["curve"], request["size"], request.get("mode", "forward")
    if mode == "memory":
        return memory(curve, size)
    job = JOBS[curve](size)
    work = {"forward": job.forward, "anew": job.anew, "gradient": job.gradient}[mode]
    if (curve, size, mode) not in WARMED:
        WARMED.add((curve, size, mode))
        work()
    seconds: list[float] = []
    repeat, budget = request.get("repeat", 1), request.get("budget", math.inf)
    while len(seconds) < repeat and sum(seconds) < budget:
        begin = time.process_time()
        found = work()
        seconds.append(time.process_time() - begin)
    return {
        "seconds": [significant(taken) for taken in seconds],
        "unknowns": job.start.numel(),
        "iterations": int(found.work.iterations.sum()),
        "steps": int(found.work.steps.sum()),
    }


def memory(curve: str, size: int) -> dict[str, Any]:
    """How far the resident memory rises above where the run begins, in copies of the state.

    The saved states (the start and the end) are subtracted.
    """
    JOBS[curve](WARM.get(curve, 16)).forward()
    job = JOBS[curve](size)
    state = job.start.numel() * job.start.element_size()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    before = resident("VmRSS")
    found = job.forward()
    grown = resident() - before
    saved = found.states.numel() * found.states.element_size()
    return {
        "state_bytes": state,
        "peak_bytes": grown,
        "copies_beyond_saved": significant((grown - saved) / state, 3),
    }


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        print("memory is measured on Linux only", file=sys.stderr)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ResolutionWarning)  # coarse cells are measured too
    answer_lines(f"pnpfusion {pf.__version__}", answer)
