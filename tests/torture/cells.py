"""Made cells against what every run of a cell must keep.

``python -m tests.torture.cells --count 1000 --seed 7``; one of them alone, with what it is made of:
``python -m tests.torture.cells --seed 7 --case 123``.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.dynamics.resolution import ResolutionWarning, StabilityWarning
from pnpfusion.solvers import AsymptoticPreserving, BackwardEuler, Odeint
from tests.torture.made_cells import Case, Maker
from tests.torture.report import Report

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60  #: of processor time, after which a case is cut off
QUICK = 0.3  #: seconds after which a sample is not also run alone
GAVE_UP, REFUSED = "gave up honestly", "refused by a clear error"
CUT_OFF = "cut off after a minute"


def main(arguments: list[str] | None = None) -> int:
    """Try made cells; 1 where a guarantee was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.cells", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many cells")
    parser.add_argument("--seed", type=int, default=0, help="which cells")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--case", type=int, help="this one alone, and what it is")
    told = parser.parse_args(arguments)
    report = Report("cells", told.seed)
    cases = range(told.first, told.first + told.count) if told.case is None else [told.case]
    for number in cases:
        try_one(report, number, talk=told.case is not None)
    return report.close()


def try_one(report: Report, number: int, *, talk: bool = False) -> None:
    """Make one cell, run it, and look at what it kept."""
    words = "could not be made"
    try:
        with strict_warnings(), time_limit(SECONDS):
            case = Maker(report.seed, number).make()
            words = case.words
            if talk:
                print(case.words, case.cell, sep="\n")
            begun = time.process_time()
            try:
                run = carry_out(case)
            except ValueError as error:
                if not is_clear(error):
                    raise
                if talk:
                    print(error)
                report.passed(REFUSED)
                return
            quick = time.process_time() - begun < QUICK
            broken = [*kept(case, run)]
            if quick and not broken:
                broken = [*alone(case, run, report.seed, number)]
    except TimeoutError:
        report.passed(CUT_OFF)
        return
    except Exception as error:
        report.failed(number, f"{words}: {said(error)}")
        return
    if talk:
        print(run, run.outcome.value, sep="\n")
    if broken:
        report.failed(number, f"{words}: {'; '.join(broken)}")
    else:
        report.passed("" if run.outcome.is_success else GAVE_UP)


def carry_out(case: Case) -> pf.Solution:
    """The run that a case asks for."""
    if case.verb == "equilibrium":
        return pf.equilibrium(case.cell, case.c0)
    return pf.simulate(case.cell, case.c0, case.times, stepper=case.stepper)


def kept(case: Case, run: pf.Solution) -> Iterator[str]:
    """What of the guarantees a run broke, in words."""
    good, single = run.succeeded, case.c0.dtype == torch.float32
    if bool(good.all()) != run.outcome.is_success:
        yield f"outcome {run.outcome.name} beside succeeded {good.tolist()}"
    finite, lost = (test.flatten(2).all(-1) for test in (run.states.isfinite(), run.states.isnan()))
    if not finite[:, good].all():
        yield "a sample that succeeded has a state that is not finite"
    if not (finite | lost).all():
        yield "a state is finite in parts"
    if (finite[1:] & lost[:-1]).any():
        yield "a sample came back from NaN"
    if len(run.times) == len(case.times) and finite[-1, ~good].any():
        yield "a sample that failed has a last state that looks like an answer"
    if not good.any():
        return
    ledger, cell = run.ledger, case.cell
    faces = cell.scheme != "spectral"
    error = float(ledger.mass_error[good].max())
    bound = 1e-4 if single else 1e-12 if faces else 1e-9
    if case.verb == "equilibrium":
        bound = 1e-4 if single else 1e-9  # what it was asked for
    if error > bound:
        yield f"mass error {error:.1e}"
    if faces and any(one.valence for one in cell.species):
        wrong = ledger.gauss_error[:, good].nan_to_num(0.0).amax(0)
        allowed = (1e-3 if single else 1e-11) + last_digit_of_displacement(case, run)[good]
        if (wrong > allowed).any():
            yield f"Gauss' law is wrong by {float(wrong.max()):.1e}"
    lowest = float(ledger.min_concentration[good].min())
    monotone = cell.scheme in ("scharfetter-gummel", "harmonic")
    guarded = getattr(case.stepper, "keeps_positive", case.stepper is None)
    if (monotone or case.verb == "simulate") and faces and guarded and lowest < 0:
        yield f"smallest concentration {lowest:.1e}"
    if steric_is_broken(cell, run.final[good]):
        yield "more than there is room for"
    if case.verb == "equilibrium":
        yield from at_rest(case, run)
    elif falls(case, run):
        c0 = case.c0.double()
        mixing = (cell.grid.weights * (torch.xlogy(c0, c0) - c0).abs()).flatten(1).sum(1)
        slack = 1e-12 * mixing + 16 * torch.finfo(torch.float64).eps * (
            ledger.free_energy.abs().amax(0)
        )
        rise = ledger.energy_largest_rise
        if not (rise <= slack)[good].all():
            yield f"free energy rose by {float((rise - slack)[good].max()):.1e}"


