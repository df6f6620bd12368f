"""Every member of every family: what a room shows at its door is tested.

A new stepper, law or layer is one file and the line that names it in the door of its room,
`solvers/__init__.py`, `pnpfusion/dynamics/__init__.py` or `pnpfusion/fusion/__init__.py`.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.dynamics.input import Input
from pnpfusion.solvers import (
    ETDRK4,
    FACE_SCHEMES,
    IFRK4,
    Anderson,
    AsymptoticPreserving,
    Broyden,
    FixedPointSolver,
    NewtonKrylov,
    Odeint,
    Picard,
    Stepper,
)
from pnpfusion.solvers.steppers.explicit import ExplicitRK
from pnpfusion.solvers.steppers.implicit import ESDIRK

Kind = TypeVar("Kind")


def members(room: ModuleType, family: type[Kind]) -> list[type[Kind]]:
    """The classes of a family that a room shows at its door, but for abstract ones."""
    shown = [one for one in vars(room).values() if isinstance(one, type)]
    return [one for one in shown if issubclass(one, family) and not inspect.isabstract(one)]


def arguments(made: type) -> dict[str, bool]:
    """The arguments that a class is made from, and whether it can be made without them."""
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    given = inspect.signature(made).parameters.values()
    return {one.name: one.default is not one.empty for one in given if one.kind in kinds}


f64 = torch.float64
ALL_SCHEMES = list(FACE_SCHEMES)
EXPLICIT = members(pf.solvers, ExplicitRK)
IMPLICIT = members(pf.solvers, ESDIRK)
#: Steppers that follow any law with steps of a given size; AsymptoticPreserving follows PNP only.
FIXED_STEP = [*EXPLICIT, *IMPLICIT]
ADAPTIVE: list[Stepper] = [*(method() for method in IMPLICIT), Odeint()]
ALL_STEPPERS: list[Stepper] = [
    *(method(dt=1e-4) for method in FIXED_STEP),
    AsymptoticPreserving(dt=1e-4),
    *ADAPTIVE,
]

#: Members that run only with their own parts, tested apart: laws of feedback, series.
APART = {pf.ContractiveDEQ, pf.Coupled, pf.DEQ, pf.Progressive, ETDRK4, IFRK4}

FIXED_POINT_SOLVERS: list[FixedPointSolver] = [Picard(), Anderson(), Broyden(), NewtonKrylov()]


def stepper_name(stepper: Stepper) -> str:
    """A test's name for a stepper."""
    return repr(stepper)


class Pendulum(pf.Dynamics):
    """A nonlinear oscillator without a closed solution; smooth, not stiff."""

    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        angle, speed = u.unbind(-1)
        return torch.stack([speed, -angle.sin() - 0.2 * speed], -1)


class Decay(pf.Dynamics):
    """du/dt = -x u, with the solution u0 exp(-x t)."""

    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        return -u if x is None else -x * u


