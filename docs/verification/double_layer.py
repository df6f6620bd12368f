"""The diffuse double layer at a charged wall: Gouy and Chapman, in SI units, Bikerman, Stern."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Table, f64, profile, series
from pnpfusion.units import mM, mV
from pnpfusion.visualize.style import COOL, FAINT, INK, WARM, new_figure, styled

SALT = {"cation": 1.0, "anion": 1.0}
STERN = [(0.1, 1.0, 0.90624260178), (0.5, 4.0, 2.4472950562), (1.0, 2.0, 0.9801461370)]


def layer(
    n: int,
    voltage: Tensor,
    *,
    length: float = 20.0,
    graded: bool = True,
    steric: float | None = None,
    stern: Tensor | None = None,
) -> tuple[pf.PNP, Tensor]:
    """The cell and its state of rest; lengths in Debye lengths, one sample per voltage."""
    s = torch.linspace(0, 1, n + 1, dtype=f64)
    edges = (length * torch.sinh(5 * s) / math.sinh(5),) if graded else None
    cell = pf.PNP(
        pf.Grid((n,), (length,), ("wall",), edges=edges),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2.0,
        walls={
            "x-": pf.Wall(potential=voltage, stern=stern),
            "x+": pf.Wall(potential=0.0, concentration=SALT),
        },
        steric=steric,
    )
    c0 = torch.ones(len(voltage), 2, n, dtype=f64)
    return cell, pf.equilibrium(cell, c0).require_success().final


def gouy_chapman(x: Tensor, v: float) -> Tensor:
    """The potential at ``x`` from a wall at ``v``."""
    g = math.tanh(v / 4)
    return 2 * (torch.log1p(g * torch.exp(-x)) - torch.log1p(-g * torch.exp(-x)))


def charge_and_capacitance(n: int, volts: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Of the wall, in units of eps V_T / Debye length; the capacitance by autograd."""
    v = torch.tensor(volts, dtype=f64, requires_grad=True)
    cell, rest = layer(n, v)
    sigma = cell.electrode_charge(rest, "x-") / 2.0  # permittivity 2: per Debye length
    (capacitance,) = torch.autograd.grad(sigma.sum(), v)
    return sigma.detach(), capacitance


def bikerman_charge(v: float, nu: float) -> float:
    """The charge of the wall among ions of finite size."""
    return math.sqrt(2 / nu * math.log1p(2 * nu * math.sinh(v / 2) ** 2))


def tables(sizes: Sequence[int]) -> list[Table]:
    """Errors of the profile, the charge and the capacitance."""
    volts = torch.tensor([1.0, 4.0], dtype=f64)
    errors: dict[float, list[float]] = {1.0: [], 4.0: []}
    for n in sizes:
        cell, rest = layer(n, volts, length=10.0, graded=False)
        for v, phi in zip(errors, cell.potential(rest), strict=True):
            errors[v].append(float((phi - gouy_chapman(cell.grid.coordinates(0), v)).abs().max()))
    equal = Table(
        "Largest error of φ, equal cells on [0, 10]",
        profile("φ(x), v = 1", sizes, errors[1.0], bound=3.5e-3, power=1.9, wanted=(1.8, 2.1))
        + profile("φ(x), v = 4", sizes, errors[4.0], bound=5e-2, power=1.6, wanted=(1.4, 2.1)),
        relative=False,
    )

    found = [charge_and_capacitance(n, [1.0, 4.0]) for n in sizes]
    rows = []
    for i, v in enumerate((1.0, 4.0)):
        sigma, slope = [[float(pair[k][i]) for pair in found] for k in (0, 1)]
        for what, values, exact, bound in (
            ("σ", sigma, 2 * math.sinh(v / 2), 1e-3),
            ("C = dσ/dv", slope, math.cosh(v / 2), 2e-3),
        ):
            most = 4 * bound if v == 4 else bound
            name = f"{what}, v = {v:g}"
            rows += series(name, sizes, values, exact, bound=most, wanted=(1.9, 2.1))
    graded = Table("Charge and capacitance of the wall, graded cells on [0, 20]", rows)

    return [equal, graded, _si(sizes), _bikerman(sizes), _stern(sizes)]


def _si(sizes: Sequence[int]) -> Table:
    """10 mM of a 1:1 salt in water at 25 °C, entered and read in SI units."""
    one = pf.Scales(length=1e-9, concentration=10 * mM)
    scales = pf.Scales(length=one.debye_length(), concentration=10 * mM)
    volts, rows = [25 * mV, 100 * mV], []
    found = [
        charge_and_capacitance(n, [scales.from_si("potential", v) for v in volts]) for n in sizes
    ]
    pf_units, reduced = pf.units, [v / scales.potential for v in volts]
    epsilon = scales.relative_permittivity * pf_units.VACUUM_PERMITTIVITY
    molar = pf_units.GAS_CONSTANT * scales.temperature * scales.concentration
    for i, (volt, v) in enumerate(zip(volts, reduced, strict=True)):
        sigma = [scales.to_si("surface_charge", 2 * float(q[i])) for q, _ in found]
        slope = [scales.to_si("capacitance", 2 * float(c[i])) for _, c in found]
        exact = math.sqrt(8 * epsilon * molar) * math.sinh(v / 2)
        rows += series(f"σ in C/m², {volt / mV:g} mV", sizes, sigma, exact, bound=4e-3)
        exact = epsilon / scales.debye_length() * math.cosh(v / 2)
        rows += series(f"C in F/m², {volt / mV:g} mV", sizes, slope, exact, bound=8e-3)
    return Table("In SI units: 10 mM in water at 298.15 K", rows)


