"""A p-n junction at rest, in SI units: its built-in voltage, field, width."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Table, f64, series
from pnpfusion.units import V_per_cm, per_cm3, um
from pnpfusion.visualize.style import COOL, FAINT, WARM, new_figure, styled

Doping = tuple[float, float, float]  # acceptors, donors, intrinsic carriers; per cm³
JUNCTIONS: dict[str, Doping] = {
    "10¹⁶ | 10¹⁶": (1e16, 1e16, 1e10),
    "10¹⁷ | 10¹⁵": (1e17, 1e15, 1e10),
}
ENDS = 1.5 * um, 4.0 * um  # of p and n; many Debye lengths of the weaker doping


def scales(doping: Doping) -> pf.Scales:
    """Silicon at 300 K; concentrations in those of the donors, lengths in µm."""
    return pf.Scales(
        length=um,
        concentration=doping[1] * per_cm3,
        temperature=300.0,
        relative_permittivity=11.7,
        diffusivity=36e-4,
    )


def device(n: int, doping: Doping) -> tuple[pf.PNP, Tensor]:
    """A closed piece of doped silicon and its state of rest.

    So many pairs of carriers have recombined that p n = n_i²; how many is found by Newton's method,
    the slope by autograd through the equilibrium. It begins with the depletion approximation.
    """
    acceptors, donors, intrinsic = (v / doping[1] for v in doping)
    left, right = (length / um for length in ENDS)
    half = torch.linspace(0, 1, n // 2 + 1, dtype=f64)
    fine = torch.sinh(4.5 * half) / math.sinh(4.5)  # cells grow away from the junction
    edges = torch.cat([-left * fine.flip(0), right * fine[1:]])
    grid = pf.Grid((n,), (left + right,), ("wall",), edges=(edges,))
    on_left = (grid.coordinates(0) < 0).to(f64)
    cell = pf.PNP(
        grid,
        [pf.Species("hole", +1, 12 / 36), pf.Species("electron", -1)],
        permittivity=scales(doping).permittivity,
        fixed_charge=pf.Field(donors - (acceptors + donors) * on_left),
    )
    full = torch.tensor([acceptors * left, donors * right], dtype=f64)
    gone = torch.tensor(depletion(doping)[0] / (1 / acceptors + 1 / donors), dtype=f64)
    for _ in range(20):
        gone = gone.detach().requires_grad_()
        c0 = ((full - gone) / (left + right))[:, None].expand(2, n)
        rest = pf.equilibrium(cell, c0).require_success().final
        excess = rest.log().sum(0).mean() - 2 * math.log(intrinsic)
        (slope,) = torch.autograd.grad(excess, gone)
        gone = gone - excess / slope
        if abs(float(excess.detach())) < 1e-10:
            break
    return cell, rest.detach()


def built_in(doping: Doping) -> float:
    """The built-in voltage in V."""
    acceptors, donors, intrinsic = doping
    v = math.asinh(acceptors / (2 * intrinsic)) + math.asinh(donors / (2 * intrinsic))
    return scales(doping).potential * v


def largest_field(doping: Doping) -> float:
    """The field at the junction in V/cm, from the first integral of Poisson and Boltzmann.

    eps E²/2 is on either side the change of 2 n_i cosh(phi) - N phi from the bulk to the junction,
    N the doping with its sign; both sides agree on phi and E there.
    """
    acceptors, donors, intrinsic = (v / doping[1] for v in doping)
    start = -math.asinh(acceptors / (2 * intrinsic)), math.asinh(donors / (2 * intrinsic))
    bulk = [
        2 * intrinsic * math.cosh(phi) - net * phi
        for phi, net in zip(start, (-acceptors, donors), strict=True)
    ]
    phi = (bulk[0] - bulk[1]) / (acceptors + donors)
    one = scales(doping)
    pressure = 2 * intrinsic * math.cosh(phi) + acceptors * phi - bulk[0]
    return one.to_si("field", math.sqrt(2 * pressure / one.permittivity)) / V_per_cm


def depletion(doping: Doping) -> tuple[float, float]:
    """Width in µm and largest field in V/cm where the middle holds no carriers at all."""
    one, v = scales(doping), built_in(doping)
    epsilon = one.relative_permittivity * pf.units.VACUUM_PERMITTIVITY
    charge = [pf.units.FARADAY * per_cm3 * d for d in doping[:2]]
    width = math.sqrt(2 * epsilon * v * sum(1 / q for q in charge))
    return width / um, 2 * v / width / V_per_cm


def tables(sizes: Sequence[int]) -> list[Table]:
    """The built-in voltage to round-off, the field at order 2, the depletion approximation."""
    voltage, field, physics = [], [], []
    for name, doping in JUNCTIONS.items():
        one, volts, fields = scales(doping), [], []
        for n in sizes:
            cell, rest = device(n, doping)
            volts.append(one.to_si("potential", float(cell.potential(rest)[[0, -1]].diff())))
            fields.append(-one.to_si("field", float(cell.field(rest).min())) / V_per_cm)
        computed = [abs(v) for v in fields]
        even = doping[0] == doping[1]
        voltage += series(name, sizes, volts, built_in(doping), bound=1e-8, power=0)
        exact, bound = largest_field(doping), 2.5e-3 if even else 2e-2
        field += series(name, sizes, computed, exact, bound=bound, wanted=(1.9, 2.1))
        width, approximate = depletion(doping)
        bound = 0.05 if even else 0.45
        physics += series(f"E, {name}", sizes, computed, approximate, bound=bound, power=0)
        widths = [2 * v / (e * V_per_cm) / um for v, e in zip(volts, computed, strict=True)]
        physics += series(f"2V/E in µm, {name}", sizes, widths, width, bound=bound, power=0)
    return [
        Table("Built-in voltage in V", voltage, relative=False),
        Table("Largest field in V/cm, against the first integral", field),
        Table("Against the depletion approximation: physics", physics),
    ]


def figure() -> Figure:
    """The bands of one junction: carriers and potential."""
    with styled():
        drawn = new_figure(7.6, 3.3, "A p–n junction builds up its voltage by itself")
        left, right = drawn.subplots(1, 2)
        doping = JUNCTIONS["10¹⁶ | 10¹⁶"]
        cell, rest = device(128, doping)
        one, x = scales(doping), cell.grid.coordinates(0)
        for c, name, color in zip(rest, ("holes", "electrons"), (WARM[0], COOL[0]), strict=True):
            left.semilogy(x, doping[1] * c, color=color, label=name)
        half = depletion(doping)[0] / 2
        left.axvspan(-half, half, color=FAINT, alpha=0.2, lw=0, label="depletion width")
        left.set(xlabel="$x$  (µm)", ylabel="carriers per cm³", xlim=(-1, 1), title="Carriers")
        left.legend(loc="center left", bbox_to_anchor=(0, 0.4))
        for (name, doping), color in zip(JUNCTIONS.items(), (COOL[0], WARM[0]), strict=True):
            cell, rest = device(128, doping)
            one, x = scales(doping), cell.grid.coordinates(0)
            volts = one.to_si("potential", cell.potential(rest))
            right.plot(x, volts - volts[0], color=color, label=f"{name} per cm³")
        doping = JUNCTIONS["10¹⁶ | 10¹⁶"]
        right.axhline(built_in(doping), color=FAINT, lw=1, ls="--")
        right.annotate("exact", (-1.4, built_in(doping)), va="top", xytext=(-1.4, 0.7))
        right.set(xlabel="$x$  (µm)", ylabel="potential  (V)", title="Potential", xlim=(-1.5, 2))
        right.legend(loc="lower right")
    return drawn


CASE = Case(
    key="pn-junction",
    title="A p–n junction",
    text="""\
