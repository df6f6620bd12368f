"""What must agree with itself: mirror images, other dimensions, limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from matplotlib.figure import Figure
from torch import Tensor

import pnpfusion as pf
from docs.verification.case import Case, Row, Table, f64, profile
from pnpfusion.solvers import KenCarp4
from pnpfusion.solvers.grid import Boundary
from pnpfusion.visualize.style import COOL, WARM, new_figure, styled

CATION, ANION = pf.Species("cation", +1, 1.0), pf.Species("anion", -1, 2.0)
SPAN = torch.tensor([0.0, 0.1], dtype=f64)


def start(n: int) -> Tensor:
    """Not symmetric; as much of both ions."""
    x = (torch.arange(n, dtype=f64) + 0.5) / n
    wave = torch.stack([torch.cos(math.pi * x), torch.cos(3 * math.pi * x)])
    return 1 + 0.4 * wave


def run(
    c0: Tensor,
    *,
    ions: Sequence[pf.Species] = (CATION, ANION),
    left: pf.Wall | None = None,
    right: pf.Wall | None = None,
    steric: float | None = None,
    span: Tensor = SPAN,
    dims: int = 1,
) -> Tensor:
    """The end of a run in a cell with electrodes at -1 and +1; more axes repeat the first."""
    n = c0.shape[-dims]
    boundaries: list[Boundary] = ["wall", "periodic", "wall"]
    grid = pf.Grid((n, 3, 2)[:dims], (1.0, 0.3, 0.2)[:dims], tuple(boundaries[:dims]))
    walls = {"x-": left or pf.Wall(potential=-1.0), "x+": right or pf.Wall(potential=1.0)}
    cell = pf.PNP(grid, ions, permittivity=0.02, walls=walls, steric=steric)
    stepper = KenCarp4(dt=float(span[1]) / 20)
    return pf.simulate(cell, c0, span, stepper=stepper).require_success().final


def differences(n: int) -> dict[str, tuple[float, float]]:
    """Largest relative difference of each pair of runs, and its bound."""
    c0 = start(n)
    base = run(c0)

    def off(other: Tensor) -> float:
        return float(((other - base) / base).abs().max())

    flipped = (replace(CATION, valence=-1), replace(ANION, valence=+1))
    found = {
        "all signs turned": (
            off(run(c0, ions=flipped, left=pf.Wall(potential=1.0), right=pf.Wall(potential=-1.0))),
            1e-10,
        ),
        "mirror image": (
            off(
                run(c0.flip(-1), left=pf.Wall(potential=1.0), right=pf.Wall(potential=-1.0)).flip(
                    -1
                )
            ),
            1e-10,
        ),
        "all D doubled, half the time": (
            off(
                run(
                    c0,
                    ions=(replace(CATION, diffusivity=2.0), replace(ANION, diffusivity=4.0)),
                    span=SPAN / 2,
                )
            ),
            1e-10,
        ),
        "one of a batch of three": (
            off(run(torch.stack([c0.flip(0), c0, c0.flip(1)]))[1]),
            1e-10,
        ),
    }
    for dims in (2, 3):
        wide = c0.reshape(2, n, *(1,) * (dims - 1)).expand(2, n, *(3, 2)[: dims - 1])
        across = run(wide, dims=dims)
        found[f"the same on {dims} axes"] = (off(across.flatten(2)[..., 0]), 1e-9)
    thin = 1e-8
    stern = [pf.Wall(potential=v, stern=thin) for v in (-1.0, 1.0)]
    found["Stern layer 10⁻⁸ against none"] = (off(run(c0, left=stern[0], right=stern[1])), 1e-5)
    found["crowding 10⁻⁸ against none"] = (off(run(c0, steric=thin)), 1e-6)
    return found


def tables(sizes: Sequence[int]) -> list[Table]:
    """Differences on half the coarsest grid."""
    n = min(sizes) // 2
    rows: list[Row] = []
    for what, (error, bound) in differences(n).items():
        rows += profile(what, [n], [error], bound=bound, power=0)
    return [Table("Largest relative difference of the concentrations at t = .1", rows)]


def figure() -> Figure:
    """The run itself, and its images put back."""
    with styled():
        drawn = new_figure(7.6, 3.2, "Turned, mirrored, repeated along y: the same run")
        left, right = drawn.subplots(1, 2)
        c0 = start(32)
        x = (torch.arange(32) + 0.5) / 32
        base = run(c0)
        for c, axes, title in ((c0, left, "t = 0"), (base, right, "t = 0.1")):
            for one, color, name in zip(c, (WARM[0], COOL[0]), ("cation", "anion"), strict=True):
                axes.plot(x, one, color=color, label=name)
            axes.set(xlabel="$x$  ($L$)", ylabel="concentration", title=title)
        opposite = [pf.Wall(potential=v) for v in (1.0, -1.0)]
        mirrored = run(c0.flip(-1), left=opposite[0], right=opposite[1]).flip(-1)
        right.plot(x, mirrored[0], "o", ms=5, mfc="none", color=WARM[0], label="mirrored, put back")
        wide = run(c0[..., None].expand(2, 32, 3), dims=2)[..., 1]
        right.plot(x, wide[1], "+", ms=6, color=COOL[0], label="a line of a 2-D cell")
        right.legend()
        left.legend()
    return drawn


CASE = Case(
    key="symmetries",
    title="Symmetries and limits",
    text="""\
A cell with electrodes at −1 and +1, $D$ = 1 and 2, $\\varepsilon = .02$, from an uneven start.
Turning all signs, mirroring, scaling $D$ against time, repeating the cell along further axes
and putting it into a batch must give the same numbers, to round-off as the stiff equations
magnify it. Thin Stern layers and small ions must give nearly those of none; there the bound is
the size of the effect.""",
    tables=tables,
    figure=figure,
    caption="The run of the table: its start, and its end with two of its images on top.",
    cheap=(64,),
)
