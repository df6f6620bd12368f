"""Gauss' law, as a ledger tells it."""

import pytest
import torch

import pnpfusion as pf
from tests.registry import f64, times


@pytest.mark.parametrize("shape", [(16,), (4, 3)])
def test_a_charged_wall_opposite_its_ions_is_no_error(shape: tuple[int, ...]) -> None:
    """Ions of one sign and the wall whose charge they neutralise."""
    cell = pf.PNP(
        pf.Grid(shape, (1.0,) * len(shape), ("wall",) * len(shape)),
        [pf.Species("cation", +1)],
        permittivity=4.0,
        walls={"x-": pf.Wall(surface_charge=-1.0)},
    )
    run = pf.simulate(cell, torch.ones(1, *shape, dtype=f64), times(0, 1.0)).require_success()
    assert float(run.ledger.gauss_error.max()) <= 1e-13
