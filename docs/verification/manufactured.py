"""Orders in space and time by solutions that are made up and differentiated by autograd."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Row, Table, f64, profile
from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.pnp_arguments import Scheme
from pnpfusion.solvers import (
    RK4,
    TRBDF2,
    AsymptoticPreserving,
    BackwardEuler,
    Euler,
    Heun,
    KenCarp4,
)
from pnpfusion.solvers.grid import Boundary
from pnpfusion.visualize.style import COOL, FAINT, WARM, new_figure, styled

Function = Callable[[Tensor], Tensor]  #: of positions (..., d)
EPSILON = 0.1
DECAY = 10.0

#: scheme: mean error of the rate on one axis with 64 cells, relative to the mean rate
SCHEMES: dict[Scheme, float] = {
    "scharfetter-gummel": 6e-3,
    "central": 6e-3,
    "harmonic": 6e-3,
}


def slopes(f: Function, r: Tensor) -> Tensor:
    """The gradient of ``f`` at ``r``, ``(..., d)``."""
    return torch.autograd.grad(f(r).sum(), r, create_graph=True)[0]


def divergence(flux: Tensor, r: Tensor) -> Tensor:
    """The divergence of ``flux`` ``(..., d)``."""
    total = torch.zeros_like(flux[..., 0])
    for axis in range(r.shape[-1]):
        slope = torch.autograd.grad(flux[..., axis].sum(), r, retain_graph=True)[0]
        total = total + slope[..., axis]
    return total


def made_up(dims: int, wall: bool) -> dict[str, Function]:
    """Concentrations, potential, diffusivity and permittivity; smooth, nothing flows at walls."""
    k = math.pi * (1 if wall else 2)

    def wave(r: Tensor, mode: int, shift: float) -> Tensor:
        """Different along each axis; on periodic axes shifted, so that no symmetry helps."""
        parts = [
            torch.cos(k * mode * (r[..., a] - (0.0 if wall else shift + 0.1 * a)))
            for a in range(dims)
        ]
        return math.prod(parts[1:], start=parts[0])

    return {
        "cation": lambda r: 1 + 0.5 * wave(r, 1, 0.1),
        "anion": lambda r: 1 - 0.3 * wave(r, 2, 0.3),
        "potential": lambda r: wave(r, 1, 0.2) + 0.5 * wave(r, 2, 0.0),
        "diffusivity": lambda r: 1 + 0.4 * wave(r, 1, 0.4),
        "permittivity": lambda r: EPSILON * (1 + 0.3 * wave(r, 2, 0.15)),
    }


def error_in_space(n: int, dims: int, wall: bool, scheme: Scheme) -> float:
    """Of ``cell.rate``, which solves Poisson's equation first.

    In the mean, relative to the mean rate.

    The fixed charge is what makes the potential the wanted one.
    """
    edges = None
    if wall:  # graded along x
        s = torch.linspace(-1, 1, n + 1, dtype=f64)
        edges = (torch.tanh(1.2 * s) / math.tanh(1.2) / 2 + 0.5, *[None] * (dims - 1))
    boundaries: list[Boundary] = ["wall" if wall else "periodic"] * dims
    grid = pf.Grid((n,) * dims, (1.0,) * dims, tuple(boundaries), edges=edges)
    axes = torch.meshgrid(*(grid.coordinates(a) for a in range(dims)), indexing="ij")
    r = torch.stack(axes, -1).requires_grad_()
    f = made_up(dims, wall)
    down = slopes(f["potential"], r)
    rho = -divergence(f["permittivity"](r)[..., None] * down, r)
    exact, ions = [], []
    for name, z in (("cation", 1.0), ("anion", -1.0)):
        mobile = f["diffusivity"](r)[..., None]
        flux = -mobile * (slopes(f[name], r) + z * f[name](r)[..., None] * down)
        exact.append(-divergence(flux, r))
        ions.append(pf.Species(name, z, pf.Field(f["diffusivity"](r).detach())))
    with torch.no_grad():
        c = torch.stack([f["cation"](r), f["anion"](r)])
        fixed = rho - (c[0] - c[1])
        fixed = fixed - (grid.weights * (fixed + c[0] - c[1])).sum() / grid.weights.sum()
        epsilon = pf.Field(f["permittivity"](r))
        cell = pf.PNP(grid, ions, permittivity=epsilon, fixed_charge=pf.Field(fixed), scheme=scheme)
        known = torch.stack(exact)
        found = cell.rate(torch.zeros((), dtype=f64), c)
        wrong, whole = ((grid.weights * v.abs()).sum() for v in (found - known, known))
        return float(wrong / whole)


class Forced(pf.Dynamics):
    """A periodic cell with sources such that a decaying wave is its exact discrete solution."""

    def __init__(self, cell: pf.PNP) -> None:
        super().__init__()
        self.cell, self.state_ndim = cell, cell.state_ndim
        kx = 2 * math.pi * cell.grid.coordinates(0) / cell.grid.lengths[0]
        a, b = 0.5 * torch.cos(kx), -0.3 * torch.cos(2 * kx)
        self.wave = torch.stack([a, b])

    def exact(self, t: Tensor) -> Tensor:
        """The solution at time t."""
        return 1 + self.wave * torch.exp(-DECAY * t)

    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        known = self.exact(t)
        source = DECAY * (1 - known) - self.cell.rate(t, known)
        return self.cell.rate(t, u) + source


#: stepper: order, steps of the coarsest run, bound there
STEPPERS: dict[Any, tuple[int, int, float]] = {
    Euler: (1, 16, 1.2e-2),
    Heun: (2, 16, 3e-4),
    RK4: (4, 16, 2e-7),
    BackwardEuler: (1, 8, 3e-2),
    TRBDF2: (2, 4, 2e-3),
    KenCarp4: (4, 4, 4e-6),
}


def small_ring(permittivity: float = 0.5) -> pf.PNP:
    return pf.PNP(
        pf.Grid((6,), (3.0,), ("periodic",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=permittivity,
    )


@cache
def time_rows() -> list[Row]:
    """Errors at t = 1/8 for 1, 2 and 4 times as many steps."""
    law, end, rows = Forced(small_ring()), 0.125, []
    start = law.exact(torch.zeros((), dtype=f64))
    wanted = law.exact(torch.tensor(end, dtype=f64))
    span = torch.tensor([0.0, end], dtype=f64)
    for method, (order, coarsest, bound) in STEPPERS.items():
        steps = [coarsest * 2**i for i in range(3)]
        runs = [pf.simulate(law, start, span, stepper=method(dt=end / s)) for s in steps]
        errors = [float((run.require_success().final - wanted).abs().max()) for run in runs]
        at_64 = bound * (coarsest / 64) ** order
        near = (order - 0.1, order + 0.1)
        rows += profile(method.__name__, steps, errors, bound=at_64, power=order, wanted=near)
    cell, steps = small_ring(), [16, 32, 64]  # no sources there: against fine steps
    c0, fine = 1 + law.wave.flip(0), KenCarp4(dt=end / 64)
    known = pf.simulate(cell, c0, span, stepper=fine).final
    methods = [AsymptoticPreserving(dt=end / s) for s in steps]
    errors = [
        float((pf.simulate(cell, c0, span, stepper=m).final - known).abs().max()) for m in methods
    ]
    return rows + profile(
        "AsymptoticPreserving", steps, errors, bound=2e-3, power=1, wanted=(0.9, 1.15)
    )


def tables(sizes: Sequence[int]) -> list[Table]:
    """Every scheme on one, two and three axes, periodic and between walls; every stepper."""
    found = []
    for dims in (1, 2, 3):
        part, rows = {1: 1, 2: 2, 3: 8}[dims], []
        for scheme, bound in SCHEMES.items():
            for wall in (False, True):
                lower = [n // part for n in sizes]
                errors = [error_in_space(n, dims, wall, scheme) for n in lower]
                what = f"{scheme}, {'walls, graded' if wall else 'periodic'}"
                rows += profile(what, lower, errors, bound=bound, wanted=(1.85, 2.15))
        axes = {1: "One axis", 2: "Two axes", 3: "Three axes"}[dims]
        found.append(Table(f"{axes}: mean error of dc/dt, relative to its mean size", rows))
    return [*found, Table("In time: error at t = 1/8, N steps", time_rows(), relative=False)]


def figure() -> Figure:
    """Errors over cells and over steps, with the slopes that they must have."""
    with styled():
        drawn = new_figure(7.6, 3.4, "Every scheme and every stepper has its order")
        left, right = drawn.subplots(1, 2)
        sizes = torch.tensor([16, 32, 64, 128])
        for dims, marker in ((1, "o"), (2, "s"), (3, "^")):
            cells = sizes if dims < 3 else sizes[:2]
            for scheme, color in zip(SCHEMES, (WARM[0], COOL[0], COOL[1]), strict=True):
                errors = [error_in_space(int(n), dims, False, scheme) for n in cells]
                label = scheme if dims == 1 else None
                left.loglog(cells, errors, marker + "-", ms=4, lw=0.8, color=color, label=label)
        left.loglog(sizes, 30.0 / sizes**2, color=FAINT, ls="--", lw=1)
        left.annotate("order 2", (40, 3e-2), color=FAINT)
        left.set(xlabel="cells per axis", ylabel="error", title="Space: ○ 1, □ 2, △ 3 axes")
        left.set_xticks(sizes.tolist(), [str(n) for n in sizes.tolist()])
        left.minorticks_off()
        left.legend(loc="lower left")
        rows = time_rows()
        for name in dict.fromkeys(row.what for row in rows):
            own = [row for row in rows if row.what == name]
            style = "--" if name in ("Euler", "Heun", "RK4") else "-"
            right.loglog([r.cells for r in own], [r.error for r in own], "o" + style, ms=3, lw=1)
            ahead = name in ("BackwardEuler", "TRBDF2", "KenCarp4")
            at, shift = own[0 if ahead else -1], {"Euler": 3, "AsymptoticPreserving": -9}
            right.annotate(
                name,
                (at.cells, at.error),
                xytext=(-5 if ahead else 5, shift.get(name, -2)),
                textcoords="offset points",
                ha="right" if ahead else "left",
                size=7,
            )
        right.set(xlabel="steps", ylabel="error", title="Time", xlim=(0.6, 1200))
    return drawn


CASE = Case(
    key="manufactured",
    title="Orders by manufactured solutions",
    text="""\
In space: $c_\\pm$, $\\phi$, $D$ and $\\varepsilon$ are chosen, products of cosines that differ
along each axis; the fixed charge that makes Poisson's equation true and the exact
$\\partial_t c$ follow by autograd. The error is that of `cell.rate`, which solves the discrete
Poisson equation first. Cells are equal in periodic boxes, and graded along $x$ between walls.
Three axes have an eighth of the cells per axis, two axes half.

In time: sources make $c = 1 + w(x) e^{-10 t}$ the exact solution of the discrete equations, so
that all that is seen is the stepper. `AsymptoticPreserving` follows `PNP` alone, without
sources; its reference are 64 steps of `KenCarp4`.""",
    tables=tables,
    figure=figure,
    caption=(
        "Left: error of dc/dt in periodic boxes. Right: error in time; dashed lines are "
        "explicit methods."
    ),
    cheap=(),
)
