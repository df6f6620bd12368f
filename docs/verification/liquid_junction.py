"""Potentials between two solutions: Henderson, Lewis and Sargent, Planck; in SI units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Row, Table, f64, series
from docs.verification.open_circuit import open_circuit_voltage
from pnpfusion.units import M, mV, nm, um
from pnpfusion.visualize.style import COOL, FAINT, GREY, INK, WARM, new_figure, styled

DIFFUSIVITIES = {"K": 1.957e-9, "Na": 1.334e-9, "H": 9.311e-9, "Cl": 2.032e-9}  # m²/s
Solution = Mapping[str, float]  # cation: concentration of its chloride, mol/m³

#: name: the solutions on sides a and b
JUNCTIONS: dict[str, tuple[Solution, Solution]] = {
    "HCl .1 | .01 M": ({"H": 0.1 * M}, {"H": 0.01 * M}),
    "KCl .1 | .01 M": ({"K": 0.1 * M}, {"K": 0.01 * M}),
    "NaCl .1 | .01 M": ({"Na": 0.1 * M}, {"Na": 0.01 * M}),
    "HCl | KCl .1 M": ({"H": 0.1 * M}, {"K": 0.1 * M}),
    "HCl | NaCl .1 M": ({"H": 0.1 * M}, {"Na": 0.1 * M}),
    "KCl | NaCl .1 M": ({"K": 0.1 * M}, {"Na": 0.1 * M}),
    "HCl .1 | KCl .01 M": ({"H": 0.1 * M}, {"K": 0.01 * M}),
    "NaCl .1 | HCl .01 M": ({"Na": 0.1 * M}, {"H": 0.01 * M}),
}
FILM = 10 * um
FILMS = (100, 200, 400)  # nm: thin ones, to see the Debye length
SCALES = pf.Scales(length=FILM, concentration=0.1 * M)


def ions(name: str) -> dict[str, tuple[int, float, float]]:
    """Valence and concentrations on sides a and b of each ion."""
    a, b = JUNCTIONS[name]
    cations = {ion: (+1, a.get(ion, 0.0), b.get(ion, 0.0)) for ion in {**a, **b}}
    return cations | {"Cl": (-1, sum(a.values()), sum(b.values()))}


def cell_of(name: str, n: int, v: Tensor, film: float = FILM) -> pf.PNP:
    """The junction, side a at the potential v."""
    scales = replace(SCALES, length=film)
    given = ions(name)
    sides = [
        {ion: SCALES.from_si("concentration", row[side]) for ion, row in given.items()}
        for side in (1, 2)
    ]
    return pf.PNP(
        pf.Grid((n,), (1.0,), ("wall",)),
        [
            pf.Species(ion, z, SCALES.from_si("diffusivity", DIFFUSIVITIES[ion]))
            for ion, (z, _, _) in given.items()
        ],
        permittivity=scales.permittivity,
        walls={
            "x-": pf.Wall(v, concentration=sides[0]),
            "x+": pf.Wall(0.0, concentration=sides[1]),
        },
    )


def computed(name: str, n: int, film: float = FILM) -> tuple[float, pf.PNP, Tensor]:
    """The potential of side b over that of a without a current, in mV; the cell and its state."""
    given, x = ions(name), pf.Grid((n,), (1.0,), ("wall",)).coordinates(0)
    ends = torch.tensor([row[1:] for row in given.values()], dtype=f64)
    ends = SCALES.from_si("concentration", ends)
    c0 = (ends[:, :1] * (1 - x) + ends[:, 1:] * x)[None]
    v = open_circuit_voltage(lambda v: cell_of(name, n, v, film), c0)
    cell = cell_of(name, n, v, film)
    rest = pf.equilibrium(cell, c0).require_success().final
    return -float(SCALES.to_si("potential", v)) / mV, cell, rest


def henderson(name: str) -> float:
    """Profiles taken as linear; exact for one salt; in mV."""
    rows = [(z, DIFFUSIVITIES[ion], a, b) for ion, (z, a, b) in ions(name).items()]
    change = sum(d * (b - a) for _, d, a, b in rows)
    signed = sum(math.copysign(1, z) * d * (b - a) for z, d, a, b in rows)
    ratio = sum(d * b for _, d, a, b in rows) / sum(d * a for _, d, a, b in rows)
    return -SCALES.potential / mV * signed / change * math.log(ratio)


def lewis_sargent(name: str) -> float:
    """Two salts with a common anion at one concentration; in mV."""
    a, b = (
        sum(DIFFUSIVITIES[ion] * row[side] for ion, row in ions(name).items()) for side in (1, 2)
    )
    return SCALES.potential / mV * math.log(a / b)


def planck(name: str) -> float:
    """Any ions of valence +1 and -1 in a film at steady state, electroneutral; in mV.

    The concentration of all cations C is linear, the potential p ln C; p makes the current 0.
    """
    from scipy.optimize import brentq

    rows = [(z, DIFFUSIVITIES[ion], a, b) for ion, (z, a, b) in ions(name).items()]
    total = [sum(row[side] for row in rows if row[0] > 0) / (0.1 * M) for side in (2, 3)]

    def current(p: float) -> float:
        """Up to a factor."""
        found = 0.0
        for z, d, a, b in rows:
            q = z * p
            there = b * total[1] ** q - a * total[0] ** q
            found += z * d * (q + 1) * there / (total[1] ** (q + 1) - total[0] ** (q + 1))
        return found

    return SCALES.potential / mV * brentq(current, -0.9, 0.9) * math.log(total[1] / total[0])


def tables(sizes: Sequence[int]) -> list[Table]:
    """One salt at two concentrations, two at one, two at two."""
    found = {name: [computed(name, n)[0] for n in sizes] for name in JUNCTIONS}
    names, tables = list(JUNCTIONS), []
    for title, members, formula, bound, power in (
        ("One salt, two concentrations, in mV (Henderson)", names[:3], henderson, 1e-3, 2),
        ("Two salts, one concentration, in mV (Lewis–Sargent)", names[3:6], lewis_sargent, 1e-8, 0),
        ("Two salts, two concentrations, in mV (Planck)", names[6:], planck, 1e-3, 2),
    ):
        rows: list[Row] = []
        for name in members:
            rows += series(name, sizes, found[name], formula(name), bound=bound, power=power)
        tables.append(Table(title, rows))
    name = names[0]
    thin = [computed(name, 128, length * nm)[0] for length in FILMS]
    at_64 = 1e-2 * (FILMS[0] / 64) ** 2
    rows = series(name, FILMS, thin, henderson(name), bound=at_64, wanted=(1.5, 2.1))
    return [*tables, Table("Thin films, L in nm, 128 cells, in mV: physics", rows, size="L")]


def figure() -> Figure:
    """All junctions against their formulae, and the profiles of one that Henderson gets wrong."""
    with styled():
        drawn = new_figure(7.6, 3.4, "Eight liquid junctions: only mixtures depart from Henderson")
        left, right = drawn.subplots(1, 2, width_ratios=(1.15, 1))
        for i, name in enumerate(reversed(JUNCTIONS)):
            mixed = name in list(JUNCTIONS)[6:]
            left.plot(henderson(name), i, "|", ms=13, mew=2, color=FAINT)
            left.plot(computed(name, 64)[0], i, "o", ms=5, color=WARM[0] if mixed else COOL[0])
        left.set_yticks(range(len(JUNCTIONS)), [*reversed(JUNCTIONS)])
        left.axvline(0, color=FAINT, lw=0.5)
        left.set(
            xlabel="potential of the right side  (mV)", title="Bars: Henderson; dots: computed"
        )
        name = "NaCl .1 | HCl .01 M"
        _, cell, rest = computed(name, 128)
        x = cell.grid.coordinates(0) * FILM / um
        looks = {"Na": WARM[0], "H": WARM[1], "Cl": COOL[0]}
        for one, c in zip(cell.species, rest[0], strict=True):
            right.plot(x, 100 * c, color=looks[one.name])
            at = {"Na": 30, "H": 100, "Cl": 70}[one.name]
            right.annotate(
                one.name,
                (x[at], 100 * c[at]),
                xytext=(4, 5),
                textcoords="offset points",
                color=looks[one.name],
            )
        right.set(xlabel="$x$  (µm)", ylabel="concentration  (mM)", title=name.replace("|", "| "))
        right.set_ylim(0)
        right.axvline(0, color=GREY[0], lw=0.8)
        right.annotate("total: linear\nH alone: not", (6, 70), color=INK)
    return drawn


CASE = Case(
    key="liquid-junction",
    title="Liquid junctions",
    text="""\
