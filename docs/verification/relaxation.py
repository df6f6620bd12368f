"""Small waves over a uniform electrolyte decay at the eigenvalues of a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Row, Table, f64, series
from pnpfusion.solvers import KenCarp4
from pnpfusion.solvers.grid import Boundary
from pnpfusion.visualize.style import COOL, FAINT, WARM, new_figure, styled

EPSILON = 0.02
AMPLITUDE = 1e-6  # what is not linear is that much smaller

#: name: valences, concentrations, diffusivities
MIXTURES: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]] = {
    "1:1, D = 1, 1": ((1, -1), (1, 1), (1, 1)),
    "1:1, D = 1, 2": ((1, -1), (1, 1), (1, 2)),
    "2:1, D = .79, 2.03": ((2, -1), (1, 2), (0.79, 2.03)),
    "three ions": ((1, -1, 2), (1, 2, 0.5), (1, 2, 0.7)),
}


def rates(name: str, k2: float) -> tuple[Tensor, Tensor]:
    """The rates of decay of waves with |k|² = ``k2``, ascending, and their shapes as columns."""
    z, c, d = (torch.tensor(v, dtype=f64) for v in MIXTURES[name])
    matrix = torch.diag(d * k2) + torch.outer(d * z * c, z) / EPSILON
    values, vectors = torch.linalg.eig(matrix)
    order = values.real.argsort()
    return values.real[order], vectors.real[:, order]


def waves(name: str, grid: pf.Grid, modes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """A wave with so many half-waves (periodic: waves) per axis, and |k|², exact and discrete."""
    wave, exact, discrete = torch.ones(grid.shape, dtype=f64), 0.0, 0.0
    for axis, mode in enumerate(modes):
        turns = 2 if grid.boundaries[axis] == "periodic" else 1
        k, h = turns * math.pi * mode / grid.lengths[axis], float(grid.widths(axis)[0])
        line = torch.cos(k * grid.coordinates(axis))
        wave = wave * line.reshape([-1 if a == axis else 1 for a in range(grid.ndim)])
        exact, discrete = exact + k**2, discrete + (2 - 2 * math.cos(k * h)) / h**2
    return wave, torch.tensor([exact, discrete], dtype=f64)


def measured(name: str, grid: pf.Grid, modes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The rates seen in a run, those of the equation, and those of its discrete Laplacian."""
    z, c, d = MIXTURES[name]
    ions = [pf.Species(f"ion {i}", *pair) for i, pair in enumerate(zip(z, d, strict=True))]
    cell = pf.PNP(grid, ions, permittivity=EPSILON)
    wave, (exact, discrete) = waves(name, grid, modes)
    shapes = rates(name, float(discrete))[1]  # one sample for each shape
    space = (1,) * grid.ndim
    base = torch.tensor(c, dtype=f64).reshape(-1, *space)
    c0 = base + AMPLITUDE * shapes.mT.reshape(len(c), len(c), *space) * wave
    span = torch.tensor([0.0, 0.002], dtype=f64)
    run = pf.simulate(cell, c0, span, stepper=KenCarp4(dt=4e-4)).require_success()
    seen = ((run.states - base) * wave).flatten(3).sum(-1)  # (times, shapes, species)
    parts = torch.linalg.solve(shapes, seen.mT).diagonal(0, 1, 2)
    found = torch.log(parts[0] / parts[1]) / span[1]
    return found, rates(name, float(exact))[0], rates(name, float(discrete))[0]


def _rows(
    name: str, title: str, grids: Sequence[pf.Grid], modes: Sequence[int], bound: float
) -> tuple[list[Row], list[Row]]:
    found = [measured(name, grid, modes) for grid in grids]
    sizes = [grid.shape[0] for grid in grids]
    continuous, discrete = [], []
    for i in range(len(found[0][0])):
        computed = [float(f[0][i]) for f in found]
        what = f"{title}, rate {i + 1}"
        exact = float(found[0][1][i])
        continuous += series(what, sizes, computed, exact, bound=bound, wanted=(1.9, 2.1))
        exacts = [float(f[2][i]) for f in found]
        discrete += series(what, sizes, computed, exacts, bound=5e-6, power=0)
    return continuous, discrete