def _bikerman(sizes: Sequence[int]) -> Table:
    volts, rows = torch.tensor([1.0, 4.0], dtype=f64), []
    for nu in (0.1, 0.01):  # 2 a^3 c_0: what part of the bulk the ions fill
        charges = []
        for n in sizes:
            cell, rest = layer(n, volts, steric=nu / 2)
            charges.append(cell.electrode_charge(rest, "x-") / 2)
        for i, v in enumerate(volts.tolist()):
            computed = [float(q[i]) for q in charges]
            exact = bikerman_charge(v, nu)
            rows += series(f"σ, ν = {nu:g}, v = {v:g}", sizes, computed, exact, bound=1.5e-3)
    return Table("Crowded ions (Bikerman): charge of the wall", rows)


def _stern(sizes: Sequence[int]) -> Table:
    thickness, volts = (torch.tensor(v, dtype=f64) for v in list(zip(*STERN, strict=True))[:2])
    drops = []
    for n in sizes:
        cell, rest = layer(n, volts, stern=thickness)
        drops.append(volts - thickness * cell.electrode_charge(rest, "x-") / 2)
    rows = []
    for i, (d, v, exact) in enumerate(STERN):
        computed = [float(drop[i]) for drop in drops]
        rows += series(f"φ_D, λ_S = {d:g}, v = {v:g}", sizes, computed, exact, bound=4e-4)
    return Table("Behind a Stern layer: potential of the diffuse layer", rows)


def figure() -> Figure:
    """Profiles at two voltages, and the charge against the voltage, points and ions of size."""
    volts = torch.linspace(0.25, 8, 32, dtype=f64)
    with styled():
        drawn = new_figure(7.6, 3.3, "Computed double layers lie on the closed forms")
        left, right = drawn.subplots(1, 2)
        cell, rest = layer(64, torch.tensor([1.0, 4.0], dtype=f64))
        x = cell.grid.coordinates(0)
        line = torch.linspace(0, 6, 200, dtype=f64)
        for v, phi, color in zip((1.0, 4.0), cell.potential(rest), (COOL[0], WARM[0]), strict=True):
            left.plot(line, gouy_chapman(line, v), color=FAINT, lw=1)
            left.plot(x[::2], phi[::2], "o", ms=3, color=color, label=f"v = {v:g}, N = 64")
        left.set(xlim=(0, 6), xlabel="$x / λ_D$", ylabel="potential φ  ($kT/e$)", title="Profiles")
        left.legend()
        for steric, color in ((None, WARM[0]), (0.005, COOL[1]), (0.05, COOL[0])):
            cell, rest = layer(128, volts, steric=steric)
            nu = 2 * (steric or 0.0)
            exact = [bikerman_charge(v, nu) if nu else 2 * math.sinh(v / 2) for v in volts.tolist()]
            right.plot(volts, exact, color=FAINT, lw=1)
            name = f"crowded, ν = {nu:g}" if nu else "points"
            charge = cell.electrode_charge(rest, "x-") / 2
            right.plot(volts, charge, "o", ms=3, color=color, label=name)
        right.set(xlabel="voltage v  ($kT/e$)", ylabel="charge σ", ylim=(0, 24), title="Charge")
        right.annotate("lines: exact", (0.02, 0.5), xycoords="axes fraction", color=INK)
        right.legend(loc="upper left")
    return drawn


CASE = Case(
    key="double-layer",
    title="The double layer",
    text="""\
A wall at the potential $v$ in a 1:1 salt; lengths in Debye lengths, charge in
$\\varepsilon V_T/\\lambda_D$. With point ions (Gouy, Chapman), $g = \\tanh(v/4)$:

$$\\phi(x) = 2\\ln\\frac{1 + g e^{-x}}{1 - g e^{-x}}, \\qquad \\sigma = 2\\sinh\\frac v2,
\\qquad C = \\cosh\\frac v2 .$$

Ions that fill the part $\\nu$ of the bulk (Bikerman):
$\\sigma = \\sqrt{(2/\\nu)\\ln(1 + 2\\nu\\sinh^2(v/2))}$. Behind a Stern layer of thickness
$\\lambda_S$ (in Debye lengths) the diffuse layer keeps $\\phi_D$ with
$\\phi_D + 2\\lambda_S\\sinh(\\phi_D/2) = v$. The state is `pf.equilibrium` next to a reservoir,
one call for all voltages; the capacitance is the derivative of `cell.electrode_charge` by the
wall's potential, by autograd. Cutting the domain at 10 Debye lengths leaves $4e^{-10}g$, at
most $1.4\\cdot10^{-4}$ of the potential: physics, not the scheme. At 20 it is below round-off
of the tables.""",
    tables=tables,
    figure=figure,
    caption=(
        "Left: potential at 1 and 4 thermal volts. Right: charge; crowding bends the curve of "
        "point ions down."
    ),
)