Two solutions $a$ and $b$ at the ends of a film 10 µm thick, thousands of Debye lengths; at
298.15 K, entered and read in SI units, with $D$ = 1.957 (K), 1.334 (Na), 9.311 (H), 2.032 (Cl)
in 10⁻⁹ m²/s. The voltage without a current is searched for as in the case before. Henderson's

$$\\phi_b - \\phi_a = -V_T\\,\\frac{\\sum \\mathrm{sgn}(z_i) D_i (b_i - a_i)}{\\sum |z_i| D_i
(b_i - a_i)}\\,\\ln\\frac{\\sum |z_i| D_i b_i}{\\sum |z_i| D_i a_i}$$

takes profiles as linear. They are for one salt, and for two of equal concentration with a
common anion, where it reduces to Lewis and Sargent's $V_T\\ln(\\sum D_i a_i / \\sum D_i b_i)$.
For two salts at two concentrations they are not; there the known answer is Planck's, for which
$C = \\sum c_+$ is linear, $\\phi = p \\ln C$, and $p$ is the root of the current. All three are
the limit of small Debye lengths. In thin films they are off by a part that tends to fall as
$(\\lambda_D/L)^2$, which the last table shows: physics, not the grid.""",
    tables=tables,
    figure=figure,
    caption=(
        "Left: bars are Henderson's formula, dots the computed voltages; orange where two salts"
        " differ in concentration too. Right: steady profiles of one such junction."
    ),
)
