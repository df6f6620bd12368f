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

import torch

import pnpfusion as pf
from pnpfusion.dynamics.resolution import ResolutionWarning, StabilityWarning
from pnpfusion.solvers import AsymptoticPreserving, Odeint
from tests.torture.guarantees import kept
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
        print(f"cut off: case {number}, {words}", flush=True)
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
