"""Cells that semi-implicit steps follow, with a gradient in all that they have."""

import pnpfusion as pf
from pnpfusion.solvers import AsymptoticPreserving
from tests.registry import f64, random, times

SPAN = times(0, 0.03, 0.1)  # 3 and 6 steps


def simulated(cell, c0, span=SPAN, dt=0.0125):
    return pf.simulate(cell, c0, span, stepper=AsymptoticPreserving(dt=dt))


def leaf(*shape, low=0.5, high=1.5, seed=0, dtype=f64):
    return (low + (high - low) * random(*shape, seed=seed)).to(dtype).requires_grad_()


def electrodes(dtype=f64):
    """Closed, one electrode with a Stern layer; every parameter is of another shape."""
    given = {
        "permittivity": leaf(2, low=0.05, high=0.2, dtype=dtype),
        "potential": leaf(2, low=-3, high=3, seed=1, dtype=dtype),
        "stern": leaf(low=0.05, high=0.2, seed=2, dtype=dtype),
        "diffusivity": leaf(2, seed=4, dtype=dtype),
        "valence": leaf(5, 2, seed=5, dtype=dtype),
        "charge": leaf(5, 2, 9, low=-1, high=1, seed=6, dtype=dtype),
        "start": leaf(5, 2, 2, 9, seed=7, dtype=dtype),
    }
    cell = pf.PNP(
        pf.Grid((9,), (1.0,), ("wall",)),
        [
            pf.Species("cation", given["valence"], given["diffusivity"]),
            pf.Species("anion", -1),
        ],
        permittivity=given["permittivity"],
        walls={
            "x-": pf.Wall(potential=given["potential"], stern=given["stern"]),
            "x+": pf.Wall(potential=0.5),
        },
        fixed_charge=pf.Field(given["charge"]),
    )
    return cell, given
