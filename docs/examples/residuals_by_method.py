r"""Four ways to solve for a deep equilibrium, on a contraction and on a cell that is none.

An equilibrium z = g(z) is a root of f(z) = g(z) − z. Picard's iteration z ← g(z) multiplies the
error near z* by the Jacobian g′(z*), so in the long run its residual falls as

    |f(z_k)| ~ ϱ^k,        ϱ the largest |eigenvalue| of g′(z*):

its slope on a logarithmic axis is log ϱ, and where ϱ > 1 it does not converge. Anderson's and
Broyden's methods learn from the iterates what g′ is, Newton's solves with it, at the price of many
products with the Jacobian an iteration; neither needs ϱ < 1.

Two cells, of two modalities of width 16 and eight samples each:

    contraction    |g(z) − g(z′)| ≤ 0.95 |z − z′| whatever its weights, so ϱ < 0.95: all converge;
    the paper's    no bound on ϱ, and a ReLU whose kinks no linear model foresees. Broyden's method
                   finds all equilibria, Picard's none of those with ϱ > 1.

A solver says of each sample whether it has `succeeded`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import pnpfusion as pf
from pnpfusion.solvers import Anderson, Broyden, NewtonKrylov, Picard
from pnpfusion.solvers.fixed_point.jacobian import spectral_radius
from pnpfusion.visualize.style import INK, new_figure, styled

METHODS = {  # of equal budgets
    "Picard": Picard(max_evaluations=300),
    "Anderson": Anderson(max_evaluations=300),
    "Broyden": Broyden(memory=50, max_evaluations=300),
    "Newton–Krylov": NewtonKrylov(max_evaluations=300),
}


def contraction():
    law = pf.ContractiveDEQ(2, 16, contraction=0.95)
    law.state_weights.data += 5 / 16  # one direction that is slow to settle
    return law


def radii(law, run, x):  # of g' where each sample came to
    return spectral_radius(lambda z, _: law.rate(z.new_zeros(()), z, x), run.final, iterations=48)


def slopes(history):  # of each sample's residual, from 1e-8 to the tolerance; as factors
    found = []
    for one in history.T.numpy():
        k = np.flatnonzero(one < 1e-8)
        found.append(np.exp(np.polyfit(k, np.log(one[k]), 1)[0]) if len(k) > 4 else np.nan)
    return torch.tensor(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Residuals of four fixed-point solvers.")
    parser.add_argument("--out", type=Path, default="runs", help="folder of the picture (runs)")
    out = parser.parse_args().out
    torch.set_num_threads(1)  # on a busy machine more threads can be much slower
    with styled():
        figure = new_figure(11.0, 4.4, "Picard's slope is log ϱ, and where ϱ > 1 it fails")
        for ax, name in zip(figure.subplots(1, 2), ("contraction", "the paper's"), strict=True):
            torch.manual_seed(0)
            law = contraction() if name == "contraction" else pf.DEQ(2, 16)
            law = law.double().requires_grad_(False)
            x = torch.randn(8, 2, 16, dtype=torch.float64)
            u0 = torch.zeros(8, 3, 16, dtype=torch.float64)
            runs = {k: pf.equilibrium(law, u0, x=x, solver=METHODS[k], tol=1e-12) for k in METHODS}
            solved = {method: run.succeeded for method, run in runs.items()}
            print(name, {method: f"{int(one.sum())} of 8" for method, one in solved.items()})
            pf.visualize.plot_residuals(ax, runs)
            ax.set_title(f"{name.capitalize()}: {ax.get_title(loc='left')}")
            radius = radii(law, runs["Broyden"], x)  # where there is an equilibrium
            if name == "the paper's":
                assert runs["Picard"].outcome is pf.Outcome.NOT_CONVERGED
                assert solved["Broyden"].all()
                assert (radius > 1).any()
                assert not (solved["Picard"] & (radius > 1)).any()
                continue
            assert all(one.all() for one in solved.values())
            error = (slopes(runs["Picard"].history).log() / radius.log() - 1).abs().max()
            print(f"Slopes of Picard's iteration are log ϱ to {error:.1%}")
            assert error < 0.05
            line = [0.1 * float(radius.median()) ** k for k in range(50)]
            ax.plot(line, ":", color=INK, label="slope log ϱ (median)")
            ax.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "residuals_by_method.png")
