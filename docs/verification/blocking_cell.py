"""Charging of a cell between two blocking electrodes, slowly and at large voltage; its rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Table, f64, series
from pnpfusion.solvers import KenCarp4
from pnpfusion.visualize.style import COOL, FAINT, INK, WARM, new_figure, styled

IONS = (pf.Species("cation", +1), pf.Species("anion", -1))
DEBYE = (0.1, 0.05, 0.01, 0.001)

#: P1: eps = .05, electrodes at -2 and +2; from a Chebyshev collocation of 128 modes
CHARGE = {0.05: 0.12886353330, 0.5: 0.22780764190}
MIDDLE = {0.05: 0.99990422, 0.5: 0.95027153}
REST = (45.748917022548, 6.998519370877, 0.128182353553)  # phi', c+ and c- at x = -1


def blocking_cell(n: int, debye: float, voltage: float, steep: float) -> pf.PNP:
    """On [-1, 1], edges tanh(steep s) / tanh(steep); the left electrode at minus ``voltage``."""
    edges = torch.tanh(steep * torch.linspace(-1, 1, n + 1, dtype=f64)) / math.tanh(steep)
    return pf.PNP(
        pf.Grid((n,), (2.0,), ("wall",), edges=(edges,)),
        IONS,
        permittivity=2 * debye**2,
        walls={"x-": pf.Wall(potential=-voltage), "x+": pf.Wall(potential=voltage)},
    )


def slowest_rate(debye: float) -> float:
    """The rate at which a small charge of the electrodes reaches its end."""
    from scipy.optimize import brentq

    def secular(s: float) -> float:
        m2 = 1 / debye**2 - s
        m = math.sqrt(m2)
        return m * (1 - 1 / (debye * m) ** 2) + math.tanh(m) / (debye * m) ** 2

    return float(brentq(secular, 0.5 / debye, 1.5 / debye, xtol=1e-13, rtol=1e-14))


def charging_time(n: int, debye: float) -> float:
    """1 / rate in units of lambda_D L / D, from the charge of the electrode at two late times."""
    steep = 2.0 + 1.2 * math.log10(0.1 / debye)  # enough cells in a Debye length
    cell = blocking_cell(n, debye, 1e-4, steep)
    span = debye * torch.tensor([0.0, 3.0, 4.0], dtype=f64)
    c0 = torch.ones(2, n, dtype=f64)
    run = pf.simulate(cell, c0, span, stepper=KenCarp4(dt=debye / 25)).require_success()
    rest = pf.equilibrium(cell, c0).require_success().final
    left = cell.electrode_charge(rest, "x-") - cell.electrode_charge(run.states, "x-")
    return float(1 / torch.log(left[1] / left[2]))


@cache
def at_two_volts(n: int) -> tuple[pf.PNP, Tensor, Tensor]:
    """P1, its states at t = .05 and .5, and its state of rest."""
    cell, c0 = blocking_cell(n, 0.05, 2.0, 2.5), torch.ones(2, n, dtype=f64)
    span = torch.tensor([0.0, *CHARGE], dtype=f64)
    run = pf.simulate(cell, c0, span, rtol=1e-6).require_success()
    return cell, run.states[1:], pf.equilibrium(cell, c0).require_success().final


def left_half(cell: pf.PNP, c: Tensor) -> Tensor:
    """The charge of the left half, by its cells."""
    half = cell.grid.shape[0] // 2
    return (cell.grid.weights * (c[..., 0, :] - c[..., 1, :]))[..., :half].sum(-1)


def tables(sizes: Sequence[int]) -> list[Table]:
    """Charging times at small voltage; charge, middle and rest at two thermal volts."""
    rows = []
    for debye in DEBYE:
        exact = 1 / (slowest_rate(debye) * debye)
        found = [charging_time(n, debye) for n in sizes]
        rows += series(f"τ, λ_D/L = {debye:g}", sizes, found, exact, bound=1e-2, wanted=(1.9, 2.1))
    small = Table("Slowest charging time at small voltage, in λ_D L / D", rows)

    runs = [at_two_volts(n) for n in sizes]
    rows = []
    for i, t in enumerate(CHARGE):
        found = [float(left_half(cell, states[i])) for cell, states, _ in runs]
        rows += series(f"Q, t = {t:g}", sizes, found, CHARGE[t], bound=6e-3, wanted=(1.9, 2.1))
        found = [
            float(states[i, 0, states.shape[-1] // 2 - 1 :][:2].mean()) for _, states, _ in runs
        ]
        rows += series(f"c₊(0), t = {t:g}", sizes, found, MIDDLE[t], bound=4e-4)
    large = Table("Two thermal volts on each electrode, λ_D/L = .05 (P1)", rows)

    slopes, walls = [], []
    for cell, _, rest in runs:
        slopes.append(-float(cell.electrode_charge(rest, "x-")) / (2 * 0.05**2))
        step = torch.tensor([1.0, -1.0], dtype=f64) * (cell.potential(rest)[0] + 2.0)
        walls.append(rest[:, 0] * torch.exp(step))  # mu is constant up to the wall
    rows = series("φ′(−1)", sizes, slopes, REST[0], bound=6e-3, wanted=(1.9, 2.1))
    for i, name in enumerate(("c₊(−1)", "c₋(−1)")):
        found = [float(c[i]) for c in walls]
        rows += series(name, sizes, found, REST[1 + i], bound=4e-3, wanted=(1.9, 2.1))
    charges = [float(left_half(cell, rest)) for cell, _, rest in runs]
    known = 2 * 0.05**2 * REST[0]
    rows += series("Q = ε φ′(−1)", sizes, charges, known, bound=6e-3, wanted=(1.9, 2.1))
    return [small, large, Table("P1 at rest, by `pf.equilibrium`", rows)]


def figure() -> Figure:
    """Charge over time at small voltage, and P1's profiles on their way to rest."""
    with styled():
        drawn = new_figure(7.6, 3.3, "Electrodes charge at the known rate, to the known rest")
        left, right = drawn.subplots(1, 2)
        for debye, color in ((0.1, WARM[0]), (0.01, COOL[0])):
            cell = blocking_cell(64, debye, 1e-4, 2.0 + 1.2 * math.log10(0.1 / debye))
            c0 = torch.ones(2, 64, dtype=f64)
            times = torch.linspace(0, 5, 21, dtype=f64)
            run = pf.simulate(cell, c0, debye * times, stepper=KenCarp4(dt=debye / 20))
            rest = cell.electrode_charge(pf.equilibrium(cell, c0).final, "x-")
            missing = 1 - cell.electrode_charge(run.states, "x-") / rest
            rate = slowest_rate(debye) * debye
            left.semilogy(times, missing[8] * torch.exp(-rate * (times - 2)), color=FAINT, lw=1)
            left.semilogy(times, missing, "o", ms=3.5, color=color, label=f"λ$_D$/L = {debye:g}")
        left.set(
            xlabel="time  ($λ_D L / D$)", ylabel="charge still missing", title="Lines: exact slope"
        )
        left.legend()
        cell, states, rest = at_two_volts(64)
        x = cell.grid.coordinates(0)
        for c, name, color in (
            (states[0], "t = .05", COOL[1]),
            (states[1], "t = .5", COOL[0]),
            (rest, "rest", INK),
        ):
            right.plot(x, c[0], color=color, label=name)
        right.plot(-1, REST[1], "*", ms=9, color=WARM[0], clip_on=False, label="known, at rest")
        right.set(
            xlabel="$x$  ($L$)",
            ylabel="cations  ($c_\\mathrm{ref}$)",
            title="P1: ±2 thermal volts, left electrode",
            xlim=(-1, -0.7),
        )
        right.legend()
    return drawn


CASE = Case(
    key="blocking-cell",
    title="Charging between blocking electrodes",
    text="""\
A 1:1 salt on $[-1, 1]$, $\\varepsilon = 2\\lambda_D^2$, no ion crosses the walls, and their
potentials jump to $\\mp U$ at $t = 0$. For small $U$ the charge of the electrodes approaches
its end at the rate $s$, the smallest root of

$$m\\left(1 - \\frac{1}{\\lambda_D^2 m^2}\\right) + \\frac{\\tanh m}{\\lambda_D^2 m^2} = 0,
\\qquad m^2 = \\frac{1}{\\lambda_D^2} - s,$$

read here from the charge at two late times. At $U = 2$ and $\\lambda_D = .05$ (P1) there is no
closed form; the reference is a Chebyshev collocation of 128 modes, which agrees with 96 to
2·10⁻¹⁰. Edges are graded as $\\tanh$. Cells do not see the wall itself: $\\phi'$ there is
`cell.electrode_charge` over $\\varepsilon$, and at rest $c_\\pm$ follow from constant chemical
potentials.""",
    tables=tables,
    figure=figure,
    caption=(
        "Left: what is missing of the charge falls on straight lines of the known slope. Right:"
        " cations of P1."
    ),
    cheap=(64,),
)
