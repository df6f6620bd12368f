r"""
How honest is a gradient?
=========================

The loss :math:`w \cdot z^*` of an equilibrium :math:`f = \tanh(W z^* + x) - z^* = 0` of 32 numbers
has the slope :math:`-w^T (\partial f / \partial z)^{-1}\, \partial f / \partial x` by the implicit
function theorem (IFT). Unrolling 4 to 128 rounds pays more for an error below a few per cent; the
phantom gradient [GZB21] of 1 to 32 rounds has a bias; differences pay for each number; continuous
adjoints (tolerance 1e-7, times 2 to 64) go back from rest, where all that decayed grows again.
"""

import matplotlib.pyplot as plt
import torch
from torchdiffeq import odeint_adjoint

import pnpfusion as pf
from pnpfusion.visualize.style import LINES

torch.manual_seed(0), plt.style.use(pf.visualize.LIGHT)
W = 0.9 * torch.linalg.qr(torch.randn(32, 32, dtype=torch.float64)).Q
at, w = torch.randn(2, 32, dtype=torch.float64) / 2
x, S, cost, runs = at.clone().requires_grad_(), pf.solvers.Anderson(max_evaluations=500), [], {}


class Cell(pf.Dynamics):
    def rate(self, t, u, x=x):
        f = (u @ W.T + x).tanh() - u
        cost.append(u.numel() / 32)  # and as much for each product:
        _ = f.requires_grad and f.register_hook(lambda g: cost.append(g.numel() / 32))
        return f

    def rest(self, x, tol=1e-12, how=None):
        return pf.equilibrium(self, 0 * x.detach(), x=x, solver=S, tol=tol, gradient=how).final


law, eye, ends = Cell(), torch.eye(32), torch.tensor([0.0, 1.0], dtype=torch.float64)
METHODS = {
    "IFT": lambda k: law.rest(x, 0.1 ** (2 * k - 1)),
    "unrolled": lambda k: pf.unroll(law, 0 * at, 2 ** (k + 1), x=x).final,
    "phantom": lambda k: law.rest(x, 1e-12, pf.solvers.Phantom(2 ** (k - 1))),
    "differences": lambda k: (law.rest(at + eye / 10**k) - law.rest(at)) @ w * 10**k,
    "adjoint": lambda k: odeint_adjoint(law.rate, 0 * at, 2**k * ends, adjoint_params=(x,))[1],
}
slope = 1 - (law.rest(at, 1e-14) @ W.T + at).tanh() ** 2
exact = slope * torch.linalg.solve((eye - slope[:, None] * W).T, w)
_, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
for (name, run), mark, color in zip(METHODS.items(), "osD^v", LINES, strict=False):
    runs[name] = torch.zeros(6, 2, dtype=torch.float64)
    for k in range(1, 7):
        cost.clear()
        told = run(k) if name == "differences" else torch.autograd.grad(run(k) @ w, x)[0]
        runs[name][k - 1] = torch.tensor([sum(cost), (told - exact).norm() / exact.norm()])
    ax.loglog(*runs[name].T, mark + "-", color=color, ms=4, label=name)
ift, phantom, adjoint = (runs[name][:, 1] for name in ("IFT", "phantom", "adjoint"))
ax.set(xlabel="evaluations of f and products with its Jacobian", ylabel="relative error")
ax.set_title(f"IFT errs by {ift[-1]:.0e}, the adjoint by {adjoint[-1]:.0e}")
ax.legend(loc="lower left"), print({name: f"{one[:, 1].min():.0e}" for name, one in runs.items()})
assert ift[4] < 1e-6 < 5e-5 < phantom[-1] < adjoint[-2] < adjoint[-1] / 2
assert (runs["IFT"][2] < runs["unrolled"][3]).all()  # cheaper, and more exact
plt.show()
