"""Ions at Chebyshev points, and the law that a stepper follows."""

import math

import torch

import pnpfusion as pf
from pnpfusion.solvers.chebyshev_electrolyte import ChebyshevElectrolyte
from tests.registry import f64

PLUS_MINUS = {"x-": pf.Wall(potential=-2.0), "x+": pf.Wall(potential=2.0)}


def make(
    grid,
    *,
    valences=(1.0, -1.0),
    diffusivities=(1.0, 1.0),
    permittivity=0.02,
    walls=None,
    fixed_charge=0.0,
    batch=(1,),
    dtype=f64,
):
    return ChebyshevElectrolyte.build(
        grid,
        ["cation", "anion"],
        valences,
        diffusivities,
        permittivity=permittivity,
        walls=walls,
        fixed_charge=fixed_charge,
        batch=batch,
        like=torch.zeros(1, dtype=dtype),
    )


def state(grid, size=0.3):
    s = grid.coordinates() / grid.lengths[0]
    wave = size * (math.pi * s).cos()
    return torch.stack([1 + wave, 1 - 0.5 * wave + 0.1 * (3 * s).sin()]).unsqueeze(0)