def last_digit_of_displacement(case: Case, run: pf.Solution) -> Tensor:
    """What the potential's last digits make of Gauss' law at the end, against all charges."""
    cell, c = case.cell, run.final.detach()
    law: Any = cell.bind(case.c0)
    end = law.at(run.times[-1:].to(c).expand(len(c)))
    medium, highest = end.dielectric, end.potential(c).flatten(1).abs().amax(1)
    terms = [line.conductance.flatten(1).amax(1) * highest for line in medium.lines]
    charges = medium.volumes * sum(
        abs(one.valence) * c[:, s].abs() for s, one in enumerate(cell.species)
    )
    most = torch.stack(terms).amax(0)
    return 16 * torch.finfo(c.dtype).eps * most / charges.flatten(1).amax(1)


def steric_is_broken(cell: pf.PNP, states: Tensor) -> bool:
    """Whether concentrations leave no room."""
    steric: Any = cell.steric
    return steric is not None and bool((states.sum(1) >= 1 / steric).any())


def falls(case: Case, run: pf.Solution) -> bool:
    """Whether this run's free energy must fall: closed, still walls, steps that promise it."""
    cell = case.cell
    both_ways = all(torch.as_tensor(one.backward).gt(0).all() for one in cell.reactions) and not (
        cell.steric is not None and cell.reactions
    )
    walls = [
        one
        for part in cell.walls.values()
        for one in (part if isinstance(part, tuple) else (part,))
    ]
    open_ = any(wall.concentration or wall.flux or callable(wall.potential) for wall in walls)
    return (
        isinstance(case.stepper, BackwardEuler)
        and case.stepper.dt is not None
        and case.c0.dtype == torch.float64
        and cell.scheme in ("scharfetter-gummel", "harmonic")
        and both_ways
        and not open_
        and not int(run.work.fallbacks.sum())
    )


def at_rest(case: Case, run: pf.Solution) -> Iterator[str]:
    """What is wrong with an answer of `equilibrium`: how far it is from rest, and what it says.

    A rate may be no larger than a share of its terms, or than what the concentrations' last four
    bits make of it: in cells thousands of Debye lengths wide these turn the potential by kT/e.
    """
    cell, c = case.cell, run.final
    law = cell.bind(c.detach())
    drops = torch.stack(
        [face.u.flatten(1).abs().amax(1) for face in law.values.faces(c, cell.potential(c))]
    )
    given = [one.diffusivity for one in cell.species]
    largest = max(
        float(torch.as_tensor(d.values if isinstance(d, pf.Field) else d).max()) for d in given
    )
    narrow = min(float(cell.grid.widths(axis).min()) for axis in range(cell.grid.ndim))
    terms = largest * (1 + drops.amax(0)) * c.flatten(1).abs().amax(1) / narrow**2
    start = torch.zeros((), dtype=c.dtype)
    rate = cell.rate(start, c)
    drawn = torch.rand(c.shape, dtype=c.dtype, generator=torch.Generator().manual_seed(0))
    last_bits = 16 * torch.finfo(c.dtype).eps * (2 * drawn - 1)
    noise = (cell.rate(start, c * (1 + last_bits)) - rate).flatten(1).abs().amax(1)
    allowed = (1e-3 if c.dtype == torch.float32 else 1e-6) * terms + 3 * noise
    said = run.residuals[0]
    for name, found in (("the rate", rate.flatten(1).abs().amax(1)), ("the residual", said)):
        if (found > allowed)[run.succeeded].any():
            share = float((found / terms.clamp_min(1e-300))[run.succeeded].max())
            yield f"{name} at rest is {share:.1e} of its terms"


def alone(case: Case, run: pf.Solution, seed: int, number: int) -> Iterator[str]:
    """Where a sample of the batch is not what it is alone."""
    if isinstance(case.stepper, Odeint) or case.cell.scheme == "spectral":
        return  # whose steps, or modes, are shared
    for sample in [number % len(case.c0)]:
        single = carry_out(Maker(seed, number, only=sample).make())
        if bool(single.succeeded) != bool(run.succeeded[sample]):
            yield f"sample {sample} alone: {single.outcome.name}, not so among others"
        elif single.succeeded:
            ours, theirs = run.final[sample], single.final[0]
            error = float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-300))
            # Round-off of the potential, in kT/e, is a relative change of the concentrations.
            steep = float(case.cell.potential(case.c0, t=float(case.times[-1])).abs().max())
            if error > likeness(case) + 100 * torch.finfo(ours.dtype).eps * steep:
                yield f"sample {sample} alone differs by {error:.1e}"


def likeness(case: Case) -> float:
    """How like each other two runs of one sample must be, against its largest concentration."""
    single = case.c0.dtype == torch.float32
    if case.verb == "equilibrium":
        return 1e-3 if single else 1e-6
    rtol = getattr(case.stepper, "rtol", None)
    if case.stepper is None:
        rtol = 1e-3 if single else 1e-5
    if rtol is not None:
        return 10 * rtol
    if isinstance(case.stepper, AsymptoticPreserving):
        return 1e-3 if single else 1e-9
    return 1e-2 if single else 1e-6


@contextmanager
def strict_warnings() -> Iterator[None]:
    """Warnings are errors, but for those that tell of coarse grids and long steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResolutionWarning)
        warnings.simplefilter("ignore", StabilityWarning)
        warnings.filterwarnings("ignore", ".*torch.jit", DeprecationWarning)
        yield


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError after so many seconds of processor time."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"it took more than {seconds} s of processor time")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def is_clear(error: ValueError) -> bool:
    """Whether an error was raised on purpose by the toolkit, and names what it is about."""
    where = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
    rooms = [ROOT / room for room in ("pnpfusion", "solvers")]
    return "`" in str(error) and any(room in where.parents for room in rooms)


def said(error: Exception) -> str:
    """An error in a line, with where it came from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
