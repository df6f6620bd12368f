"""Runs that many pictures are drawn of."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.dynamics.resolution import StabilityWarning
from pnpfusion.solution import Solution
from pnpfusion.solvers.steppers import Euler
from tests.registry import f64
from tests.visualize.drawn import CELLS, cell, times


@pytest.fixture(scope="session")
def run() -> Solution:
    return pf.simulate(cell(), torch.ones(2, CELLS, dtype=f64), times(0.5))


@pytest.fixture(scope="session")
def batch() -> Solution:
    generator = torch.Generator().manual_seed(0)
    c0 = 1 + 0.5 * torch.rand(2, 3, 2, CELLS, dtype=f64, generator=generator)
    return pf.simulate(cell(), c0, times(0.1, 11))


@pytest.fixture(scope="session")
def failed() -> Solution:
    """Two of four blow up, one of them with finite values: they diffuse too fast for the step."""
    spread = torch.tensor([1.0, 9.0, 1.0, 5.0], dtype=f64)
    ions = [pf.Species("cation", +1, spread), pf.Species("anion", -1, spread)]
    law = pf.PNP(pf.Grid((CELLS,), (1.0,), ("wall",)), ions, permittivity=0.1)
    c0 = torch.ones(4, 2, CELLS, dtype=f64)
    c0[..., :8] += 0.5
    with pytest.warns(StabilityWarning):
        return pf.simulate(law, c0, times(0.2, 41), stepper=Euler(dt=5e-4))
