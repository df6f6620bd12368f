"""Series and polynomials: errors that fall faster than any power of the number of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from matplotlib.figure import Figure

import pnpfusion as pf
from docs.verification.case import Case, Row, Table, f64, profile
from pnpfusion.solvers import ETDRK4, IFRK4, KenCarp4
from pnpfusion.visualize.style import COOL, FAINT, WARM, new_figure, styled

IONS = [pf.Species("cation", +1), pf.Species("anion", -1)]
EPSILON = 0.1
CHARGE = (0.12886353330, 0.22780764190)  #: of the left half of P1 at t = .05 and .5


def wave_error(n: int, sharpness: float = 0.8) -> float:
    """Of dc/dt of an analytic periodic state, relative; its potential is that of its charge."""
    grid = pf.Grid((n,), (1.0,), ("periodic",))
    x = grid.coordinates(0).requires_grad_()
    k = 2 * math.pi

    def slope(values: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(values.sum(), x, create_graph=True)[0]

    phi = torch.exp(sharpness * torch.sin(k * x))
    rho = -EPSILON * slope(slope(phi))
    anion = 2 + torch.cos(2 * k * x)
    cation = anion + rho
    exact = [slope(slope(c) + z * c * slope(phi)) for c, z in ((cation, 1), (anion, -1))]
    with torch.no_grad():
        cell = pf.PNP(grid, IONS, permittivity=EPSILON, scheme="spectral")
        found = cell.rate(torch.zeros((), dtype=f64), torch.stack([cation, anion]))
        known = torch.stack(exact)
        return float((found - known).abs().max() / known.abs().max())


def rate_error(boundaries: tuple[str, ...]) -> float:
    """Of the larger rate at which a small wave decays, in a box of these boundaries."""
    epsilon, n, amplitude, end = 0.02, 8, 1e-6, 0.01
    grid = pf.Grid((n,) * len(boundaries), (1.0,) * len(boundaries), boundaries)  # type: ignore[arg-type]
    square, wave = 0.0, torch.ones((), dtype=f64)
    for axis, boundary in enumerate(boundaries):
        k = (2 if boundary == "periodic" else 1) * math.pi
        square += k**2
        wave = wave.unsqueeze(-1) * torch.cos(k * grid.coordinates(axis))
    cell = pf.PNP(grid, IONS, permittivity=epsilon, scheme="spectral")
    start = 1 + amplitude * torch.stack([wave, -wave])
    run = pf.simulate(cell, start, torch.tensor([0, end], dtype=f64), stepper=ETDRK4(dt=end / 8))
    left = float(((run.final[0] - 1) * wave).mean() / (wave * wave).mean()) / amplitude
    wanted = square + 2 / epsilon
    return abs(-math.log(left) / end / wanted - 1)


@cache
def charging_error(points: int) -> float:
    """Of the charge of the left half of P1 at two times, at Chebyshev points."""
    grid = pf.ChebyshevGrid((points,), (2.0,))
    walls = {"x-": pf.Wall(potential=-2.0), "x+": pf.Wall(potential=2.0)}
    cell = pf.PNP(grid, IONS, permittivity=2 * 0.05**2, walls=walls, scheme="spectral")
    span = torch.tensor([0.0, 0.05, 0.5], dtype=f64)
    run = pf.simulate(cell, torch.ones(2, points, dtype=f64), span, stepper=KenCarp4(rtol=1e-8))
    charge = run.require_success().states[1:, 0] - run.states[1:, 1]
    # The integral over half the axis of the polynomial through the points: antisymmetric charge.
    degree = torch.arange(points, dtype=f64)
    angles = torch.acos((grid.coordinates(0) - 1).clamp(-1, 1))
    matrix = torch.cos(angles[:, None] * degree)
    coefficients = torch.linalg.solve(matrix, charge.mT).mT
    integrals = torch.tensor([half_integral(int(k)) for k in degree], dtype=f64)
    found = coefficients @ integrals
    return float((found - torch.tensor(CHARGE, dtype=f64)).abs().max())


def half_integral(k: int) -> float:
    """Of the Chebyshev polynomial of degree k from -1 to 0."""
    if k == 1:
        return -0.5

    def antiderivative(x: float) -> float:
        angle = math.acos(x)
        if k == 0:
            return x
        return 0.5 * (math.cos((k + 1) * angle) / (k + 1) - math.cos((k - 1) * angle) / (k - 1))

    return antiderivative(0.0) - antiderivative(-1.0)


@cache
def time_rows() -> list[Row]:
    """Errors of exponential steps on two blobs in a square, against four times as many."""
    grid = pf.Grid((24, 24), (1.0, 1.0), ("wall", "periodic"))
    x, y = grid.coordinates(0)[:, None], grid.coordinates(1)
    a = torch.cos(math.pi * x) * torch.cos(2 * math.pi * y)
    start = torch.stack([1 + 0.6 * a, 1 - 0.4 * a * a + 0.4 * (a * a).mean()])
    cell = pf.PNP(grid, IONS, permittivity=0.05, scheme="spectral")
    end = 0.02
    span, rows = torch.tensor([0.0, end], dtype=f64), []
    exact = pf.simulate(cell, start, span, stepper=ETDRK4(dt=end / 256)).final
    for method, bound in ((ETDRK4, 2e-7), (IFRK4, 2e-6)):
        steps = (8, 16, 32)
        runs = [pf.simulate(cell, start, span, stepper=method(dt=end / s)) for s in steps]
        errors = [float((run.final - exact).abs().max()) for run in runs]
        at_64 = bound * (steps[-1] / 64) ** 4
        rows += profile(method.__name__, steps, errors, bound=at_64, power=4, wanted=(3.8, 4.3))
    return rows


def tables(sizes: Sequence[int]) -> list[Table]:
    """Spectral cells need few points: their sizes are their own."""
    bounds = {8: 1.0, 16: 5e-2, 32: 1e-5, 64: 1e-11}
    waves = [Row("dc/dt, exp(.8 sin 2πx)", n, wave_error(n), bounds[n]) for n in bounds]
    kinds = [("periodic",), ("wall",), ("periodic", "wall"), ("periodic", "wall", "periodic")]
    rates = [Row(" × ".join(kind), 8, rate_error(kind), 1e-9) for kind in kinds]
    limits = {33: 1e-5, 49: 1e-7, 65: 2e-8}
    charges = [Row("charge at t = .05, .5", n, charging_error(n), limits[n]) for n in limits]
    return [
        Table("Series: error of dc/dt of an analytic wave, relative to its largest", waves),
        Table("Series: decay of a small charge wave, relative error of its rate", rates),
        Table("Chebyshev points: charge of half a blocking cell", charges, relative=False),
        Table("In time: error at t = .02, N steps", time_rows(), relative=False),
    ]


def figure() -> Figure:
    """Errors over points, on a line where powers would bend."""
    with styled():
        drawn = new_figure(7.6, 3.2, "Spectral errors fall exponentially, until round-off")
        left, right = drawn.subplots(1, 2)
        sizes = (8, 12, 16, 20, 24, 32, 40, 48, 64)
        left.semilogy(sizes, [wave_error(n) for n in sizes], "o-", ms=4, lw=1, color=WARM[0])
        order = torch.tensor(sizes).double()
        left.semilogy(sizes, 30 / order**2, color=FAINT, ls="--", lw=1)
        left.annotate("order 2", (44, 2.5e-2), color=FAINT)
        left.set(xlabel="cells", ylabel="error of dc/dt", title="Series, an analytic wave")
        points = (25, 33, 41, 49, 65)
        errors = [charging_error(n) for n in points]
        right.semilogy(points, errors, "o-", ms=4, lw=1, color=COOL[0])
        right.set(
            xlabel="points", ylabel="error of the charge", title="Polynomials, a blocking cell"
        )
    return drawn


CASE = Case(
    key="spectral-space",
    title="Spectral space",
    text="""\
Series: $\\phi = e^{0.8 \\sin 2\\pi x}$ is the potential of $c_+ - c_-$, with
$c_- = 2 + \\cos 4\\pi x$; $\\partial_t c$ follows by autograd. Small waves of charge, of amplitude
$10^{-6}$, decay at $|k|^2 + 2/\\varepsilon$, with the $k$ of the equation itself, whatever the
number of cells; what remains is the square of the amplitude. Chebyshev points: the blocking cell
of two thermal volts, Debye length .05; its charge is that of the polynomial through the points,
from wall to middle. Orders of the exponential steps are measured on a wave in a square.""",
    tables=tables,
    figure=figure,
    caption="Left: series on a wave. Right: polynomials on a blocking cell, in time to 1e-8.",
    cheap=(),
)
