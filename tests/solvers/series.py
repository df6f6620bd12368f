"""Cells in Fourier and cosine series, and the law that a stepper follows."""

import math

import torch

import pnpfusion as pf
from pnpfusion.solvers.spectral import SpectralElectrolyte
from pnpfusion.solvers.steppers import modal
from tests.registry import f64


class SeriesLaw:
    """A spectral cell as a law with a linear part."""

    def __init__(self, cell):
        self.cell = cell

    def rate(self, t, u):
        return self.cell.rate(u)

    def semilinear(self, u0):
        return self.cell.semilinear(u0)

    def solve_implicit(self, t, base, step, guess, scale):
        raise NotImplementedError

    def robust_step(self, t, dt, u):
        return None

    def lowest(self, u, sample=None):
        return u.detach().flatten(1).amin(1)


def series_cell(
    grid,
    *,
    valences=(1.0, -1.0),
    diffusivities=None,
    permittivity=0.1,
    walls=None,
    fixed_charge=0.0,
    batch=(1,),
    dtype=f64,
    dealias=True,
):
    return SpectralElectrolyte.build(
        grid,
        [f"ion {i}" for i in range(len(valences))],
        valences,
        diffusivities or [1.0] * len(valences),
        permittivity=permittivity,
        walls=walls,
        fixed_charge=fixed_charge,
        batch=batch,
        like=torch.zeros(1, dtype=dtype),
        dealias=dealias,
    )


def box(shape, boundaries, lengths=(1.0, 1.0, 1.0)):
    return pf.Grid(shape, lengths[: len(shape)], boundaries)


def smooth_state(grid, amplitude=0.5, *, species=2):
    """Positive, neutral for valences (1, -1): a few low waves that differ by species."""
    total = torch.ones(species, *grid.shape, dtype=f64)
    for axis in range(grid.ndim):
        s = grid.coordinates(axis) / grid.lengths[axis]
        shape = (-1, *(1,) * (grid.ndim - axis - 1))
        turns = 2 if grid.boundaries[axis] == "periodic" else 1
        for i in range(species):
            wave = (turns * math.pi * s).cos() - 0.4 * (i - 0.5) * (2 * turns * math.pi * s).cos()
            total[i] += (-1) ** i * amplitude / grid.ndim * wave.reshape(shape)
    return total.unsqueeze(0)


def recorded(monkeypatch):
    """Runs as if the law did not tell what it is made of."""
    monkeypatch.setattr(modal.ModalTape, "of", classmethod(lambda *_: None))
