r"""
Residuals by method
===================

A deep equilibrium :math:`z^* = g(z^*)` is a root of :math:`f(z) = g(z) - z`. Near it Picard's
iteration :math:`z \leftarrow g(z)` multiplies the error by :math:`g'(z^*)`, so that

.. math:: |f(z_k)| \sim \varrho^k, \qquad \varrho = \max |\mathrm{eig}\, g'(z^*)|,

and where :math:`\varrho > 1` it does not converge. The others learn or solve with what :math:`g'`
is. Left: a cell with :math:`|g(z) - g(z')| \le 0.95\,|z - z'|` whatever its weights. Right: that
of [NBZ23], which bounds nothing: of eight samples Broyden's method finds all equilibria, Picard's
iteration none of those with :math:`\varrho > 1`, as the one drawn, and ``succeeded`` says so.
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.solvers import Anderson, Broyden, NewtonKrylov, Picard
from pnpfusion.solvers.fixed_point.jacobian import spectral_radius
from pnpfusion.visualize.style import line_look

torch.set_num_threads(1), torch.manual_seed(0)
METHODS = [one(max_evaluations=300) for one in (Picard, Anderson, Broyden, NewtonKrylov)]


def solve(law):  # eight samples by each method, and ϱ at each equilibrium
    law = law.double().requires_grad_(False)
    x, u0 = torch.randn(8, 2, 16, dtype=torch.float64), torch.zeros(8, 3, 16, dtype=torch.float64)
    runs = {type(m).__name__: pf.equilibrium(law, u0, x=x, solver=m, tol=1e-12) for m in METHODS}
    rest = runs["Broyden"].require_success().final
    return runs, spectral_radius(lambda z, _: law.rate(z.sum() * 0, z, x), rest, iterations=48)


plt.style.use(pf.visualize.LIGHT)
_, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.7), layout="constrained")
steady = pf.ContractiveDEQ(2, 16, contraction=0.95)
steady.state_weights.data += 5 / 16  # one direction that is slow to settle
runs, radius = solve(steady)
assert all(run.succeeded.all() for run in runs.values())
pf.visualize.plot_residuals(left, runs)
slopes = torch.stack([r[r < 1e-8].log().diff().mean() for r in runs["Picard"].history.T])
error = float((slopes / radius.log() - 1).abs().max())
assert error < 0.05
left.plot([0.1 * float(radius.median()) ** k for k in range(50)], "k:", label="slope log ϱ")
left.set_title(f"A contraction: Picard's slope is log ϱ, to {error:.1%}")
torch.manual_seed(0)
runs, radius = solve(pf.DEQ(2, 16))
worst, failed = radius.argmax(), ~runs["Picard"].succeeded
assert 0 < (radius > 1).sum() == failed[radius > 1].sum()
assert [name for name, run in runs.items() if run.succeeded[worst]] == ["Broyden"]
for k, (name, run) in enumerate(runs.items()):
    look, solved = line_look(k), f"{name}: {int(run.succeeded.sum())} of 8 solved"
    right.semilogy(run.history[:, worst], c=look.color, ls=look.dashes, lw=1.2, label=solved)
right.set(xlabel="iteration", xlim=(0, 140), ylim=(1e-15, 1e6))
right.set_title(f"Paper's cell, ϱ = {radius[worst]:.2f}: only Broyden arrives")
left.legend(), right.legend(loc="upper right")
print(f"slopes are log ϱ to {error:.1%}; Picard fails on {int(failed.sum())} of 8")
plt.show()
