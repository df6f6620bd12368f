"""Every member of every family, so that a new one is tested by adding one line here."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.dynamics.base import Input
from pnpfusion.solvers import (
    FACE_SCHEMES,
    RK4,
    TRBDF2,
    AsymptoticPreserving,
    BackwardEuler,
    Euler,
    Heun,
    KenCarp4,
    Odeint,
    Stepper,
)

f64 = torch.float64
ALL_SCHEMES = list(FACE_SCHEMES)
EXPLICIT = [Euler, Heun, RK4]
IMPLICIT = [BackwardEuler, TRBDF2, KenCarp4]
#: Steppers that follow any law with steps of a given size; AsymptoticPreserving follows PNP only.
FIXED_STEP = [*EXPLICIT, *IMPLICIT]
ADAPTIVE: list[Stepper] = [BackwardEuler(), TRBDF2(), KenCarp4(), Odeint()]
ALL_STEPPERS: list[Stepper] = [
    *(method(dt=1e-4) for method in FIXED_STEP),
    AsymptoticPreserving(dt=1e-4),
    *ADAPTIVE,
]


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


#: Every law, with a state to start from.
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
]


def times(*values: float) -> Tensor:
    """A float64 vector of times."""
    return torch.tensor(values, dtype=f64)


def slope(sizes: list[float], errors: list[float]) -> float:
    """The least-squares slope of log(error) over log(size)."""
    x, y = (torch.tensor(values, dtype=f64).log() for values in (sizes, errors))
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / x.square().sum())
