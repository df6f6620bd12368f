"""Cells whose walls prescribe fluxes that balance: where they rest."""

import math

import pytest
import torch

import pnpfusion as pf


@pytest.mark.parametrize("amount", [0.8, 1.0])
def test_prescribed_fluxes_leave_the_mass_as_it_was(amount):
    """Cations pass, anions are blocked; the state of rest is where a long run ends."""
    half = math.atanh(0.5)
    cell = pf.PNP(
        pf.Grid((32,), (2.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * 0.3**2,
        walls={
            "x-": pf.Wall(potential=half, flux={"cation": 0.5}),
            "x+": pf.Wall(potential=-half, flux={"cation": -0.5}),
        },
    )
    c0 = torch.full((2, 32), amount, dtype=torch.float64)
    rest = pf.equilibrium(cell, c0).require_success().final
    torch.testing.assert_close(cell.mass(rest), cell.mass(c0), rtol=1e-12, atol=0)
    span = torch.tensor([0.0, 60.0], dtype=torch.float64)
    end = pf.simulate(cell, c0, span, rtol=1e-6).require_success().final
    torch.testing.assert_close(rest, end, rtol=1e-5, atol=1e-7)
