"""Ions in a constant field, reversal potentials, and the junction that carries no current."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Table, f64, series
from docs.verification.open_circuit import open_circuit_voltage
from pnpfusion.dynamics.pnp_arguments import Scheme
from pnpfusion.units import FARADAY, GAS_CONSTANT, mV
from pnpfusion.visualize.style import COOL, FAINT, WARM, new_figure, styled

THIN = 1e14  # a permittivity at which no charge bends the potential
DRIVES = (-4.0, -1.0, 0.0, 1.0)

#: name: permeability and concentrations inside and outside of each ion
MEMBRANES: dict[str, dict[str, tuple[int, float, float, float]]] = {
    "K⁺ alone (Nernst)": {"K": (+1, 1.0, 140.0, 5.0)},
    "cation and anion, P = 1, .04": {"K": (+1, 1.0, 140.0, 5.0), "Cl": (-1, 0.04, 20.0, 110.0)},
    "K⁺, Na⁺, Cl⁻, P = 1, .04, .45": {
        "K": (+1, 1.0, 140.0, 5.0),
        "Na": (+1, 0.04, 12.0, 145.0),
        "Cl": (-1, 0.45, 4.0, 116.0),
    },
}


def goldman_flux(u: float) -> float:
    """J / P from concentration 1 to .1 through a potential that falls by ``u``."""
    return 0.9 if u == 0 else u * (1 - 0.1 * math.exp(-u)) / -math.expm1(-u)


def fluxes(n: int, drives: Sequence[float], scheme: Scheme) -> Tensor:
    """The flux for each drive, one call."""
    cell = pf.PNP(
        pf.Grid((n,), (1.0,), ("wall",)),
        [pf.Species("ion", +1)],
        permittivity=THIN,
        walls={
            "x-": pf.Wall(torch.tensor(drives, dtype=f64), concentration={"ion": 1.0}),
            "x+": pf.Wall(0.0, concentration={"ion": 0.1}),
        },
        scheme=scheme,
    )
    c0 = torch.full((len(drives), 1, n), 0.5, dtype=f64)
    return cell.flux(pf.equilibrium(cell, c0).require_success().final)[:, 0].mean(-1)


def reversal(n: int, name: str) -> tuple[float, float]:
    """The potential inside without a current, found and by Goldman's formula, in kT/e."""
    ions = MEMBRANES[name]
    grid = pf.Grid((n,), (1.0,), ("wall",))
    species = [pf.Species(ion, z, p) for ion, (z, p, _, _) in ions.items()]
    inside, outside = ({ion: row[side] for ion, row in ions.items()} for side in (2, 3))

    def cell(v: Tensor) -> pf.PNP:
        walls = {
            "x-": pf.Wall(v, concentration=inside),
            "x+": pf.Wall(0.0, concentration=outside),
        }
        return pf.PNP(grid, species, permittivity=THIN, walls=walls)

    c0 = torch.full((1, len(ions), n), 50.0, dtype=f64)
    found = open_circuit_voltage(cell, c0)
    into = sum(p * (out if z > 0 else ins) for z, p, ins, out in ions.values())
    away = sum(p * (ins if z > 0 else out) for z, p, ins, out in ions.values())
    return float(found), math.log(into / away)


def junction(n: int, permittivity: Tensor) -> Tensor:
    """phi(0) - phi(1) without a current, D- = 2 D+, c 1 | .1, for every permittivity."""
    ions = [pf.Species("cation", +1, 1.0), pf.Species("anion", -1, 2.0)]
    grid = pf.Grid((n,), (1.0,), ("wall",))

    def cell(v: Tensor) -> pf.PNP:
        walls = {
            "x-": pf.Wall(v, concentration={"cation": 1.0, "anion": 1.0}),
            "x+": pf.Wall(0.0, concentration={"cation": 0.1, "anion": 0.1}),
        }
        return pf.PNP(grid, ions, permittivity=permittivity, walls=walls)

    c0 = (1 - 0.9 * grid.coordinates(0)).expand(len(permittivity), 2, n)
    return open_circuit_voltage(cell, c0)


NEUTRAL = math.log(10) / 3  # the limit of small permittivity
GOLDMAN = math.log((0.1 + 2 * 1.0) / (1.0 + 2 * 0.1))  # of a large one


