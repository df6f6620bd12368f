"""Cells whose walls change with time."""

import torch

import pnpfusion as pf
from tests.registry import random

IONS = [pf.Species("cation", 1), pf.Species("anion", -1)]


def line(left, right, *, cells=12, permittivity=0.3, **more):
    grid = pf.Grid((cells,), (1.0,), ("wall",))
    walls = {
        side: wall if isinstance(wall, pf.Wall) else pf.Wall(potential=wall)
        for side, wall in (("x-", left), ("x+", right))
    }
    return pf.PNP(grid, IONS, permittivity=permittivity, walls=walls, **more)


def driven_box():
    """Two axes; one electrode on a part of a wall, whose potential is a field over it."""
    grid = pf.Grid((4, 3), (0.4, 0.3), ("wall", "wall"))
    low = torch.tensor([True, True, False])
    shape = 1 + random(3)
    return pf.PNP(
        grid,
        IONS,
        permittivity=0.5,
        walls={
            "x-": [
                pf.Wall(
                    potential=lambda t: pf.Field(torch.sin(9 * t)[..., None] * shape), mask=low
                ),
                pf.Wall(surface_charge=lambda t: 0.3 * torch.cos(7 * t), mask=~low),
            ],
            "x+": pf.Wall(potential=0.0, stern=0.1),
            "y+": pf.Wall(flux={"anion": lambda t: 0.2 * t}),
        },
    )
