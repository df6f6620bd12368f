"""A cell of which every part can change between runs."""

import torch

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, Field
from tests.registry import f64, times

SPAN = times(0, 0.05)


def cell_with(**changes):
    """A cell with one parameter of each kind; a test changes one of them."""
    made = {
        "permittivity": torch.tensor(1.0, dtype=f64),
        "potential": torch.tensor([0.5, 0.8], dtype=f64),
        "stern": torch.tensor(0.1, dtype=f64),
        "concentration": {"cation": torch.tensor(1.0, dtype=f64)},
        "flux": {"anion": torch.tensor(0.1, dtype=f64)},
        "fixed_charge": pf.Field(torch.linspace(-0.1, 0.1, 8, dtype=f64)),
        "diffusivity": torch.tensor([1.0, 1.5], dtype=f64),
        "valence": torch.tensor(-1.0, dtype=f64),
        "steric": torch.tensor(0.1, dtype=f64),
        "forward": torch.tensor(0.3, dtype=f64),
    } | changes
    return pf.PNP(
        pf.Grid((8,), (1.0,), ("wall",)),
        [
            pf.Species("cation", 1, made["diffusivity"]),
            pf.Species("anion", made["valence"]),
            pf.Species("salt", 0),
        ],
        permittivity=made["permittivity"],
        walls={
            "x-": pf.Wall(potential=made["potential"], stern=made["stern"]),
            "x+": pf.Wall(potential=0.0, concentration=made["concentration"], flux=made["flux"]),
        },
        fixed_charge=made["fixed_charge"],
        steric=made["steric"],
        reactions=[pf.Reaction(["salt"], ["cation", "anion"], made["forward"], 0.3)],
    ), made


START = torch.linspace(0.5, 1.5, 48, dtype=f64).reshape(2, 3, 8)


def final(cell, start=START, x=None):
    return pf.simulate(cell, start, SPAN, x=x, stepper=TRBDF2(rtol=1e-4)).final


LEAVES = [
    "permittivity", "potential", "stern", "fixed_charge", "diffusivity", "steric", "forward",
    "concentration", "flux",
]  # fmt: skip


def tensors_in(made):
    """The tensors of :func:`cell_with`, by name."""
    found = {}
    for name in LEAVES:
        value = made[name]
        value = next(iter(value.values())) if isinstance(value, dict) else value
        found[name] = value.values if isinstance(value, Field) else value
    return found
