"""The balance of a run as arrays, and what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pnpfusion.solution import Solution
from pnpfusion.visualize.clock import Clock
from pnpfusion.visualize.samples import name_of
from pnpfusion.visualize.style import number
from pnpfusion.visualize.trace import Array, advice, believable, pnp_law


@dataclass(frozen=True, eq=False)
class Books:
    """A ledger with T times and B samples; NaN from a sample's failure on."""

    times: Array  #: (T,)
    species: tuple[str, ...]
    closed: tuple[bool, ...]  #: per species, whether no wall lets it through
    mass_error: Array  #: relative change of each mass, (T, B, S)
    charge: Array  #: net charge by the charge of all ions at the start, (T, B)
    energy: Array  #: (T, B)
    smallest: Array  #: (T, B)
    failure: float | None  #: when the first sample was seen to fail
    failed: int  #: how many did
    outcome: str
    exact: bool  #: whether the run was in float64
    clock: Clock  #: what the times are
    batch: tuple[int, ...]  #: its shape before it was made flat

    @property
    def size(self) -> int:
        """The number of samples."""
        return int(self.charge.shape[1])

    @property
    def left(self) -> int:
        """How many times, from the first, hold a sample that is a solution."""
        return int(np.count_nonzero((~np.isnan(self.charge)).any(1)))

    @property
    def rises(self) -> Array:
        """How much the energy rose from one saved time to the next, (T - 1, B); >= 0."""
        return np.nan_to_num(np.diff(self.energy, axis=0)).clip(0)

    @property
    def energy_slack(self) -> float:
        """What of a rise is round-off."""
        return (1e-12 if self.exact else 1e-5) * max(1.0, float(np.nanmax(np.abs(self.energy))))

    @property
    def slack(self) -> float:
        """What of a relative change is round-off: a promise of closed cells."""
        return 1e-12 if self.exact else 1e-5


@dataclass(frozen=True)
class Claims:
    """What the ledger says: of the whole, and of mass, charge, energy and positivity."""

    heading: str
    panels: tuple[str, str, str, str]


def books(solution: Solution) -> Books:
    """The ledger of a run, its batch axes made one."""
    law, ledger = pnp_law(solution), solution.ledger
    c = solution.states.detach().double().cpu()
    fine = believable(c.reshape(len(c), -1, *c.shape[-2:]).numpy())
    succeeded = solution.succeeded.detach().cpu().reshape(-1).numpy()
    batch, times, samples = tuple(solution.succeeded.shape), len(c), len(succeeded)
    valences = [torch.as_tensor(one.valence).cpu().expand(batch) for one in law.species]
    sizes = np.abs(_array(torch.stack(valences, -1), samples, -1))
    mass = _array(ledger.mass, times, samples, -1)
    charges = (sizes * mass[0]).sum(-1)
    with np.errstate(all="ignore"):
        error = np.abs(mass - mass[0]) / np.maximum(mass[0], np.finfo(float).tiny)
        relative = _array(ledger.charge, times, samples) / np.maximum(charges, np.finfo(float).tiny)
    failed = ~fine.all(0) | ~succeeded
    ends = fine.sum(0)[~fine.all(0)]
    clock = _array(ledger.times, times)
    return Books(
        times=clock,
        species=ledger.species,
        closed=ledger.closed,
        mass_error=np.where(fine[..., None], error, np.nan),
        charge=np.where(fine, relative, np.nan),
        energy=np.where(fine, _array(ledger.free_energy, times, samples), np.nan),
        smallest=np.where(fine, _array(ledger.smallest, times, samples), np.nan),
        failure=float(clock[int(ends.min())]) if len(ends) else None,
        failed=int(failed.sum()),
        outcome=advice(solution, failed=len(ends) > 0),
        exact=solution.states.dtype == torch.float64,
        clock=Clock.of(solution),
        batch=batch,
    )