Silicon at 300 K: holes are a species of valence +1, electrons one of −1, the doping is a fixed
charge. The piece is closed, and so many pairs have recombined that $pn = n_i^2$; how many is
found by Newton's method, with the slope from autograd through `pf.equilibrium`. No voltage is
given: it comes out, and must be

$$V_{bi} = V_T\\left[\\mathrm{asinh}\\frac{N_a}{2 n_i} + \\mathrm{asinh}\\frac{N_d}{2
n_i}\\right].$$

At rest Poisson and Boltzmann have a first integral,
$\\varepsilon E^2/2 = \\Delta(2 n_i\\cosh\\phi - N\\phi)$ from the bulk to the junction on
either side, which gives the largest field exactly. The depletion approximation,
$W^2 = 2\\varepsilon V_{bi}(1/N_a + 1/N_d)/q$ and $E = 2V_{bi}/W$, takes the middle as empty.
Where both dopings are alike it is 4 % off. At 100 : 1 holes spill over into the weakly doped
side, and the field at the junction is 40 % larger than it says. Both are physics: the computed
fields converge to those of the first integral.""",
    tables=tables,
    figure=figure,
    caption=(
        "Left: carriers over sixteen orders of magnitude. Right: two junctions of one built-in "
        "voltage."
    ),
)
