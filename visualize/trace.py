"""What a picture shows of a run: plain arrays on the processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pnpfusion.dynamics.pnp import PNP
from pnpfusion.dynamics.species import Species
from pnpfusion.solution import Solution
from pnpfusion.solvers.boundary import Wall
from pnpfusion.visualize.clock import Clock
from pnpfusion.visualize.samples import Sample, chosen, who
from pnpfusion.visualize.style import number

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trace:
    """One sample of a run, or the mean of its batch, with T times, S species and N cells."""

    x: Array  #: cell centres, (N,), in L
    faces: Array  #: cell edges, (N + 1,), in L
    times: Array  #: (T,), in L²/D
    c: Array  #: concentrations, (T, S, N), in c_ref
    phi: Array  #: potential, (T, N), in kT/e
    rho: Array  #: charge density with the fixed charge, (T, N), in F c_ref
    good: int  #: how many times, from the first, hold concentrations rather than a blow-up
    species: tuple[Species, ...]
    walls: dict[str, float]  #: potential of each electrode by side, in kT/e
    periodic: bool
    open: bool  #: whether something crosses a wall: a reservoir, or an inflow
    clock: Clock  #: what the times are
    samples: npt.NDArray[np.int_]  #: those shown, indices into the flattened batch
    who: str  #: "sample 3 of 64", "mean of 64 samples"; empty without a batch
    trouble: str  #: what went wrong, a sentence; empty if nothing did
    outcome: str  #: how the run ended and what to do, a sentence

    @property
    def names(self) -> list[str]:
        """The species' names."""
        return [one.name for one in self.species]

    @property
    def failed(self) -> bool:
        """Whether the run blew up before its last time."""
        return self.good < len(self.times)

    @property
    def last(self) -> int:
        """The index of the time to end with: the last, or the first that is no solution."""
        return min(self.good, len(self.times) - 1)

    @property
    def until_failure(self) -> Trace:
        """The part before the failure, if there was one."""
        good = slice(self.good)
        return replace(
            self, times=self.times[good], c=self.c[good], phi=self.phi[good], rho=self.rho[good]
        )

    @property
    def changes(self) -> Array:
        """How much happened up to each time before a failure, (good,), from 0 to 1."""
        steps = np.abs(np.diff(self.c[: self.good], axis=0)).mean((1, 2))
        total = np.concatenate([[0.0], steps.cumsum()])
        return total / max(float(total[-1]), 1e-300)

    @property
    def early(self) -> bool:
        """Whether half of it happens in the first tenth of the time, which starts at 0."""
        times = self.times[: self.good]
        half = float(times[int(np.searchsorted(self.changes, 0.5).clip(0, len(times) - 1))])
        return len(times) > 4 and times[0] == 0 and half < 0.1 * times[-1]

    def mean(self, values: Array) -> Array:
        """The mean over space of ``(..., N)``, whatever the cell widths."""
        widths = np.diff(self.faces)
        return np.asarray((values * widths).sum(-1) / widths.sum())


def pnp_law(solution: Solution, name: str = "`solution`") -> PNP:
    """The law of the run, which messages call ``name``.

    Raises:
        TypeError: it is no run.
        ValueError: it is no PNP cell of one axis.
    """
    if not isinstance(solution, Solution):
        got = type(solution).__name__
        raise TypeError(f"{name} must be a Solution, got {got}; files are read by `pf.load`.")
    law = solution.dynamics
    if not isinstance(law, PNP):
        got = "no law" if law is None else type(law).__name__
        raise ValueError(
            f"{name} must be a run of a pnpfusion.PNP cell, got {got}; draw runs of "
            "other laws with `plot_path` and `plot_residuals`."
        )
    if law.grid.ndim != 1:
        raise ValueError(
            f"{name} must have one axis of space, got a grid of shape {law.grid.shape}; make the "
            f"cell on one axis, such as `Grid(({law.grid.shape[0]},), (1.0,), ('wall',))`."
        )
    return law


#: What :func:`fields_of` found, as long as somebody holds the run: each picture asks for it again.
_FOUND: WeakKeyDictionary[Solution, tuple[Array, Array, Array]] = WeakKeyDictionary()


def fields_of(solution: Solution) -> tuple[Array, Array, Array]:
    """Concentrations (T, B, S, N), potential and charge density (T, B, N), the batch made one."""
    if solution not in _FOUND:
        _FOUND[solution] = _find_fields(solution)
    return _FOUND[solution]


