"""Runs in series that stop, fail or share a batch: whose states are saved, and where they end."""

import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import ETDRK4, Outcome
from tests.series import f64

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


@pytest.mark.parametrize("stop", [3, 10, 13])
def test_a_run_that_ran_out_of_steps_is_resumed_where_it_stood(stop):
    times = torch.linspace(0, 0.008, 5, dtype=f64)
    part = pf.simulate(cell(), ROUGH, times, stepper=ETDRK4(rtol=1e-5, max_steps=stop))
    assert part.outcome is Outcome.OUT_OF_STEPS
    whole = pf.simulate(cell(), ROUGH, times, stepper=ETDRK4(rtol=1e-5))
    again = pf.simulate(cell(), ROUGH, times, stepper=ETDRK4(rtol=1e-5), resume=part)
    assert again.outcome is Outcome.REACHED_END
    torch.testing.assert_close(again.states, whole.states, rtol=0, atol=1e-6)


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
