"""What a run of a made cell must keep, and what it broke of it, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.solvers import BackwardEuler, Odeint
from tests.registry import EXPLICIT
from tests.torture.made_cells import Case


def kept(case: Case, run: pf.Solution) -> Iterator[str]:
    """What of the guarantees a run broke, in words."""
    good, single = run.succeeded, case.c0.dtype == torch.float32
    if bool(good.all()) != run.outcome.is_success:
        yield f"outcome {run.outcome.name} beside succeeded {good.tolist()}"
    finite, nothing = (
        test.flatten(2).all(-1) for test in (run.states.isfinite(), run.states.isnan())
    )
    if not finite[:, good].all():
        yield "a sample that succeeded has a state that is not finite"
    if not (finite | nothing).all():
        yield "a state is finite in parts"
    if (finite[1:] & nothing[:-1]).any():
        yield "a sample came back from NaN"
    if len(run.times) == len(case.times) and finite[-1, ~good].any():
        yield "a sample that failed has a last state that looks like an answer"
    if not good.any():
        return
    ledger, cell = run.ledger, case.cell
    faces = cell.scheme != "spectral"
    bound = 1e-4 if single else 1e-12 if faces else 1e-9
    if case.verb == "equilibrium":
        bound = 1e-4 if single else 1e-9  # what it was asked for
    lost = ledger.mass_error
    if not (lost <= bound * growth(case, run))[good].all():
        yield f"mass error {float(lost[good].max()):.1e}"
    if faces and any(one.valence for one in cell.species):
        wrong = ledger.gauss_error[:, good].nan_to_num(0.0).amax(0)
        allowed = 1e-11 + last_digit_of_displacement(case, run)[good]
        if not (wrong <= allowed).all():
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


def growth(case: Case, run: pf.Solution) -> Tensor:
    """How many times its start a run grew where nothing keeps steps from doing so, ``(B,)``."""
    if not isinstance(case.stepper, (Odeint, *EXPLICIT)):
        return torch.ones(len(case.c0))
    sizes = run.states.abs().flatten(2).amax(2).nan_to_num(0.0)
    return (sizes.amax(0) / sizes[0].clamp_min(1e-300)).clamp_min(1.0)


def last_digit_of_displacement(case: Case, run: pf.Solution) -> Tensor:
    """What the potential's last digits make of Gauss' law at the end, as the ledger counts it."""
    c = run.final.detach().double()
    law: Any = case.cell.bind(case.c0.double())
    end = law.at(run.times[-1:].double().expand(len(c)))
    medium, phi = end.dielectric, end.potential(c)
    highest = phi.flatten(1).abs().amax(1)
    terms = [line.conductance.flatten(1).amax(1) * highest for line in medium.lines]
    charges = medium.volumes * (end.valence * c).abs().sum(1)
    sizes = [one.flatten(1).abs().amax(1) for one in (charges, *medium.displacement(phi))]
    most, size = torch.stack(terms).amax(0), torch.stack(sizes).amax(0)
    return 16 * torch.finfo(c.dtype).eps * most / size.clamp_min(torch.finfo(c.dtype).tiny)


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

    A rate may be no larger than a share of its terms, or than what the concentrations' last six
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
    last_bits = 64 * torch.finfo(c.dtype).eps * (2 * drawn - 1)
    noise = (cell.rate(start, c * (1 + last_bits)) - rate).flatten(1).abs().amax(1)
    share = 1e-3 if c.dtype == torch.float32 else 1e-6
    allowed = torch.maximum(share * terms, 3 * noise)
    said = run.residuals[0]
    for name, found in (("the rate", rate.flatten(1).abs().amax(1)), ("the residual", said)):
        if not (found <= allowed)[run.succeeded].all():
            part = float((found / terms.clamp_min(1e-300))[run.succeeded].max())
            yield f"{name} at rest is {part:.1e} of its terms"