def claims(kept: Books) -> Claims:
    """What the books say, each with its numbers."""
    mass, mass_holds = _mass(kept)
    charge, charge_holds = _charge(kept)
    energy, energy_holds = _energy(kept)
    smallest, positive = _smallest(kept)
    holds = {
        "mass": mass_holds,
        "net charge": charge_holds,
        "energy": energy_holds,
        "positivity": positive,
    }
    broken = [name for name, kept_so in holds.items() if not kept_so]
    crossing = [name for name, shut in zip(kept.species, kept.closed, strict=True) if not shut]
    if kept.failed:
        who = f"{kept.failed} of {kept.size} samples" if kept.size > 1 else "The run"
        by_rest = kept.times[-1] if kept.clock.kind == "rest" else None
        failure = kept.failure if by_rest is None else by_rest
        when = "" if failure is None else f" {kept.clock.by(failure)}"
        heading = f"{who} failed{when}: {kept.outcome}"
    elif broken:
        heading = f"The books do not balance: look at {' and '.join(broken)}"
    elif crossing:
        heading = (
            f"An open cell: {' and '.join(crossing)} may cross the walls, what is closed is kept"
        )
    else:
        heading = "The books balance: mass and net charge stay, energy falls, nothing goes negative"
    if kept.left < 2 <= len(kept.times):
        names = ("Mass", "Net charge", "Free energy", "Smallest concentration")
        first, *rest = (f"{name}: only the start is a solution" for name in names)
        return Claims(heading, (first, rest[0], rest[1], rest[2]))
    return Claims(heading, (mass, charge, energy, smallest))


def _mass(kept: Books) -> tuple[str, bool]:
    closed = np.array(kept.closed)
    open_ones = " and ".join(np.array(kept.species)[~closed])
    if not closed.any():
        return f"Mass need not stay: {open_ones} cross the walls", True
    worst = float(np.nan_to_num(kept.mass_error[..., closed]).max())
    text = f"Mass is kept to {number(worst)}" if worst else "Mass is kept exactly"
    rest = f"; {open_ones} may cross the walls" if open_ones else ""
    return text + rest, worst <= kept.slack


def _charge(kept: Books) -> tuple[str, bool]:
    start = kept.charge[0]
    drift = np.nan_to_num(np.abs(kept.charge - start)).max(0)
    worst = float(drift.max())
    if worst > kept.slack:
        sample = int(drift.argmax())
        last = kept.charge[:, sample][~np.isnan(kept.charge[:, sample])][-1]
        whose = f" (sample {name_of(kept.batch, sample)})" if kept.size > 1 else ""
        text = (
            f"Net charge goes from {_round(start[sample])} to {number(float(last))} of all{whose}"
        )
        return text, not all(kept.closed)
    if float(np.abs(start).max()) <= kept.slack:
        size = float(np.nan_to_num(np.abs(kept.charge)).max())
        return f"Net charge is zero to {number(size)} of all charge", True
    where = (
        f"at {start[0]:.2%} of all charge".replace("-", "−")
        if kept.size == 1
        else "what it was at the start"
    )
    return f"Net charge stays {where}, to {number(worst)}", True


def _energy(kept: Books) -> tuple[str, bool]:
    last = (~np.isnan(kept.energy)).sum(0).clip(1) - 1
    drop = kept.energy[0] - kept.energy[last, np.arange(kept.size)]
    fall, rise = float(np.median(drop)), float(kept.rises.max(initial=0.0))
    of = " (median)" if kept.size > 1 else ""
    if not all(kept.closed):
        verb = "falls" if fall > 0 else "rises"
        return f"Free energy {verb} by {number(abs(fall))}{of}; an open cell may do either", True
    if rise > kept.energy_slack:
        return f"Free energy falls by {number(fall)}{of}; largest rise {number(rise)}", False
    if float(np.abs(drop).max()) <= kept.energy_slack:
        return "Free energy is at rest", True
    never = f"largest rise {number(rise)}, round-off" if rise else "never rises"
    return f"Free energy falls by {number(fall)}{of}; {never}", True


def _smallest(kept: Books) -> tuple[str, bool]:
    low = float(np.nanmin(kept.smallest))
    if low > 0:
        until = " until the failure" if kept.failed else ": always positive"
        return f"The smallest concentration is {number(low)}{until}", True
    if low == 0:
        return "The smallest concentration is 0", True
    return f"A concentration falls below zero, to {number(low)}", False


def _round(value: float) -> str:
    return number(0.0 if abs(value) < 1e-12 else float(value))


def _array(values: Tensor, *shape: int) -> Array:
    array: Array = values.detach().double().cpu().reshape(shape).numpy()
    return array
