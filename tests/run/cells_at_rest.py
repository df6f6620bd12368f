"""Cells of every kind that have a state of rest, and states to begin from."""

import math

import torch

import pnpfusion as pf
from tests.registry import box_of_everything, f64, random

IONS = [pf.Species("cation", 1, 1.3), pf.Species("anion", -1, 0.7)]
SALT = pf.Reaction(["salt"], ["cation", "anion"], forward=3.0, backward=1.0)


def line(walls, *, cells=12, species=IONS, permittivity=0.3, boundary="wall", **more):
    grid = pf.Grid((cells,), (1.0,), (boundary,))
    return pf.PNP(grid, species, permittivity=permittivity, walls=walls, **more)


def box(walls, *, shape=(4, 3), boundaries=("wall", "wall"), species=IONS, **more):
    grid = pf.Grid(shape, tuple(0.1 * n for n in shape), boundaries)
    more = {"permittivity": 0.5, **more}
    return pf.PNP(grid, species, walls=walls, **more)


LOW = torch.tensor([True, False, False])
ELECTRODES = {"x-": pf.Wall(potential=1.5), "x+": pf.Wall(potential=-1.0, stern=0.1)}
RESERVOIR = {"cation": 1.2, "anion": 1.2}
AGREEING = {
    "x-": pf.Wall(potential=0.5, concentration={"cation": 1.0, "anion": 1.0}),
    "x+": pf.Wall(potential=0.0, concentration={"cation": math.exp(0.5), "anion": math.exp(-0.5)}),
}
MEMBRANE = {
    "x-": pf.Wall(potential=1.0, concentration={"cation": 1.0, "anion": 1.0}),
    "x+": pf.Wall(potential=0.0, concentration={"cation": 0.1, "anion": 0.1}),
}
FED = {
    "x-": pf.Wall(potential=0.5, flux={"cation": 0.4}),
    "x+": pf.Wall(potential=0.0, flux={"cation": -0.4}),
}
LEAK = {
    "x-": pf.Wall(potential=0.5, concentration={"cation": 1.0}, flux={"anion": 0.3}),
    "x+": pf.Wall(potential=0.0, concentration={"anion": 1.0}),
}
PARTS = {
    "x-": [pf.Wall(potential=2.0, mask=LOW), pf.Wall(surface_charge=0.3, mask=~LOW)],
    "y+": pf.Wall(potential=0.0, stern=0.1),
}
CHANNEL = {
    "x-": [pf.Wall(potential=1.0, concentration=RESERVOIR, mask=LOW), pf.Wall(mask=~LOW)],
    "x+": [
        pf.Wall(potential=0.0, concentration={"cation": 0.4, "anion": 0.4}, mask=~LOW),
        pf.Wall(mask=LOW),
    ],
}
THREE = [*IONS, pf.Species("salt", 0, 0.6)]
FLOATING = pf.Field(torch.tensor([0.5, -0.7, 0.2, 0.0, 0.3, -0.3] * 2, dtype=f64))
#: Cells without currents at rest: the convex way.
CONVEX = {
    "closed": line(ELECTRODES),
    "charged wall": line({"x-": pf.Wall(surface_charge=0.8), "x+": pf.Wall(potential=0.0)}),
    "agreeing reservoirs": line(AGREEING),
    "one reservoir": line({"x-": pf.Wall(potential=0.5, concentration={"cation": 2.0})}),
    "crowding": line(ELECTRODES, steric=0.2),
    "crowded reservoir": line({"x-": AGREEING["x-"], "x+": pf.Wall(potential=2.0)}, steric=0.2),
    "reactions": line(ELECTRODES, species=THREE, reactions=[SALT]),
    "ring with fixed charge": line(None, boundary="periodic", fixed_charge=FLOATING),
    "insulated box with fixed charge": line(None, fixed_charge=FLOATING),
    "ring with reactions": line(
        None, boundary="periodic", fixed_charge=FLOATING, species=THREE, reactions=[SALT]
    ),
    "insulated and crowded": line(None, fixed_charge=FLOATING, steric=0.2),
    "harmonic": line(ELECTRODES, scheme="harmonic"),
    "two axes, in parts": box(PARTS),
    "two axes, crowded, reacting": box(PARTS, species=THREE, reactions=[SALT], steric=None),
    "torus": box(
        None,
        boundaries=("periodic", "periodic"),
        fixed_charge=pf.Field(random(4, 3) - random(4, 3).mean()),
    ),
    "one cell": line(ELECTRODES, cells=1),
    "one cell afloat": line(None, cells=1),
    "three axes": box(
        {"z-": pf.Wall(potential=1.0)}, shape=(2, 3, 2), boundaries=("wall", "periodic", "wall")
    ),
}
#: Cells with currents, or with faces that do not keep equilibria: Newton's method.
GENERAL = {
    "central": line(ELECTRODES, scheme="central"),
    "central and crowded": line(ELECTRODES, scheme="central", steric=0.2),
    "central ring": line(None, boundary="periodic", fixed_charge=FLOATING, scheme="central"),
    "central with reactions": line(ELECTRODES, species=THREE, reactions=[SALT], scheme="central"),
    "membrane": line(MEMBRANE),
    "membrane, crowded": line(MEMBRANE, steric=0.2),
    "fed": line(FED),
    "leaking both ways": line(LEAK),
    "Stern reservoir": line(
        {
            "x-": pf.Wall(potential=1.0, stern=0.2, concentration=RESERVOIR),
            "x+": pf.Wall(potential=0.0),
        }
    ),
    "mixed reservoir, crowded": line(
        {
            "x-": pf.Wall(potential=1.0, concentration={"cation": 1.2}),
            "x+": pf.Wall(potential=0.0, concentration={"cation": 0.6}),
        },
        steric=0.2,
    ),
    "membrane with reactions": line(MEMBRANE, species=THREE, reactions=[SALT]),
    "crowded reactions": line(ELECTRODES, species=THREE, reactions=[SALT], steric=0.15),
    "irreversible": line(
        MEMBRANE,
        species=THREE,
        reactions=[
            pf.Reaction(["cation", "anion"], ["salt"], forward=2.0),
            pf.Reaction(["salt"], ["cation", "anion"], forward=1.0),
        ],
    ),
    "a cycle against detailed balance": line(
        ELECTRODES,
        species=[*IONS, pf.Species("a", 0), pf.Species("b", 0), pf.Species("c", 0)],
        reactions=[pf.Reaction([p], [q], forward=2.0, backward=1.0) for p, q in ("ab", "bc", "ca")],
    ),
    "two axes, central": box(PARTS, scheme="central"),
    "two axes, channel": box(CHANNEL),
    "everything": box_of_everything((4, 3), ("wall", "periodic")),
}
ALL = {**CONVEX, **GENERAL}


def start(cell, *batch, seed=0):
    """Neutral concentrations of mean about one, as uneven as a factor of two."""
    c0 = 0.6 + random(*batch, len(cell.species), *cell.grid.shape, seed=seed)
    space = tuple(range(-cell.grid.ndim, 0))
    mean = cell.charge(c0).mean(space, keepdim=True)
    c0 = c0.clone()
    c0.select(-cell.state_ndim, 1).add_(mean)
    return c0
