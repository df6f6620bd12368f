"""Boxes one cell wide along an axis between walls."""

import pytest
import torch

import pnpfusion as pf
from tests.registry import ALL_SCHEMES, f64, times


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
def test_walls_in_parts_on_an_axis_of_one_cell(scheme: str) -> None:
    """No face lies between these walls, so all that varies over them is at the walls."""
    grid = pf.Grid((3, 1), (1.0, 0.5), ("wall", "wall"))
    beside = torch.tensor([True, False, False])
    cell = pf.PNP(
        grid,
        [pf.Species("salt", 0)],
        permittivity=1.0,
        walls={
            "x-": pf.Wall(potential=0.0),
            "y-": [pf.Wall(concentration={"salt": 2.0}, mask=beside), pf.Wall(mask=~beside)],
        },
        scheme=scheme,  # type: ignore[arg-type]
    )
    run = pf.simulate(cell, torch.ones(1, 3, 1, dtype=f64), times(0, 0.02, 50.0))
    early, late = run.states[1, 0, :, 0], run.final[0, :, 0]
    assert float(early[0]) > float(early[1]) > float(early[2]) > 1.0
    torch.testing.assert_close(late, torch.full_like(late, 2.0), rtol=1e-6, atol=1e-6)
