r"""Three laws of motion, and one fixed point of each by three roads.

A deep equilibrium, progressive fusion and a Poisson–Nernst–Planck cell are laws du/dt = f(u; x):

    DEQ            f = cell(z; x) − z,                            cell a 1/2-contraction,
    Progressive    f = tanh(h₁ + h₂) − z,                         hᵢ = encoderᵢ(xᵢ; Wᵢ z),
    PNP            f = ∂/∂x (∂c/∂x + z c ∂φ/∂x),                  −ε ∂²φ/∂x² = c₊ − c₋.

Every law runs all three ways:

    simulate       du/dt = f(u; x), followed until t = T,
    unroll         u ← u + s f(u; x), R times,
    equilibrium    f(u; x) = 0, solved.

They end in the same state u*, to 1e-6. The error of the rounds falls geometrically: near u* it is
multiplied by the Jacobian 1 + s f′(u*) in each, so that in the long run

    |u_r − u*| ~ ϱ^r,          ϱ = max |1 + s λ|,     λ the eigenvalues of f′(u*) that u can excite.

The cell conserves the ions' masses: its λ = 0 are left out. It is stiff, which bounds its step s;
the other two take s = 1, which is plain feedback.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import new_figure, styled

f64 = torch.float64


class Sum(nn.Module):
    def forward(self, encodings):
        return sum(encodings).tanh()


def laws():  # by name: the law, where to begin, its input, T, R and s
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 8, 6, dtype=f64, generator=generator)
    deq = pf.ContractiveDEQ(2, 6).double()
    yield "DEQ", deq, torch.zeros(8, 3, 6, dtype=f64), torch.stack([a, b], 1), 30.0, 40, 1.0
    encoders = {n: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6)) for n in "ab"}
    feedback = pf.Progressive(encoders, Sum(), width=6, at={"a": "0", "b": "0"}).double()
    yield "Progressive", feedback, feedback.start(8), {"a": a, "b": b}, 30.0, 40, 1.0
    grid = pf.Grid((12,), (1.0,), ("wall",))
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
    walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=-1.0)}
    cell = pf.PNP(grid, ions, permittivity=0.5, walls=walls)
    c0 = 0.5 + torch.rand(8, 2, 12, dtype=f64, generator=generator)
    yield "PNP", cell, c0, None, 2.0, 1000, 0.4 / 12**2


def factors(error):  # by which it falls in a round, in the first and second half of a window
    window = error[(error < 1e-3) & (error > 1e-9)].log().numpy()
    halves = np.array_split(window, 2)
    return [float(np.exp(np.polyfit(range(len(half)), half, 1)[0])) for half in halves]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Three laws by simulate, unroll, equilibrium.")
    parser.add_argument("--out", type=Path, default="runs", help="folder of the picture (runs)")
    out = parser.parse_args().out
    torch.set_num_threads(1)  # on a busy machine more threads can be much slower
    torch.manual_seed(0)
    with styled(), torch.no_grad():
        figure, worst = new_figure(11.0, 6.0, ""), 0.0
        panels = figure.subplots(2, 3).T
        for (above, below), (name, law, u0, x, end, rounds, step) in zip(
            panels, laws(), strict=True
        ):
            rest = pf.equilibrium(law, u0, x=x, tol=1e-12).require_success().final
            path = pf.simulate(law, u0, torch.linspace(0, end, 41, dtype=f64), x=x, rtol=1e-9)
            turns = pf.unroll(law, u0, rounds, x=x, step=step)
            apart = [float((run.final - rest).abs().max()) for run in (path, turns)]
            first, second = factors((turns.states - rest).flatten(1).norm(dim=1))
            print(f"{name:12} apart {max(apart):.1e}; a round leaves {first:.4f}, {second:.4f}")
            assert max(apart) < 1e-6
            assert first < 1
            assert abs(np.log(first) / np.log(second) - 1) < 0.05
            for ax, run in ((above, path), (below, turns)):
                pf.visualize.plot_path(ax, run, to=rest, sample=None)
            above.set_title(f"{name} in time: {apart[0]:.0e} away in the end")
            below.set_title(f"{name}: a round leaves {second:.3g} of the error")
            worst = max(worst, *apart)
        heading = f"One fixed point by three roads: all ends within {worst:.0e}"
        figure.suptitle(heading, x=0.012, ha="left")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "one_fixed_point_three_roads.png")
