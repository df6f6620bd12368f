r"""Two diffusivities and the charge of a wall, recovered from noisy profiles.

A drop of salt spreads in a cell. Its left wall carries an unknown charge q; its right wall is a
reservoir at potential 0. The concentrations of two ions of unknown diffusivities are measured
three times. In units of c_ref, L, L²/D_ref and kT/e, with a Debye length of L/10 (ε = 0.02):

    ∂c±/∂t = ∂/∂x [D± (∂c±/∂x ± c± ∂φ/∂x)],      −ε ∂²φ/∂x² = c₊ − c₋,      0 < x < 1,
    x = 0:  no flux,  −ε ∂φ/∂x = q,               x = 1:  c± = 0.2,  φ = 0,
    t = 0:  c± = 0.2 + exp(−(10 x − 4)²).

The data d carry Gaussian noise of standard deviation σ; they come from a grid twice as fine as
that of the fit, and from smaller steps. The fit finds the p = (D₊, D₋, q) that minimises

    χ²(p) / 2 = Σ (c(p) − d)² / (2 σ²)

with torch.optim.LBFGS, by the gradient of the run; it searches for ln D± and 10 q, which are of
like size and may have any sign. The standard errors are those of Gauss and Newton, from the
covariance σ² (JᵀJ)⁻¹. Central differences for J = ∂c/∂p need six cells.

Are these errors right? The experiment is repeated with 16 noises. The 16 fits are one batch, and
so are the 6 × 16 cells of their standard errors. The answers must scatter as those errors say.
"""

import argparse
import time
from pathlib import Path

import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, FAINT, INK, WARM, new_figure, styled

TIMES, SIGMA = torch.tensor([0.0, 0.01, 0.03, 0.1], dtype=torch.float64), 0.04
GUESS, TRUE = torch.tensor([[1.0, 1.0, 0.0], [1.33, 2.03, -0.2]], dtype=torch.float64)


def profiles(p, cells=64, rtol=1e-3):  # (*batch, 3) to (times, *batch, species, cells)
    grid, salt = pf.Grid((cells,), (1.0,), ("wall",)), {"cation": 0.2, "anion": 0.2}
    ions = [pf.Species("cation", +1, p[..., 0]), pf.Species("anion", -1, p[..., 1])]
    walls = {"x-": pf.Wall(surface_charge=p[..., 2]), "x+": pf.Wall(0.0, concentration=salt)}
    cell = pf.PNP(grid, ions, permittivity=0.02, walls=walls)
    c0 = (0.2 + torch.exp(-((10 * grid.coordinates(0) - 4) ** 2))).expand(*p.shape[:-1], 2, cells)
    return pf.simulate(cell, c0, TIMES, rtol=rtol).require_success().states[1:]


def recover(data):  # (times, batch, species, cells) to (batch, 3)
    free = torch.zeros(data.shape[1], 3, dtype=data.dtype, requires_grad=True)  # p = GUESS

    def misfit():
        p = torch.cat([free[:, :2].exp(), free[:, 2:] / 10], 1)
        half = ((profiles(p) - data) / SIGMA).square().sum() / 2
        free.grad = torch.autograd.grad(half, free)[0]
        return half

    torch.optim.LBFGS([free], tolerance_grad=0.1, line_search_fn="strong_wolfe").step(misfit)
    return torch.cat([free[:, :2].exp(), free[:, 2:] / 10], 1).detach()


def standard_errors(p, step=1e-3):  # (batch, 3) to (batch, 3)
    steps = step * torch.eye(3, dtype=p.dtype)
    ahead, behind = profiles(p[:, None] + torch.cat([steps, -steps])).chunk(2, dim=2)
    jacobian = ((ahead - behind) / (2 * step)).movedim(0, 2).flatten(2)  # (batch, 3, data)
    return SIGMA * torch.linalg.inv(jacobian @ jacobian.mT).diagonal(0, 1, 2).sqrt()


def draw(data, p, error, titles, file):
    x, (fit, start) = (torch.arange(64) + 0.5) / 64, profiles(torch.stack([p[0], GUESS])).unbind(1)
    with styled():
        figure = new_figure(9.2, 5.6, "Noisy profiles tell two diffusivities and a wall's charge")
        for k, (above, below) in enumerate(zip(*figure.subplots(2, 3), strict=True)):
            above.set_prop_cycle(color=[WARM[0], COOL[0]])
            above.plot(x, data[k, 0].T, ".", alpha=0.4, label=["cation, data", "anion, data"])
            above.plot(x, fit[k].T, label=["cation, fit", "anion, fit"])
            above.plot(x, start[k, 0], ":", color=FAINT, label="both, first guess")
            above.set(title=f"$t$ = {TIMES[k + 1]:g}", xlabel="$x$", ylabel="$c$", ylim=(0, 1.6))
            below.axhline(TRUE[k], color=WARM[1])
            below.errorbar(range(1, 17), p[:, k], error[:, k], fmt="o", color=INK, markersize=4)
            below.set(title=titles[k], xlabel="experiment (line: true)", xticks=(1, 4, 8, 12, 16))
        above.legend()
        figure.savefig(file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Recover D₊, D₋ and q from noisy profiles.")
    parser.add_argument("--out", type=Path, default="runs", help="folder of the picture (runs)")
    torch.set_num_threads(1)  # on a busy machine more threads can be much slower
    out, begin = parser.parse_args().out, time.perf_counter()
    exact = profiles(TRUE.expand(16, 3), cells=128, rtol=1e-6).unflatten(-1, (64, 2)).mean(-1)
    data = torch.normal(exact, SIGMA, generator=torch.Generator().manual_seed(0))
    p = recover(data)
    error = standard_errors(p)
    ratio, seconds = p.std(0) / error.mean(0), time.perf_counter() - begin
    row = "{} = {:.3f} ± {:.3f}, true {:g}".format
    titles = list(map(row, ("D₊", "D₋", "q"), p[0], error[0], TRUE))
    print(*titles, f"scatter / error {ratio.numpy().round(2)}, {seconds:.0f} s, {out}/", sep="\n")
    assert ((abs(p - TRUE) < 4 * error) & (error < abs(TRUE) / 20) & (abs(ratio - 1) < 0.5)).all()
    out.mkdir(parents=True, exist_ok=True)
    draw(data, p, error, titles, out / "inverse_problem.png")
