"""Runs in series that stop, fail or share a batch: whose states are saved, and where they end."""

import math

import torch

import pnpfusion as pf
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
