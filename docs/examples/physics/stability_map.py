r"""
How long an explicit step may be
================================

A little charge :math:`\rho = c_+ - c_-` decays mode by mode between insulating walls, the faster
the stronger ions feel each other, by :math:`2/\varepsilon`. An explicit step :math:`s` makes of it

.. math:: \rho_k \leftarrow (1 - s\lambda_k)\,\rho_k, \qquad
          \lambda_k = \frac{2 - 2\cos(\pi k/N)}{h^2} + \frac{2}{\varepsilon}.

Each pixel is a cell: it takes 200 steps from a random start, scaled back after each, and tells by
what factor the last one changed it. Lines are theory: above the upper one the eigenvalue of the
quickest mode is below −1; above the lower it outlasts the slowest, and signs alternate. Weakly
coupled ions are limited by diffusion, strongly coupled ones by dielectric relaxation [BTA04].
"""

import math

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import INK, SIGNED_MAP

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
n, pixels = 12, 100
coupling, steps = (torch.logspace(*ends, pixels).double() for ends in ((1, 4.5), (-4.5, -2)))
s, strength = torch.meshgrid(steps, coupling, indexing="ij")
ions = [pf.Species("cation", +1, diffusivity=s), pf.Species("anion", -1, diffusivity=s)]  # D = s
cell = pf.PNP(pf.Grid((n,), (1.0,), ("wall",)), ions, permittivity=2 / strength)
rho = torch.randn(n, generator=torch.Generator().manual_seed(0)).double().expand(*s.shape, n)
for _ in range(200):
    rho = rho - rho.mean(-1, keepdim=True)  # neutral as a whole, against round-off
    rho = 1e-6 * rho / rho.norm(dim=-1, keepdim=True)
    rate = cell.rate(0 * s, 1 + torch.stack([rho, -rho], -2) / 2)
    after = rho + rate[..., 0, :] - rate[..., 1, :]
    factor, rho = (after * rho).sum(-1) / rho.square().sum(-1), after

quickest, slowest = ((2 + 2 * a * math.cos(math.pi / n)) * n**2 + coupling for a in (1, -1))
borders = torch.stack([2 / quickest, 2 / (quickest + slowest)])
first = torch.stack([steps[where.int().argmax(0)] for where in (factor.abs() > 1, factor < 0)])
off = ((first / borders).log() / (steps[1] / steps[0]).log() - 0.5).abs().max()  # in pixels
print(f"both borders lie within {off:.2f} pixels of theory")
assert off < 1

figure, axes = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
axes.patch.set(facecolor="#E4E4E4", hatch="////")
kept = factor.where(factor.abs() <= 1, torch.nan)
mesh = axes.pcolormesh(coupling, steps, kept, cmap=SIGNED_MAP, vmin=-1.2, vmax=1.2)
figure.colorbar(mesh, label="factor of one step")
axes.plot(coupling, borders.T, color=INK)
axes.text(14, 6e-3, "diverges", weight="bold")
axes.text(14, 1e-4, "decays", weight="bold", color="w")
axes.annotate("alternates", (1e3, 1.1e-3), (2e3, 3e-3), arrowprops={"arrowstyle": "->"})
axes.set(
    xscale="log", yscale="log", xlabel=r"coupling $2/\varepsilon$", ylabel="step $s$  ($L^2/D$)"
)
axes.set_title(f"An explicit step: both borders lie within {off:.2f} pixels of theory")
plt.show()
