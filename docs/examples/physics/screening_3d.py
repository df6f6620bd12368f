r"""
Charges in salt water, in three dimensions
==========================================

Around a fixed charge :math:`q` ions arrange themselves by Poisson and Boltzmann, and where the
potential is small it is Yukawa's: the power law of a bare charge is cut off,

.. math:: -\varepsilon\nabla^2\phi = \rho_f + e^{-\phi} - e^{\phi}, \qquad
          \phi \approx q\,f\,\frac{e^{-r/\lambda_D}}{4\pi\varepsilon r}, \qquad
          f = 3\,\frac{a\cosh a - \sinh a}{a^3}

for a ball of :math:`a` Debye lengths. Boxes of 64 000 cells, with three balls and with one [DH23].
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import SymLogNorm

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, FAINT, SIGNED_MAP, WARM

plt.style.use({**pf.visualize.LIGHT, "image.interpolation": "bilinear"})
n, debye, radius = 40, 0.08, 0.06
grid = pf.Grid((n,) * 3, (1.0,) * 3, ("wall",) * 3)
place = torch.stack(torch.meshgrid(*[grid.coordinates(k) for k in range(3)], indexing="ij"), -1)


def ball(x, y):  # of charge 1
    inside = ((place - torch.tensor([x, y, 0.5])).norm(dim=-1) < radius).double()
    return inside * n**3 / inside.sum()


eps, a = 2 * debye**2, radius / debye
q, f = 0.3 * 4 * math.pi * eps * radius, 3 * (a * math.cosh(a) - math.sinh(a)) / a**3
three = ball(0.32, 0.4) + ball(0.68, 0.4) - 2 * ball(0.5, 0.62)
fixed = pf.Field(q * torch.stack([ball(0.5, 0.5), three]))
salt = {"valences": [+1, -1], "concentrations": [1.0, 1.0], "permittivity": eps}
one, many = pf.solvers.solve_poisson_boltzmann(grid, **salt, fixed_charge=fixed)
r = (place - 0.5).norm(dim=-1)
near = (r > 0.08) & (r < 0.36)
away, seen = r[near] / debye, (4 * math.pi * eps / q * r * one)[near]
slope = float(np.polyfit(away, seen.log(), 1)[0])
off = float((seen / (f * torch.exp(-away)) - 1).abs().max())
print(f"r phi falls as exp({slope:.4f} r / debye length), within {off:.1%} of Yukawa's")
assert max(1.5 * abs(slope + 1), off) < 0.03

figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.5), layout="constrained")
look = {"cmap": SIGNED_MAP, "norm": SymLogNorm(0.003, vmin=-0.3, vmax=0.3)}
mesh = left.imshow(many[:, :, n // 2].T, origin="lower", extent=(0, 1, 0, 1), **look)
figure.colorbar(mesh, label=r"potential $\phi$  ($kT/e$)", ticks=[-0.1, -0.01, 0, 0.01, 0.1])
left.set(xlabel="$x$  ($L$)", ylabel="$y$  ($L$)", title="A slice through −2, +1 and +1")
right.semilogy(away[::150], seen[::150], "o", ms=3, mfc="none", color=COOL[0], label="cells")
right.plot(away.sort()[0], f * torch.exp(-away.sort()[0]), color=WARM[0], lw=1, label="Yukawa")
right.axhline(1, color=FAINT, ls="--", label="bare charge")
right.set(xlabel=r"$r / \lambda_D$", ylabel=r"$4\pi\varepsilon r\,\phi / q$", ylim=(5e-3, 2))
right.set_title(rf"Around +1: as $e^{{{slope:.3f}\,r/\lambda_D}}$, to {off:.1%}"), right.legend()
plt.show()
