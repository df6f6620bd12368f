"""The linear response of a blocking cell to an alternating voltage."""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from functools import cache

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.blocking_cell import IONS, blocking_cell
from docs.verification.case import Case, Row, Table, f64, profile, series
from pnpfusion.solvers import KenCarp4
from pnpfusion.visualize.style import COOL, FAINT, WARM, new_figure, styled

DEBYE = 0.05
FREQUENCIES = (5.0, 20.0, 40.0)
AMPLITUDE = 1e-3  # kT/e; what is not linear is its square
POINTS = 16  # saved in the last period


def response(omega: float) -> complex:
    """phi'(1) / U for potentials ±U exp(i omega t) of the walls."""
    m = cmath.sqrt(1 / DEBYE**2 + 1j * omega)
    inner = 1 / (DEBYE * m) ** 2
    return m / (m * (1 - inner) + cmath.tanh(m) * inner)


def driven(n: int, omega: float) -> tuple[pf.PNP, Tensor, Tensor]:
    """The cell under ±U sin(omega t), the last period's times, and its states there."""
    walls = {
        "x-": pf.Wall(potential=lambda t: -AMPLITUDE * torch.sin(omega * t)),
        "x+": pf.Wall(potential=lambda t: AMPLITUDE * torch.sin(omega * t)),
    }
    cell = pf.PNP(
        blocking_cell(n, DEBYE, 0.0, 2.0).grid, IONS, permittivity=2 * DEBYE**2, walls=walls
    )
    period = 2 * math.pi / omega
    turns = math.ceil(0.8 / period)  # what came before has decayed by exp(-16)
    last = turns * period + period * torch.arange(POINTS, dtype=f64) / POINTS
    times = torch.cat([torch.zeros(1, dtype=f64), last])
    stepper = KenCarp4(dt=period / 24)
    run = pf.simulate(cell, torch.ones(2, n, dtype=f64), times, stepper=stepper).require_success()
    return cell, last, run.states[1:]


def amplitude(values: Tensor, times: Tensor, omega: float) -> complex:
    """a of Im(a exp(i omega t)) through ``values``, as many points a period as there are."""
    sine, cosine = torch.sin(omega * times), torch.cos(omega * times)
    return complex(2 * (values * sine).mean(), 2 * (values * cosine).mean())


@cache
def measured(n: int, omega: float) -> tuple[complex, complex, float]:
    """phi'(1)/U, total current / U, and the largest relative change of the latter over x."""
    cell, times, states = driven(n, omega)
    pairs = list(zip(times.tolist(), states, strict=True))
    charge = torch.stack([cell.electrode_charge(c, "x+", t=t) for t, c in pairs])
    total = torch.stack(
        [cell.current(c, t=t) + cell.displacement_current(c, t=t) for t, c in pairs]
    )
    uneven = (total - total[:, :1]).abs().max() / total.abs().max()
    slope = amplitude(charge / (2 * DEBYE**2), times, omega) / AMPLITUDE
    return slope, amplitude(total[:, 0], times, omega) / AMPLITUDE, float(uneven)


def tables(sizes: Sequence[int]) -> list[Table]:
    """The field at the wall, the total current, and that it is the same everywhere."""
    fields: list[Row] = []
    currents: list[Row] = []
    even: list[Row] = []
    for omega in FREQUENCIES:
        found, exact = [measured(n, omega) for n in sizes], response(omega)
        through = -1j * omega * 2 * DEBYE**2 * exact
        for rows, i, known, name in ((fields, 0, exact, "φ′(1)/U"), (currents, 1, through, "I/U")):
            for part, pick in (("Re", lambda v: v.real), ("Im", lambda v: v.imag)):
                computed = [pick(f[i]) for f in found]
                what = f"{part} {name}, ω = {omega:g}"
                rows += series(what, sizes, computed, pick(known), bound=1e-2)
        even += profile(
            f"I over x, ω = {omega:g}", sizes, [f[2] for f in found], bound=1e-10, power=0
        )
    return [
        Table("Field at the wall over the amplitude", fields),
        Table("Total current over the amplitude", currents),
        Table("Largest relative change of the total current over x", even),
    ]


def figure() -> Figure:
    """The response over the frequency, and the parts of the current over x."""
    with styled():
        drawn = new_figure(7.6, 3.3, "The cell answers an alternating voltage as theory says")
        left, right = drawn.subplots(1, 2)
        line = torch.logspace(-0.5, 3, 200).tolist()
        left.semilogx(line, [response(w).real for w in line], color=FAINT, lw=1)
        left.semilogx(line, [-response(w).imag for w in line], color=FAINT, lw=1)
        for omega in (*FREQUENCIES, 10.0):
            found = measured(64, omega)[0]
            left.semilogx(omega, found.real, "o", ms=4.5, color=WARM[0])
            left.semilogx(omega, -found.imag, "s", ms=4, color=COOL[0])
        left.annotate("real part", (0.4, 17.3), color=WARM[0])
        left.annotate("− imaginary part", (0.35, 9.2), color=COOL[0])
        left.set(
            xlabel="frequency ω  ($D/L^2$)", ylabel="field at the wall / $U$", title="Lines: exact"
        )
        cell, times, states = driven(64, 20.0)
        t, c = float(times[0]), states[0]
        x = cell.grid.faces(0)
        ionic = cell.current(c, t=t) / AMPLITUDE
        shift = cell.displacement_current(c, t=t) / AMPLITUDE
        right.plot(x, ionic, color=WARM[0], label="ionic")
        right.plot(x, shift, color=COOL[0], label="displacement")
        right.plot(x, ionic + shift, color="black", ls="--", label="total: the same everywhere")
        right.set(
            xlabel="$x$  ($L$)", ylabel="current / $U$", title="ω = 20, as the voltage crosses 0"
        )
        right.legend(loc="center")
    return drawn


CASE = Case(
    key="ac-response",
    title="Response to an alternating voltage",
    text="""\
The cell of the last case with $\\lambda_D = .05$ under $\\phi(\\pm1) = \\pm U\\sin\\omega t$,
given as functions of time; $U = 10^{-3}$. After the start has decayed, $\\phi'(1)$ is
$U\\,\\mathrm{Im}\\,R e^{i\\omega t}$ with

$$R(\\omega) = \\frac{m}{m(1 - (\\lambda_D m)^{-2}) + (\\lambda_D m)^{-2}\\tanh m}, \\qquad m^2
= \\frac{1}{\\lambda_D^2} + i\\omega,$$

and the total current along $+x$ is $-i\\omega\\varepsilon R U$. In each period 16 states are
saved and $R$ is read by its Fourier sum. Ionic and displacement current together have no
divergence: their sum is the same at every face, to round-off of the small amplitude.""",
    tables=tables,
    figure=figure,
    caption=(
        "Left: computed response on the exact curves. Right: the displacement current takes "
        "over from the ions at the walls."
    ),
    cheap=(64,),
)