def blocking_cell(
    cells: int = 32,
    *,
    debye: float = 0.3,
    voltage: float | Tensor = 1.0,
    scheme: str = "scharfetter-gummel",
) -> pf.PNP:
    """Two ions of valence +1 and -1 on [0, 2] between electrodes at -voltage and +voltage."""
    return pf.PNP(
        pf.Grid((cells,), (2.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * debye**2,
        walls={"x-": pf.Wall(potential=-voltage), "x+": pf.Wall(potential=voltage)},
        scheme=scheme,  # type: ignore[arg-type]
    )


def ring(
    cells: int = 32, *, permittivity: float = 0.2, scheme: str = "scharfetter-gummel"
) -> pf.PNP:
    """Two ions of valence +1 and -1 on a periodic cell of length 1."""
    return pf.PNP(
        pf.Grid((cells,), (1.0,), ("periodic",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=permittivity,
        scheme=scheme,  # type: ignore[arg-type]
    )


def random(*shape: int, seed: int = 0) -> Tensor:
    """Even between 0 and 1, float64."""
    return torch.rand(shape, dtype=f64, generator=torch.Generator().manual_seed(seed))


def masked_walls(cells: tuple[int, int] = (6, 5), *, voltage: float | Tensor = 1.0) -> pf.PNP:
    """Two ions in a closed box of two axes; electrodes cover a part of two of its walls."""
    grid = pf.Grid(cells, (0.5, 0.6), ("wall", "wall"))
    low = grid.coordinates(1) < 0.3
    return pf.PNP(
        grid,
        [pf.Species("cation", +1), pf.Species("anion", -1, 1.5)],
        permittivity=0.8,
        walls={
            "x-": [pf.Wall(potential=voltage, mask=low), pf.Wall(surface_charge=0.2, mask=~low)],
            "y+": pf.Wall(potential=0.0, stern=0.1),
        },
    )


def box_of_everything(
    shape: tuple[int, ...],
    boundaries: tuple[str, ...],
    *,
    scheme: str = "scharfetter-gummel",
    steric: float | None = 0.15,
) -> pf.PNP:
    """Three species under every condition there is, all of them fields; walls in two parts."""
    grid = pf.Grid(shape, tuple(0.1 * n for n in shape), boundaries)  # type: ignore[arg-type]
    walls: dict[str, pf.Wall | list[pf.Wall]] = {}
    for seed, side in enumerate(grid.sides):
        axis = "xyz".index(side[0])
        over = shape[:axis] + shape[axis + 1 :]

        def field(k: int, over: tuple[int, ...] = over, seed: int = seed) -> pf.Field:
            return pf.Field(0.2 + random(*over, seed=10 * seed + k))

        electrode = pf.Wall(
            potential=field(0),
            stern=field(1),
            concentration={"cation": field(2)},
            flux={"salt": field(3)},
        )
        charged = pf.Wall(
            surface_charge=field(4),
            flux={"anion": field(5)},
            concentration={"salt": field(6), "cation": field(7)},
        )
        if len(shape) == 1:
            walls[side] = electrode if side == "x-" else charged
            continue
        mask = random(*over, seed=10 * seed + 8) < 0.5
        mask.view(-1)[0] = True
        parts = (electrode, mask), (charged, ~mask)
        walls[side] = [dataclasses.replace(wall, mask=where) for wall, where in parts]
    return pf.PNP(
        grid,
        [
            pf.Species("cation", +1.0, pf.Field(0.4 + 0.6 * random(*shape, seed=1))),
            pf.Species("anion", -1.0, 1.2),
            pf.Species("salt", 0, 0.6),
        ],
        permittivity=pf.Field(0.8 + random(*shape, seed=2)),
        walls=walls,
        fixed_charge=pf.Field(random(*shape, seed=3)),
        scheme=scheme,  # type: ignore[arg-type]
        steric=steric,
        reactions=[
            pf.Reaction(
                ["salt"],
                ["cation", "anion"],
                forward=2.0,
                backward=pf.Field(0.5 + random(*shape, seed=4)),
            )
        ],
    )


#: Every law, with a state to start from. Laws that can be made without arguments and say their
#: `state_shape` begin from random ones.
ALL_DYNAMICS: list[tuple[pf.Dynamics, Tensor]] = [
    (Decay(), torch.tensor([1.0, 2.0], dtype=f64)),
    (Pendulum(), torch.tensor([1.0, 0.0], dtype=f64)),
    (blocking_cell(), torch.ones(2, 32, dtype=f64)),
    (
        ring(),
        torch.stack(
            [1 + 0.5 * torch.sin(2 * math.pi * (torch.arange(32) + 0.5) / 32)] * 2
        ).double(),
    ),
    (masked_walls(), torch.ones(2, 6, 5, dtype=f64)),
    *(
        (law(), 0.5 + random(*law().state_shape))  # type: ignore[misc]
        for law in members(pf.dynamics, pf.Dynamics)
        if all(arguments(law).values()) and law().state_shape
    ),
]


def contract(law: pf.DEQ) -> pf.DEQ:
    """The paper's cell with the gains of its last norms at 0.3, which makes it contract."""
    with torch.no_grad():
        for norm in [law.fusion.norm, *(block.norm3 for block in law.unimodal)]:
            norm.weight.mul_(0.3)
    return law


def contracting_paper(dims: dict[str, int], out_dim: int) -> pf.fusion.DEQ:
    """A layer with the paper's cell, contracting, solved."""
    layer = pf.fusion.DEQ(dims, out_dim, cell="paper", width=32)
    assert isinstance(layer.dynamics, pf.DEQ)
    contract(layer.dynamics)
    return layer


#: Every fusion layer, and variants of some, made from (dims, out_dim).
ALL_LAYERS: dict[str, Callable[[dict[str, int], int], pf.fusion.FusionLayer]] = {
    **{
        one.__name__: one
        for one in members(pf.fusion, pf.fusion.FusionLayer)
        if [*arguments(one)][:2] == ["dims", "out_dim"]
    },
    "DEQ of the paper": contracting_paper,
    "DEQ of the paper, unrolled": lambda dims, out_dim: pf.fusion.DEQ(
        dims, out_dim, cell="paper", rounds=3
    ),
    "PNP in time": lambda dims, out_dim: pf.fusion.PNP(dims, out_dim, run="transient"),
    "PNP uncoupled": lambda dims, out_dim: pf.fusion.PNP(dims, out_dim, coupled=False),
    "PNP of mlps": lambda dims, out_dim: pf.fusion.PNP(dims, out_dim, encoder="mlp"),
    "Progressive to rest": lambda dims, out_dim: pf.fusion.Progressive(
        dims, out_dim, rounds=None, hidden=8, bottleneck=4, context=2
    ),
    "Completion of PNP": lambda dims, out_dim: pf.fusion.Completion(pf.fusion.PNP(dims, out_dim)),
    "Completion of DEQ": lambda dims, out_dim: pf.fusion.Completion(
        pf.fusion.DEQ(dims, out_dim), hidden=8
    ),
    "GMF before Concat": lambda dims, out_dim: pf.fusion.GMF(
        dims, out_dim, backend=pf.fusion.Concat(dims, 4)
    ),
}


def times(*values: float) -> Tensor:
    """A float64 vector of times."""
    return torch.tensor(values, dtype=f64)


def slope(sizes: list[float], errors: list[float]) -> float:
    """The least-squares slope of log(error) over log(size)."""
    x, y = (torch.tensor(values, dtype=f64).log() for values in (sizes, errors))
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / x.square().sum())
