"""The kernels for graphics cards, on one if there is one, else in Triton's interpreter.

The interpreter takes one operation at a time, so everything here is small.
"""

import json
import os
import subprocess
import sys

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, BackwardEuler, KenCarp4, coupled_newton
from pnpfusion.solvers.backend import using
from pnpfusion.solvers.device.newton import iterate_on_device
from pnpfusion.solvers.fluxes import FACE_SCHEMES
from tests.compiled.card import DEVICE, interpreted, moved, triton
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, blocking_cell, f64, times
from tests.source_tree import ROOT

tl = triton.language

from pnpfusion.solvers.kernels.gpu.faces import weights  # noqa: E402

pytestmark = interpreted


@triton.jit
def weigh(u, out, n, SCHEME: tl.constexpr, SIZE: tl.constexpr) -> None:
    at = tl.arange(0, SIZE)
    found = weights(tl.load(u + at, mask=at < n, other=0), SCHEME)
    for k in tl.static_range(4):
        tl.store(out + k * n + at, found[k], mask=at < n)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
@pytest.mark.parametrize("name", ALL_SCHEMES)
def test_faces_weigh_as_on_the_processor(name, dtype):
    ladder = 10 ** torch.linspace(-40 if dtype == f64 else -30, 2.5, 120, dtype=f64)
    u = torch.cat([-ladder, ladder, torch.zeros(1, dtype=f64)]).to(dtype)
    scheme, out = FACE_SCHEMES[name], torch.empty(4, len(u), dtype=dtype, device=DEVICE)
    weigh[(1,)](u.to(DEVICE), out, len(u), list(FACE_SCHEMES).index(name), 256)
    exact = u.double()
    wanted = scheme.weights(exact)
    wanted = torch.stack([*wanted, *scheme.slopes(exact, wanted)])
    eps, tiny = torch.finfo(dtype).eps, 1e3 * torch.finfo(dtype).tiny
    ahead, slopes = out.cpu().double().split(2)
    torch.testing.assert_close(ahead, wanted[:2], rtol=8 * eps, atol=tiny)
    loss = 400 if name == "scharfetter-gummel" else 8  # where the slopes leave their series
    torch.testing.assert_close(slopes, wanted[2:], rtol=loss * eps, atol=loss * eps)


def cells(kind, scheme="scharfetter-gummel"):
    """A cell with two samples, and concentrations."""
    n, names = 4, ["cation", "anion", "salt"] if kind == "salt" else ["cation", "anion"]
    c = 0.5 + torch.rand(2, len(names), n, dtype=f64, generator=torch.Generator().manual_seed(0))
    walls = {
        "electrodes": {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=-0.5, stern=0.2)},
        "salt": {"x-": pf.Wall(potential=1.0)},
        "floating": {},
        "everything": {
            "x-": pf.Wall(surface_charge=0.2, concentration={"cation": 0.7}),
            "x+": pf.Wall(potential=torch.tensor([0.5, 2.0], dtype=f64), flux={"anion": 0.1}),
        },
    }[kind]
    if kind == "floating":
        c[:, 1] = c[:, 0]
    everything = kind == "everything"
    varied = pf.Field(torch.linspace(0.1, 0.4, n, dtype=f64)) if everything else 0.2
    cell = pf.PNP(
        pf.Grid((n,), (1.0,), ("wall",)),
        [pf.Species(name, z) for name, z in zip(names, (1, -1, 0), strict=False)],
        permittivity=varied,
        walls=walls,
        fixed_charge=varied if everything else 0.0,
        scheme=scheme,
    )
    return cell, c


KINDS = ["electrodes", "salt", "floating", "everything"]


