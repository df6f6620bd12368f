"""Runs in series that stop, fail or share a batch: whose states are saved, and where they end."""

import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import ETDRK4, Outcome
from pnpfusion.solvers.steppers.halving import MeanSquare
from tests.registry import f64
from tests.solvers.series import SeriesLaw, series_cell

GRID = pf.Grid((64,), (1.0,), ("wall",))
IONS = [pf.Species("cation", 1), pf.Species("anion", -1)]


def cell(permittivity=1e-2):
    return pf.PNP(GRID, IONS, permittivity=permittivity, scheme="spectral")


def wave(amplitude, turns, dtype=f64):
    """Concentrations 1 + and 1 - a wave along the axis."""
    field = amplitude * (turns * math.pi * GRID.coordinates(0).to(f64)).cos()
    return torch.stack([1 + field, 1 - field]).to(dtype)


CALM, ROUGH = wave(0.01, 1), wave(0.9, 9)


def test_saved_states_are_those_of_their_sample_and_time():
    """The calm sample passes all times before the rough one passes the first."""
    times = torch.tensor([0, 0.002, 0.004, 0.006, 0.008], dtype=f64)
    both = pf.simulate(cell(), torch.stack([CALM, ROUGH]), times)
    assert int(both.work.steps[1]) > int(both.work.steps[0])
    for i, u0 in enumerate((CALM, ROUGH)):
        alone = pf.simulate(cell(), u0, times)
        torch.testing.assert_close(both.states[:, i], alone.states, rtol=0, atol=1e-8)


@pytest.mark.parametrize("stop", [3, 7, 10])
def test_a_run_that_ran_out_of_steps_is_resumed_where_it_stood(stop):
    times = torch.linspace(0, 0.008, 5, dtype=f64)
    part = pf.simulate(cell(), ROUGH, times, stepper=ETDRK4(rtol=1e-5, max_steps=stop))
    assert part.outcome is Outcome.OUT_OF_STEPS
    whole = pf.simulate(cell(), ROUGH, times, stepper=ETDRK4(rtol=1e-5))
    again = pf.simulate(cell(), ROUGH, times, stepper=ETDRK4(rtol=1e-5), resume=part)
    assert again.outcome is Outcome.REACHED_END
    torch.testing.assert_close(again.states, whole.states, rtol=0, atol=1e-7)


def test_a_step_that_fails_once_is_taken_again_from_where_it_began(monkeypatch):
    times = torch.linspace(0, 0.008, 5, dtype=f64)
    whole = pf.simulate(cell(), ROUGH, times, stepper=ETDRK4(rtol=1e-5))
    step, calls = ETDRK4.step, []

    def failing(self, *of):
        end, n, error = step(self, *of)
        calls.append(len(end))
        return (end * math.nan if len(calls) == 12 else end), n, error

    monkeypatch.setattr(ETDRK4, "step", failing)
    run = pf.simulate(cell(), ROUGH, times, stepper=ETDRK4(rtol=1e-5))
    assert len(calls) > 12
    assert run.outcome is Outcome.REACHED_END
    torch.testing.assert_close(run.states, whole.states, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "permittivity"), [(1.0, 1e-8), (1e8, 1e-2), (1e25, 1.0)], ids=str
)
def test_single_precision_ends_whatever_its_squares_are(scale, permittivity):
    """Squares of what a step too long ends with overflow."""
    u0, times = scale * wave(0.5, 3, torch.float32), torch.tensor([0, 1], dtype=f64)
    run = pf.simulate(cell(permittivity), u0, times, stepper=ETDRK4(max_steps=200))
    assert run.outcome in (Outcome.OUT_OF_STEPS, Outcome.NOT_FINITE, Outcome.STEP_TOO_SMALL)


@pytest.mark.parametrize("scale", [1e-30, 1e20, 1e33])
def test_the_error_that_counts_is_not_lost_in_squares(scale):
    state = scale * torch.ones(1, 2, 8)
    error = 1e-3 * state
    ratio = MeanSquare(1e-2, 0.0).ratio(error, state, state)
    torch.testing.assert_close(ratio, torch.tensor([0.1]))
    assert MeanSquare(1e-2, 0.0).ratio(error * 0, state * 0, state * 0).tolist() == [0.0]


@pytest.mark.parametrize("scale", [1e20, 1e30])
def test_a_step_that_fails_at_its_smallest_ends_the_run(scale):
    times = torch.tensor([0, 1], dtype=f64)
    run = pf.simulate(cell(), scale * wave(0.5, 3), times, stepper=ETDRK4(max_steps=2000))
    assert run.outcome in (Outcome.NOT_FINITE, Outcome.STEP_TOO_SMALL)
    assert int(run.work.rejected) < 100


def test_no_sample_at_all_is_an_answer_in_series():
    run = pf.simulate(cell(), CALM[None][:0], torch.tensor([0, 0.01], dtype=f64))
    assert run.states.shape == (2, 0, 2, 64)
    assert "adaptive ETDRK4" in run.choice


def test_a_sample_that_is_lost_leaves_its_mates_their_modes():
    """What is too large fails at once; its mate sharpens and needs more modes than it had."""
    grid = pf.Grid((256,), (1.0,), ("wall",))
    low = 0.99 * (math.pi * grid.coordinates(0)).cos()
    u0 = torch.stack([1 + low, 1 - low])
    sharp = pf.PNP(grid, IONS, permittivity=2e-3, scheme="spectral")
    times = torch.tensor([0, 0.02], dtype=f64)
    alone = pf.simulate(sharp, u0, times, stepper=ETDRK4(rtol=1e-6))
    both = pf.simulate(sharp, torch.stack([u0, 1e170 * u0]), times, stepper=ETDRK4(rtol=1e-6))
    assert both.succeeded.tolist() == [True, False]
    torch.testing.assert_close(both.states[:, 0], alone.states, rtol=0, atol=1e-9)


@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_a_sample_that_is_not_finite_asks_for_no_modes(lost):
    law = SeriesLaw(series_cell(GRID))
    part = law.semilinear(ROUGH[None]).resolution
    alone = part.fitting(ROUGH[None], 1e-9).resolution
    both = part.fitting(torch.stack([lost * ROUGH, ROUGH]), 1e-9).resolution
    assert alone.kept == both.kept


@pytest.mark.parametrize("followed", [False, True], ids=["plain", "gradient"])
@pytest.mark.parametrize("rtol", [1e-3, 1e-5, 1e-7, 1e-9])
def test_modes_taken_along_for_a_mate_change_an_answer_far_less_than_the_tolerance(rtol, followed):
    """A batch is followed in the modes of the sample that needs most; so it is with a gradient."""
    starts = CALM, wave(0.3, 1), ROUGH, wave(0.99, 1)
    times, stepper = torch.linspace(0, 0.008, 5, dtype=f64), ETDRK4(rtol=rtol)
    u0 = torch.stack(starts).requires_grad_(followed)
    both = pf.simulate(cell(), u0, times, stepper=stepper)
    for i, u in enumerate(starts):
        alone = pf.simulate(cell(), u, times, stepper=stepper)
        states = both.states[:, i].detach()
        torch.testing.assert_close(states, alone.states, rtol=0, atol=1e-2 * rtol + 1e-12)
        assert int(both.work.steps[i]) == int(alone.work.steps)