def tables(sizes: Sequence[int]) -> list[Table]:
    """Fluxes at any number of cells, reversal potentials, the junction in its two limits."""
    rows = []
    schemes: tuple[tuple[Scheme, float, int], ...] = (
        ("scharfetter-gummel", 1e-12, 0),
        ("central", 4e-4, 2),
        ("harmonic", 5e-4, 2),
    )
    for scheme, bound, power in schemes:
        cells = [1, 7, *sizes] if power == 0 else sizes
        found = [fluxes(n, DRIVES, scheme) for n in cells]
        for i, u in enumerate(DRIVES):
            computed, exact = [float(f[i]) for f in found], goldman_flux(u)
            what = f"J, {scheme}, u = {u:g}"
            rows += series(what, cells, computed, exact, bound=bound, power=power)
    constant = Table("Flux of one ion in a constant field", rows)

    rows, thermal = [], GAS_CONSTANT * 310.15 / FARADAY / mV
    for name in MEMBRANES:
        pairs = [reversal(n, name) for n in (7, *sizes[:1])]
        volts, known = [v * thermal for v, _ in pairs], pairs[0][1] * thermal
        rows += series(name, (7, *sizes[:1]), volts, known, bound=1e-10, power=0)
    goldman = Table("Reversal potential in mV at 310.15 K (Scharfetter–Gummel)", rows)

    limits = torch.tensor([1e-7, 1e8], dtype=f64)
    found = [junction(n, limits) for n in sizes]
    rows = series(
        "ε = 10⁻⁷, against ln(10)/3", sizes, [float(f[0]) for f in found], NEUTRAL, bound=5e-4
    ) + series(
        "ε = 10⁸, against Goldman",
        sizes,
        [float(f[1]) for f in found],
        GOLDMAN,
        bound=1e-8,
        power=0,
    )
    return [constant, goldman, Table("Voltage of the junction without a current", rows)]


def figure() -> Figure:
    """Flux over drive, and the voltage of the junction between its limits."""
    with styled():
        drawn = new_figure(7.6, 3.3, "Goldman's flux at any grid; one junction between two limits")
        left, right = drawn.subplots(1, 2)
        u = torch.linspace(-6, 6, 25, dtype=f64).tolist()
        left.plot(u, [goldman_flux(v) for v in u], color=FAINT, lw=1, label="exact")
        left.plot(u, fluxes(7, u, "scharfetter-gummel"), "o", ms=4, color=WARM[0], label="7 cells")
        left.axhline(0, color=FAINT, lw=0.5)
        left.set(xlabel="drive $u$  ($kT/e$)", ylabel="flux $J$", title="Concentrations 1 and 0.1")
        left.legend()
        permittivity = torch.logspace(-6, 4, 31, dtype=f64)
        right.semilogx(permittivity, junction(128, permittivity), "o-", ms=3, color=COOL[0])
        for value, name in ((NEUTRAL, "electroneutral: ln(10)/3"), (GOLDMAN, "Goldman")):
            right.axhline(value, color=FAINT, lw=1, ls="--")
            right.annotate(
                name,
                (1e-6 if name == "Goldman" else 1e4, value),
                ha="left" if name == "Goldman" else "right",
                va="bottom",
            )
        right.set(
            xlabel="permittivity ε", ylabel="voltage  ($kT/e$)", title="No current, $D_-=2D_+$"
        )
        right.margins(y=0.12)
    return drawn


CASE = Case(
    key="constant-field",
    title="Constant field, reversal potentials, a junction without a current",
    text="""\
Where the permittivity is large no charge bends the potential. An ion then crosses from
$c_{in} = 1$ to $c_{out} = 0.1$ through a drop $u$ (Goldman, Hodgkin, Katz) at

$$J = u\\,\\frac{c_{in} - c_{out} e^{-u}}{1 - e^{-u}},$$

which Scharfetter–Gummel faces give to round-off on any grid, even of one cell. Without a
current the potential inside is
$\\ln[(\\sum P_+ c_{out} + \\sum P_- c_{in})/(\\sum P_+ c_{in} + \\sum P_- c_{out})]$. The
unknown voltage is found by Newton's method on the wall potential, with the slope from autograd
through `pf.equilibrium` (`docs/verification/open_circuit.py`).

A 1:1 salt with $D_- = 2 D_+$ between 1 and 0.1 and without a current has $\\ln(10)/3$ in the
limit of small permittivity (electroneutral) and Goldman's potential in that of a large one. The
bound of the former allows for the grid; what $\\varepsilon = 10^{-7}$ itself is off is smaller
than that.""",
    tables=tables,
    figure=figure,
    caption=(
        "Left: flux against the drive, seven cells on the exact curve. Right: the open-circuit "
        "voltage at 31 permittivities, one batch."
    ),
)
