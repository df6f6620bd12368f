"""The verb: what it returns, and how it ends."""

import subprocess
import sys
import textwrap

import pytest
import torch

import pnpfusion as pf
from pnpfusion.dynamics.resolution import StabilityWarning
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, Euler, KenCarp4, Odeint
from tests.registry import (
    ALL_DYNAMICS,
    ALL_STEPPERS,
    Decay,
    blocking_cell,
    f64,
    ring,
    stepper_name,
    times,
)
from tests.source_tree import environment


@pytest.mark.parametrize("stepper", ALL_STEPPERS, ids=stepper_name)
@pytest.mark.parametrize("law", ALL_DYNAMICS, ids=lambda law: type(law[0]).__name__)
def test_every_stepper_follows_every_law(law, stepper):
    dynamics, u0 = law
    if isinstance(stepper, AsymptoticPreserving) and not isinstance(dynamics, pf.PNP):
        with pytest.raises(ValueError, match="no semi-implicit step of its own"):
            pf.simulate(dynamics, u0, times(0, 1e-3), stepper=stepper)
        return
    batch = torch.stack([u0, u0])
    run = pf.simulate(dynamics, batch, times(0, 5e-4, 1e-3), stepper=stepper).require_success()
    assert run.outcome is pf.Outcome.REACHED_END
    assert run.states.shape == (3, *batch.shape)
    assert run.succeeded.tolist() == [True, True]
    assert run.residuals.shape == (2, 2)
    assert (run.work.steps > 0).all()
    exact = pf.simulate(dynamics, u0, times(0, 1e-3), stepper=Odeint("dopri8")).final
    torch.testing.assert_close(run.final[0], exact, rtol=3e-3, atol=3e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_follows_the_state(dtype):
    cell = blocking_cell()
    run = pf.simulate(cell, torch.ones(2, 32, dtype=dtype), torch.linspace(0, 0.1, 3))
    assert run.states.dtype == run.times.dtype == dtype
    assert cell.potential(run.final).dtype == dtype
    assert run.ledger.mass.dtype == f64


def test_a_blow_up_ends_the_run_with_an_outcome_and_keeps_the_states_before():
    """Forward Euler above its stability limit, h^2 / 2."""
    c0 = 1 + 0.1 * torch.rand(2, 32, dtype=f64, generator=torch.Generator().manual_seed(0))
    with pytest.warns(StabilityWarning, match="use dt <= 0.002 or an implicit stepper"):
        run = pf.simulate(
            blocking_cell(), c0, torch.linspace(0, 10, 101).double(), stepper=Euler(dt=0.01)
        )
    assert run.outcome is pf.Outcome.NOT_FINITE
    assert not run.succeeded
    assert 1 < len(run.times) < 101
    assert run.states.isfinite().all()
    assert float(run.ledger.min_concentration) < 0
    with pytest.raises(pf.SolveError, match="implicit stepper"):
        run.require_success()


def test_torchdiffeq_failures_are_outcomes_not_assertions():
    class Explosion(pf.Dynamics):
        def rate(self, t, u, x=None):
            return u**2  # infinite at t = 1 from u = 1

    run = pf.simulate(
        Explosion(), torch.ones(1, dtype=f64), times(0, 0.5, 0.9, 2), stepper=Odeint()
    )
    assert run.outcome in (pf.Outcome.STEP_TOO_SMALL, pf.Outcome.NOT_FINITE)
    assert run.times.tolist() == [0, 0.5, 0.9]
    assert float(run.final) == pytest.approx(10, rel=1e-4)
    few = pf.simulate(Decay(), torch.ones(1), times(0, 50), stepper=Odeint(max_steps=5))
    assert few.outcome is pf.Outcome.OUT_OF_STEPS
    assert int(few.work.steps + few.work.rejected) == 5
    assert int(few.work.fallbacks + few.work.iterations) == 0
    assert int(few.work.rate_calls) > 6 * 5


def test_a_law_without_a_rate_at_the_start_is_not_followed_by_torchdiffeq():
    class Nowhere(pf.Dynamics):
        def rate(self, t, u, x=None):
            return u * torch.nan

    run = pf.simulate(Nowhere(), torch.ones(1, dtype=f64), times(0, 0.1, 1), stepper=Odeint())
    assert run.outcome is pf.Outcome.NOT_FINITE
    assert run.states.shape[0] == 1


def test_the_step_limit_is_an_outcome():
    run = pf.simulate(
        blocking_cell(), torch.ones(2, 32).double(), times(0, 1, 2), stepper=KenCarp4(max_steps=3)
    )
    assert run.outcome is pf.Outcome.OUT_OF_STEPS
    assert run.states.shape[0] == 1


def test_a_law_that_ends_in_infinity_stops_an_implicit_stepper_too():
    class Explosion(pf.Dynamics):
        def rate(self, t, u, x=None):
            return u**2

    run = pf.simulate(
        Explosion(), torch.ones(1, dtype=f64), times(0, 0.5, 2), stepper=TRBDF2(rtol=1e-3)
    )
    assert run.outcome in (pf.Outcome.STEP_TOO_SMALL, pf.Outcome.NOT_FINITE)
    assert float(run.final) == pytest.approx(2, rel=1e-2)


@pytest.mark.parametrize("stepper", ["KenCarp4(dt=1e-5)", "Euler(dt=1e-5)", "Odeint()"])
def test_an_interruption_keeps_the_run_so_far(stepper):
    script = f"""
        import os, signal, torch, pnpfusion as pf
        from pnpfusion.dynamics.pnp_bound import BoundPNP
        from pnpfusion.solvers import Euler, KenCarp4, Odeint
        from tests.registry import blocking_cell
        calls = 0

        def counted(method):
            def call(*arguments):
                global calls
                calls += 1
                if calls == 200:
                    os.kill(os.getpid(), signal.SIGINT)
                return method(*arguments)
            return call

        BoundPNP.rate = counted(BoundPNP.rate)
        BoundPNP.solve_implicit = counted(BoundPNP.solve_implicit)
        try:
            pf.simulate(blocking_cell(128), torch.ones(2, 128).double(),
                        1e-5 * torch.arange(20000).double(), stepper={stepper})
        except pf.Interrupted as stopped:
            run = stopped.solution
            assert run.outcome is pf.Outcome.INTERRUPTED, run.outcome
            assert run.states.isfinite().all() and len(run.times) > 2
            print("kept", len(run.times))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kept")


def test_one_time_only_returns_the_start():
    run = pf.simulate(blocking_cell(), torch.ones(2, 32), times(0))
    assert run.outcome is pf.Outcome.REACHED_END
    torch.testing.assert_close(run.final, torch.ones(2, 32))


def test_time_may_begin_anywhere():
    late = pf.simulate(Decay(), torch.ones(1, dtype=f64), times(5, 6), stepper=KenCarp4(rtol=1e-8))
    assert float(late.final) == pytest.approx(torch.tensor(-1.0).exp().item(), rel=1e-6)


@pytest.mark.parametrize("stepper", [KenCarp4(), TRBDF2(dt=1e-4), Euler(dt=1e-4)], ids=repr)
def test_the_clock_of_a_single_precision_run_is_exact_far_from_zero(stepper):
    span = times(0, 1e-3, 3e-3)
    near, far = (
        pf.simulate(blocking_cell(), torch.ones(2, 32), span + t, stepper=stepper) for t in (0, 1e5)
    )
    assert far.states.dtype == torch.float32
    assert torch.equal(far.times, span + 1e5)  # in float32 the three would be the same number
    assert torch.equal(far.work.steps, near.work.steps)
    torch.testing.assert_close(far.states, near.states)


def test_the_bar_goes_to_the_end(capfd):
    pf.simulate(blocking_cell(), torch.ones(2, 32), times(0, 0.1), progress=True)
    assert "100%" in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore::pnpfusion.dynamics.resolution.StabilityWarning")
def test_the_smallest_concentration_is_over_all_steps_not_only_saved_ones():
    """Explicit steps of a blob: what dips below zero in between is seen though it is not saved."""
    cell = ring(32)
    x = cell.grid.coordinates(0)
    blob = torch.where((x - 0.5).abs() < 0.1, 1.0, 1e-3).double()
    c0 = torch.stack([blob, blob])
    stepper = Euler(dt=0.9 / 32**2)  # above h^2 / 2: the first steps overshoot
    few = pf.simulate(cell, c0, times(0, 4 * stepper.dt), stepper=stepper)
    all_ = pf.simulate(cell, c0, torch.arange(5).double() * stepper.dt, stepper=stepper)
    assert float(all_.states.amin()) < 0
    assert float(few.ledger.min_concentration) == pytest.approx(float(all_.states.amin()), rel=1e-9)
