"""What a run of a closed cell must keep, whatever its grid."""

import torch

import pnpfusion as pf
from pnpfusion.solvers import BackwardEuler
from tests.registry import f64


def assert_mass_and_positivity(run):
    assert float(run.ledger.mass_error.max()) <= 1e-12
    assert float(run.ledger.min_concentration.min()) > 0


def assert_energy_never_rises(cell, c0, dt, steps):
    """Under backward Euler, by more than the rounding of what it is made of."""
    span = dt * torch.arange(steps + 1, dtype=f64)
    run = pf.simulate(cell, c0, span, stepper=BackwardEuler(dt=dt))
    if int(run.work.fallbacks.sum()):
        return  # the equations of so large a step were not solved, and the run says so
    space = tuple(range(-1 - cell.grid.ndim, 0))
    mixing = (cell.grid.weights * (torch.xlogy(c0, c0) - c0).abs()).sum(space)
    round_off = 16 * torch.finfo(f64).eps * run.ledger.free_energy.abs().amax(0)
    assert bool((run.ledger.energy_largest_rise <= 1e-12 * mixing + round_off).all())