def newton(cell, c, scale=1e-9, most=12):
    """The iteration on the device and in torch."""
    step = torch.linspace(0.02, 0.1, len(c), dtype=f64).to(c)
    here = cell.electrolyte((len(c),), c, None), c, step, c, torch.full_like(c, scale), most
    (there,) = moved(c)
    bound = cell.electrolyte((len(c),), there, None)
    on_device = iterate_on_device(
        bound, there, step.to(DEVICE), there, torch.full_like(there, scale), most
    )
    return [one.cpu() for one in on_device], coupled_newton._iterate(*here)


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        *((kind, "scharfetter-gummel") for kind in KINDS),
        *(("everything", s) for s in ALL_SCHEMES[1:]),
    ],
)
def test_newton_s_iteration_is_that_of_torch(kind, scheme):
    for mine, theirs in zip(*newton(*cells(kind, scheme)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_newton_in_single_precision():
    cell, c = cells("electrodes")
    mine, theirs = newton(cell, c.float(), scale=1e-4)
    assert mine[0].dtype == torch.float32
    assert mine[2].all()
    torch.testing.assert_close(mine[0], theirs[0], rtol=1e-5, atol=1e-5)


def test_a_sample_that_is_not_finite_does_not_converge_and_spares_its_mates():
    cell, c = cells("electrodes")
    good, _ = newton(cell, c[[0, 0]])
    spoiled = c[[0, 1]]
    spoiled[1, 0, 2] = torch.nan
    bad, _ = newton(cell, spoiled)
    assert bad[2].tolist() == [True, False]
    assert torch.equal(bad[0][0], good[0][0])


@quiet
def test_gradients_of_an_implicit_step_pass_the_kernels():
    voltage = torch.tensor([0.5, 1.0], dtype=f64, requires_grad=True)
    found = []
    for choice in ("triton", "torch"):
        with using(choice):
            c0 = torch.ones(2, 2, 3, dtype=f64, device=DEVICE)
            cell = blocking_cell(3, voltage=voltage.to(DEVICE))
            final = pf.simulate(cell, c0, times(0, 0.01), stepper=BackwardEuler(dt=0.01)).final
        found.append(torch.autograd.grad(final.square().sum(), voltage)[0])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def runs(cell, c0, moments, stepper):
    """The run in the kernel, and by the loop in Python."""
    with using("triton"):
        mine = pf.simulate(cell, c0.to(DEVICE), moments, stepper=stepper)
    with using("torch"):
        return mine, pf.simulate(cell, c0, moments, stepper=stepper)


@quiet
@pytest.mark.parametrize("stepper", [TRBDF2(rtol=1e-3), KenCarp4(rtol=1e-3)], ids=str)
def test_a_run_takes_the_steps_of_the_loop_in_python(stepper):
    cell = blocking_cell(3, voltage=torch.tensor([0.5, 3.0], dtype=f64))
    c0 = torch.ones(2, 2, 3, dtype=f64)
    mine, theirs = runs(cell, c0, times(0, 0.01, 0.02, 0.1), stepper)
    assert mine.succeeded.all()
    torch.testing.assert_close(mine.states.cpu(), theirs.states, rtol=1e-10, atol=1e-11)
    for count in ("steps", "rejected", "iterations", "fallbacks"):
        assert torch.equal(getattr(mine.work, count).cpu(), getattr(theirs.work, count))
    lowest, wanted = mine.ledger.smallest.cpu(), theirs.ledger.smallest
    torch.testing.assert_close(lowest, wanted, rtol=1e-10, atol=1e-11)
    assert float(mine.ledger.mass_error.max()) <= 1e-12


@quiet
def test_a_run_in_single_precision():
    cell, c0 = blocking_cell(3), torch.ones(1, 2, 3)
    mine, theirs = runs(cell, c0, times(0, 0.1), BackwardEuler(rtol=1e-1))
    assert mine.final.dtype == torch.float32
    assert torch.equal(mine.work.steps.cpu(), theirs.work.steps)
    torch.testing.assert_close(mine.final.cpu(), theirs.final, rtol=1e-4, atol=1e-5)


@quiet
def test_a_step_that_fails_is_left_to_the_robust_one():
    """Central faces between cells far apart in potential: Newton's method goes below zero."""
    cell = blocking_cell(3, voltage=200.0, scheme="central")
    c0 = torch.ones(1, 2, 3, dtype=f64)
    mine, theirs = runs(cell, c0, times(0, 0.02), BackwardEuler(rtol=0.3, max_steps=9))
    assert int(theirs.work.fallbacks) > 0
    for count in ("steps", "rejected", "iterations", "fallbacks"):
        assert torch.equal(getattr(mine.work, count).cpu(), getattr(theirs.work, count))
    assert mine.outcome == theirs.outcome == pf.Outcome.OUT_OF_STEPS


@quiet
def test_semi_implicit_runs_are_those_of_the_loop_in_python():
    span = times(0, 0.02, 0.03)
    found = []
    for choice in ("triton", "torch"):
        charge = torch.tensor([0.1, -0.2, 0.3], dtype=f64, requires_grad=True)
        cell = pf.PNP(
            pf.Grid((3,), (1.0,), ("wall",)),
            [pf.Species("cation", +1), pf.Species("anion", -1)],
            permittivity=0.2,
            walls={"x-": pf.Wall(potential=1.0, concentration={"cation": 0.7})},
            fixed_charge=pf.Field(charge.to(DEVICE)),
        )
        with using(choice):
            c0 = torch.ones(1, 2, 3, dtype=f64, device=DEVICE)
            run = pf.simulate(cell, c0, span, stepper=AsymptoticPreserving(dt=0.01))
            with torch.no_grad():
                alone = pf.simulate(cell, c0, span, stepper=AsymptoticPreserving(dt=0.01))
        assert torch.equal(alone.states, run.states)
        gradient = torch.autograd.grad(run.states.square().sum(), charge)[0]
        found.append([run.states.detach(), run.ledger.smallest, run.work.steps, gradient])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@quiet
def test_a_bad_semi_implicit_step_is_left_to_the_loop():
    cell = blocking_cell(3)
    c0 = torch.ones(2, 2, 3, dtype=f64)
    c0[1, 0, 1] = 1e308
    mine, theirs = runs(cell, c0, times(0, 0.01), AsymptoticPreserving(dt=0.01))
    assert mine.succeeded.tolist() == theirs.succeeded.tolist() == [True, False]
    torch.testing.assert_close(mine.final[0].cpu(), theirs.final[0], rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_cards_can_run_them_and_a_lane_reads_only_what_it_wrote():
    """Compiled to machine code; every number lies in the lane of its sample, one in each."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.compiled.compile_for_a_card"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "0"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = {row["kernel"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert all(row["bytes"] > 0 for row in made.values())
    for name in ("block_thomas", "newton", "esdirk"):
        (layout,) = made[name]["layouts"]
        assert "sizePerThread = [1], threadsPerWarp = [32], warpsPerCTA = [1]" in layout
        assert made[name]["converted"] == 0