def tables(sizes: Sequence[int]) -> list[Table]:
    """Rates against those of the equation and of its finite volumes."""
    rows: list[Row] = []
    checks: list[Row] = []
    for name in MIXTURES:
        grids = [pf.Grid((n,), (1.0,), ("periodic",)) for n in sizes]
        more = _rows(name, f"periodic, {name}", grids, (1,), 8.5e-4)
        rows, checks = rows + more[0], checks + more[1]
    grids = [pf.Grid((n,), (1.0,), ("wall",)) for n in sizes]
    more = _rows("1:1, D = 1, 2", "walls, 3 half-waves, 1:1, D = 1, 2", grids, (3,), 2e-3)
    rows, checks = rows + more[0], checks + more[1]
    one = [
        Table("One axis: against the equation", rows),
        Table("One axis: against the finite volumes' own Laplacian", checks),
    ]
    name, rows, checks = "three ions", [], []
    for dims, part, largest in ((2, 4, 32), (3, 8, 16)):
        lower = [n // part for n in sizes if n // part <= largest]
        boundaries: list[Boundary] = ["periodic", "wall", "periodic"]
        grids = [pf.Grid((n,) * dims, (1.0,) * dims, tuple(boundaries[:dims])) for n in lower]
        more = _rows(name, f"{dims} axes, {name}", grids, (1,) * dims, 1.5e-2 * (16 / 64) ** 2)
        rows, checks = rows + more[0], checks + more[1]
    return [
        *one,
        Table("Two and three axes, the second between walls: against the equation", rows),
        Table("Two and three axes: against the finite volumes' own Laplacian", checks),
    ]


def figure() -> Figure:
    """Amplitudes over time on a logarithmic axis, and the rates over the wavenumber."""
    with styled():
        drawn = new_figure(7.6, 3.3, "Charge relaxes fast, salt slowly, both at the known rates")
        left, right = drawn.subplots(1, 2)
        name, grid = "1:1, D = 1, 2", pf.Grid((64,), (1.0,), ("periodic",))
        cell = pf.PNP(
            grid, [pf.Species("cation", 1, 1.0), pf.Species("anion", -1, 2.0)], permittivity=EPSILON
        )
        wave, (k2, _) = waves(name, grid, (1,))
        values, shapes = rates(name, float(k2))
        c0 = 1 + AMPLITUDE * shapes.mT[..., None] * wave
        times = torch.linspace(0, 0.03, 16, dtype=f64)
        run = pf.simulate(cell, c0, times, stepper=KenCarp4(dt=5e-4))
        seen = 2 * ((run.states - 1) * wave).mean(-1) / AMPLITUDE
        parts = torch.linalg.solve(shapes, seen.mT).diagonal(0, 1, 2)
        for i, (color, label) in enumerate(((COOL[0], "salt"), (WARM[0], "charge"))):
            left.semilogy(times, torch.exp(-values[i] * times), color=FAINT, lw=1)
            left.semilogy(times, parts[:, i], "o", ms=3.5, color=color, label=label)
        left.set(xlabel="time $t$  ($L^2/D$)", ylabel="amplitude", title="Decay (lines: exact)")
        left.legend()
        waves_of = torch.linspace(0.1, 6, 100, dtype=f64)
        lines = torch.stack([rates(name, float((2 * math.pi * m) ** 2))[0] for m in waves_of])
        right.plot(waves_of, lines, color=FAINT, lw=1)
        for mode in range(1, 7):
            found = measured(name, pf.Grid((64,), (1.0,), ("periodic",)), (mode,))[0]
            for value, color in zip(found.tolist(), (COOL[0], WARM[0]), strict=True):
                right.plot(mode, value, "o", ms=4, color=color)
        right.set(xlabel="waves in the box", ylabel="rate  ($D/L^2$)", title="Rates (lines: exact)")
    return drawn


CASE = Case(
    key="relaxation",
    title="Relaxation of small waves",
    text="""\
A wave of amplitude 10⁻⁶ and wavenumber $k$ over the uniform concentrations $\\bar c_i$
($\\varepsilon = 0.02$) is a sum of eigenvectors, each of which decays at an eigenvalue of

$$M_{ij} = D_i k^2 \\delta_{ij} + D_i z_i \\bar c_i z_j / \\varepsilon .$$

Each sample of the batch starts in one eigenvector; the rate is read from the run's end. Finite
volumes replace $k^2$ by $(2 - 2\\cos kh)/h^2$, smaller by the part
$1 - (\\sin(\\pi/N)/(\\pi/N))^2$ = 8.03e-4, 2.01e-4, 5.02e-5 at $N$ = 64, 128, 256: this is the
whole error. Against the rates with that $k^2$ what remains are time steps and the square of the
amplitude.""",
    tables=tables,
    figure=figure,
    caption=(
        "Left: the two parts of a wave, D = 1 and 2. Right: their rates for one to six waves in"
        " the box."
    ),
    cheap=(64,),
)