def _find_fields(solution: Solution) -> tuple[Array, Array, Array]:
    law = pnp_law(solution)
    with torch.no_grad():
        c = solution.states.detach().double()
        moments = [*zip(c, moments_of(solution).to(c), strict=True)]
        phi = torch.stack([law.potential(one, solution.x, t=t) for one, t in moments])
        rho = torch.stack([law.charge(one, solution.x, t=t) for one, t in moments])
    cells = c.shape[-1]
    return (
        _array(c.reshape(len(c), -1, *c.shape[-2:])),
        _array(phi.reshape(len(c), -1, cells)),
        _array(rho.reshape(len(c), -1, cells)),
    )


def moments_of(solution: Solution) -> Tensor:
    """The time of the law at each saved state, ``(T,)``: 0 in rounds and in search of rest."""
    return solution.times if Clock.of(solution).kind == "time" else torch.zeros_like(solution.times)


def trace(solution: Solution, sample: Sample = 0) -> Trace:
    """What a picture shows of ``sample`` (see :data:`Sample`).

    A mean is over the samples that have an answer, if any has.

    Raises:
        ValueError: the run is none of a PNP cell, or the batch has no such sample.
    """
    law = pnp_law(solution)
    succeeded = solution.succeeded.detach().cpu().reshape(-1).numpy()
    batch = tuple(solution.succeeded.shape)
    samples = chosen(batch, sample)
    c, phi, rho = fields_of(solution)
    fine = believable(c)
    answered = samples[(succeeded & fine[-1])[samples]]
    samples = answered if len(answered) else samples
    with np.errstate(all="ignore"):  # a blow-up may overflow
        c, phi, rho = (values[:, samples].mean(1) for values in (c, phi, rho))
    good = int(fine[:, samples].all(1).sum())
    times, clock = _array(solution.times), Clock.of(solution)
    trouble = ""
    if good < len(times):
        trouble = f"Failed {clock.by(times[good])}: {_what_broke(c[good], law)}"
    elif not succeeded[samples].all():
        ended = (
            "Failed to come to rest" if clock.kind == "rest" else f"Stopped at t = {times[-1]:.3g}"
        )
        trouble = f"{ended}: {solution.outcome.value}"
    return Trace(
        x=_array(law.grid.coordinates(0)),
        faces=_array(law.grid.faces(0)),
        times=times,
        c=c,
        phi=phi,
        rho=rho,
        good=good,
        species=law.species,
        walls=wall_potentials(law, solution, samples),
        periodic=law.grid.boundaries[0] == "periodic",
        open=any(one.concentration or one.flux for side in law.walls for one in _walls(law, side)),
        clock=clock,
        samples=samples,
        who=who(batch, sample, len(samples)),
        trouble=trouble,
        outcome=advice(solution, failed=good < len(times)),
    )


def advice(solution: Solution, *, failed: bool) -> str:
    """How a run ended and what to do, a sentence."""
    if failed and solution.outcome.is_success:
        return (
            "concentrations fell below zero while the values stayed finite; use smaller steps "
            "or an implicit stepper"
        )
    return solution.outcome.value


def believable(c: Array) -> npt.NDArray[np.bool_]:
    """Whether (T, B, S, N) is a solution up to each time, (T, B).

    It ends where a value is not finite, or negative by more than a tenth of the mean at the start.
    """
    with np.errstate(all="ignore"):
        lowest = np.where(np.isfinite(c).all((2, 3)), c.min((2, 3)), -np.inf)
    fine = np.logical_and.accumulate(lowest >= -0.1 * c[0].mean((1, 2)), axis=0)
    fine[0] = True
    return np.asarray(fine)


def _what_broke(c: Array, law: PNP) -> str:
    if not np.isfinite(c).all():
        return "the state is no longer finite"
    low = c.min(-1)
    return f"{law.names[int(low.argmin())]} is at {number(float(low.min()))}, below zero"


def wall_potentials(
    law: PNP, solution: Solution, samples: npt.NDArray[np.int_]
) -> dict[str, float]:
    """The potential of each electrode that is held at a number, the mean of ``samples``."""
    given = solution.x if isinstance(solution.x, Mapping) else {}
    batch = solution.succeeded.shape
    found = {}
    for side, wall in law.walls.items():
        own = wall.potential if isinstance(wall, Wall) else None
        value = given.get(f"potential:{side}", own)
        if value is not None and not callable(value):
            tensor = torch.as_tensor(value).detach().double().cpu()
            found[side] = float(_array(tensor.expand(batch).reshape(-1))[samples].mean())
    return found


def is_reservoir(law: PNP, side: str) -> bool:
    """Whether a species is held at this wall."""
    return any(wall.concentration for wall in _walls(law, side))


def _walls(law: PNP, side: str) -> Sequence[Wall]:
    given = law.walls.get(side, ())
    return [given] if isinstance(given, Wall) else given


def _array(values: Tensor) -> Array:
    return values.detach().double().cpu().numpy()
