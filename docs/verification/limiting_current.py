"""A steady current of cations through a salt whose anions are blocked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Row, Table, f64, profile
from pnpfusion.visualize.style import COOL, FAINT, WARM, new_figure, styled

SHARES = (0.2, 0.5, 0.9)
DEBYE = 1e-3


def driven(n: int, shares: Tensor, debye: float) -> tuple[pf.PNP, Tensor]:
    """The cell on [-1, 1] with so much of the limiting flux through both walls, and its state."""
    half = torch.atanh(shares)
    edges = torch.tanh(1.5 * torch.linspace(-1, 1, n + 1, dtype=f64)) / math.tanh(1.5)
    cell = pf.PNP(
        pf.Grid((n,), (2.0,), ("wall",), edges=(edges,)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * debye**2,
        walls={
            "x-": pf.Wall(potential=half, flux={"cation": 2 * shares}),
            "x+": pf.Wall(potential=-half, flux={"cation": -2 * shares}),
        },
    )
    c0 = torch.ones(len(shares), 2, n, dtype=f64)
    return cell, pf.equilibrium(cell, c0).require_success().final


def known(x: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Concentration and potential where the salt is neutral."""
    c = 1 - share * x
    return c, torch.log(c) - math.log1p(-(share**2)) / 2


def tables(sizes: Sequence[int]) -> list[Table]:
    """Salt and potential away from the walls."""
    shares, salt, potential = torch.tensor(SHARES, dtype=f64), [], []
    for n in sizes:
        cell, rest = driven(n, shares, DEBYE)
        x, phi = cell.grid.coordinates(0), cell.potential(rest)
        middle = x.abs() < 0.9
        wanted = [known(x, share) for share in SHARES]
        salt.append(
            [float((r - c).abs()[:, middle].max()) for r, (c, _) in zip(rest, wanted, strict=True)]
        )
        potential.append(
            [float((p - w).abs()[middle].max()) for p, (_, w) in zip(phi, wanted, strict=True)]
        )
    rows: list[Row] = []
    for name, errors, bounds in (
        ("c₊, c₋", salt, (5e-6, 1e-4, 1e-3)),
        ("φ", potential, (5e-4, 4e-3, 5e-2)),
    ):
        for i, (share, bound) in enumerate(zip(SHARES, bounds, strict=True)):
            found = [e[i] for e in errors]
            rows += profile(f"{name}, j = {share:g}", sizes, found, bound=bound, power=0)
    return [Table("Largest error for |x| < .9", rows, relative=False)]


def figure() -> Figure:
    """Profiles at three currents."""
    with styled():
        drawn = new_figure(
            7.6, 3.2, "A current tilts the salt, and bends the potential near its limit"
        )
        left, right = drawn.subplots(1, 2)
        shares = torch.tensor(SHARES, dtype=f64)
        cell, rest = driven(256, shares, DEBYE)
        x, phi = cell.grid.coordinates(0), cell.potential(rest)
        line = torch.linspace(-1, 1, 200, dtype=f64)
        for i, (share, color) in enumerate(zip(SHARES, (COOL[1], COOL[0], WARM[0]), strict=True)):
            for axes, values, exact in zip(
                (left, right), (rest[i, 0], phi[i]), known(line, share), strict=True
            ):
                axes.plot(line, exact, color=FAINT, lw=1)
                axes.plot(x[::10], values[::10], "o", ms=3, color=color, label=f"j = {share:g}")
        left.set(xlabel="$x$  ($L$)", ylabel="salt", title="Lines: exact")
        right.set(xlabel="$x$  ($L$)", ylabel="potential  ($kT/e$)", title="Potential")
        left.legend()
    return drawn


CASE = Case(
    key="limiting-current",
    title="Current below the limit",
    text="""\
Cations enter at $x = -1$ and leave at $x = 1$ at the share $j$ of the limiting flux
$2 D c_0 / L$; anions are blocked. Where the salt is neutral

$$c = 1 - jx, \\qquad \\phi = \\ln c - \\tfrac12\\ln(1 - j^2), \\qquad \\phi(-1) - \\phi(1) =
2\\,\\mathrm{artanh}\\,j .$$

Walls hold these potentials, and $\\lambda_D/L = 10^{-3}$. What is left is the Debye length: the
salt is not neutral right at the walls, so the table looks at $|x| < .9$, and its bounds are
physics; refining the grid does not lower them for good.""",
    tables=tables,
    figure=figure,
    caption=(
        "Salt and potential at a fifth, a half and nine tenths of the limiting current, 256 cells."
    ),
)
