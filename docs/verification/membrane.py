"""Two ions between two reservoirs under a voltage, at any permittivity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Row, Table, f64, series
from pnpfusion.dynamics.pnp_arguments import Scheme
from pnpfusion.visualize.style import COOL, FAINT, WARM, new_figure, styled

#: permittivity: fluxes of cation and anion, from a boundary-value solver
KNOWN = {
    1e3: (1.5237569719878, 0.4237851725499),
    1.0: (1.5039975083093, 0.4293483145101),
    0.02: (1.3510398948915, 0.4795874025315),
}
#: for small permittivity c falls linearly, and the potential as its logarithm
NEUTRAL = (0.9 + 0.9 / math.log(10), 0.9 - 0.9 / math.log(10))


def membrane(n: int, permittivity: Tensor, scheme: Scheme) -> tuple[pf.PNP, Tensor]:
    """c = 1 | .1 and phi = 1 | 0; one sample per permittivity."""
    cell = pf.PNP(
        pf.Grid((n,), (1.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=permittivity,
        walls={
            "x-": pf.Wall(1.0, concentration={"cation": 1.0, "anion": 1.0}),
            "x+": pf.Wall(0.0, concentration={"cation": 0.1, "anion": 0.1}),
        },
        scheme=scheme,
    )
    c0 = torch.full((len(permittivity), 2, n), 0.5, dtype=f64)
    return cell, pf.equilibrium(cell, c0).require_success().final


def tables(sizes: Sequence[int]) -> list[Table]:
    """Both fluxes for three schemes, and the electroneutral limit."""
    tables = []
    schemes: tuple[Scheme, ...] = ("scharfetter-gummel", "central", "harmonic")
    for scheme in schemes:
        rows: list[Row] = []
        found = []
        for n in sizes:
            cell, rest = membrane(n, torch.tensor([*KNOWN, 1e-7], dtype=f64), scheme)
            found.append(cell.flux(rest).mean(-1))
        for i, (epsilon, known) in enumerate([*KNOWN.items(), (1e-7, NEUTRAL)]):
            name = f"ε = {epsilon:g}" + (" (limit)" if epsilon == 1e-7 else "")
            for ion, sign in enumerate("₊₋"):
                computed = [float(f[i, ion]) for f in found]
                rows += series(f"J{sign}, {name}", sizes, computed, known[ion], bound=4e-4)
        tables.append(Table(f"Fluxes, {scheme} faces", rows))
    return tables


def figure() -> Figure:
    """Fluxes over the permittivity, and profiles at both ends of it."""
    with styled():
        drawn = new_figure(7.6, 3.3, "From constant field to electroneutrality in one batch")
        left, right = drawn.subplots(1, 2)
        permittivity = torch.logspace(-6, 4, 41, dtype=f64)
        cell, rest = membrane(128, permittivity, "scharfetter-gummel")
        flux = cell.flux(rest).mean(-1)
        for ion, (color, name) in enumerate(((WARM[0], "cation"), (COOL[0], "anion"))):
            left.semilogx(permittivity, flux[:, ion], color=color, label=name)
            known = [pair[ion] for pair in KNOWN.values()]
            left.semilogx([*KNOWN], known, "o", ms=5, color=color, mfc="white")
            left.axhline(NEUTRAL[ion], color=FAINT, lw=1, ls="--")
        left.set(
            xlabel="permittivity ε",
            ylabel="flux",
            ylim=(0, 1.7),
            title="Rings: known; dashed: limit",
        )
        left.legend(loc="center right")
        x = cell.grid.coordinates(0)
        for i, style in ((-1, "--"), (0, "-")):
            for ion, (color, name) in enumerate(((WARM[0], "cation"), (COOL[0], "anion"))):
                label = f"{name}, ε = 10$^{{{4 if i else -6}}}$"
                right.plot(
                    x, rest[i, ion], style, color=color, label=label, lw=1.6 if i else 2.4 - ion
                )
        right.set(xlabel="$x$  ($L$)", ylabel="concentration", title="Steady profiles")
        right.legend()
    return drawn


CASE = Case(
    key="membrane",
    title="A membrane between two reservoirs",
    text="""\
$c_\\pm(0) = 1$, $c_\\pm(1) = 0.1$, $\\phi$ from 1 to 0, $D = 1$; the steady fluxes, which any
permittivity must give. The references for $\\varepsilon$ = 10³, 1, .02 are those of a
boundary-value solver. For $\\varepsilon \\to 0$ the salt falls linearly, the potential as its
logarithm, and

$$J_\\pm = 0.9\\left(1 \\pm \\frac{1}{\\ln 10}\\right).$$

All permittivities of a grid are one call.""",
    tables=tables,
    figure=figure,
    caption=(
        "Left: both fluxes at 41 permittivities. Right: the ions part in a constant field and "
        "go together where charge is dear."
    ),
)
