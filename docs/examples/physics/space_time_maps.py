r"""
Ions on their way, and the potential they make
==============================================

A salt of uniform concentration between two electrodes that are switched on at :math:`t = 0`:

.. math:: \partial_t c_\pm = \partial_x(\partial_x c_\pm \pm c_\pm\,\partial_x\phi), \qquad
          -\varepsilon\,\partial_x^2\phi = c_+ - c_-, \qquad \phi(0) = 4, \quad \phi(1) = -4.

At first the field is uniform: contours of the potential are equally far apart. Each electrode draws
a layer of counter-ions, and the field withdraws into these layers: in the middle it falls by e in
about the charging time :math:`\tau = \lambda_D \ell/D` of half a cell, :math:`\ell = 1/2`, here
0.025 [BTA04]. Masses hold to round-off, and no concentration is clipped.
"""

import math

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import LogNorm

import pnpfusion as pf
from pnpfusion.visualize.style import CONCENTRATION_MAP, INK, SIGNED_MAP

torch.set_num_threads(1), plt.style.use(pf.visualize.LIGHT)
s = 2.5 * torch.linspace(-1, 1, 161, dtype=torch.float64)  # cells are small at both electrodes
grid = pf.Grid((160,), (1.0,), ("wall",), edges=[0.5 + 0.5 * s.tanh() / s[-1].tanh()])
ions = [pf.Species("cation", +1), pf.Species("anion", -1)]
walls = {"x-": pf.Wall(potential=4.0), "x+": pf.Wall(potential=-4.0)}
cell = pf.PNP(grid, ions, permittivity=2 * 0.05**2, walls=walls)
times = torch.cat([torch.zeros(1), torch.logspace(-4, 0, 120)]).double()
run = pf.simulate(cell, torch.ones(2, 160, dtype=torch.float64), times, rtol=1e-7)
mass, lowest = float(run.ledger.mass_error), float(run.ledger.min_concentration)
middle = cell.field(run.states)[:, 80].abs()
tau = float(times[(middle < middle[0] / math.e).nonzero()[0]])
print(f"masses to {mass:.0e}, c > {lowest:.2g}; field by e in {tau:.3f}, to {middle[-1]:.2g}")
assert mass < 1e-12
assert lowest > 0
assert middle[0] / middle[-1] > 20
assert abs(tau / 0.025 - 1) < 0.2

x, phi = grid.coordinates(0), cell.potential(run.states)
figure, panels = plt.subplots(1, 3, sharey=True, figsize=(7.4, 3.7), layout="constrained")
norm = LogNorm(0.1, 10, clip=True)
for axes, c, name in zip(panels, run.states[1:].unbind(1), ("cations", "anions"), strict=False):
    mesh = axes.pcolormesh(x, times[1:], c, norm=norm, cmap=CONCENTRATION_MAP, rasterized=True)
    axes.set(title=name, xlabel="position $x$  ($L$)")
figure.colorbar(mesh, ax=panels[:2], location="bottom", label=r"$c$  ($c_\mathrm{ref}$)", aspect=40)
mesh = panels[2].pcolormesh(
    x, times[1:], phi[1:], cmap=SIGNED_MAP, vmin=-4, vmax=4, rasterized=True
)
panels[2].contour(
    x, times[1:], phi[1:], levels=range(-4, 5), colors=INK, linewidths=0.6, linestyles="-"
)
panels[2].set(title="potential", xlabel="position $x$  ($L$)")
figure.colorbar(mesh, ax=panels[2], location="bottom", label=r"$\phi$  ($kT/e$)", aspect=20)
panels[0].set(yscale="log", ylabel="time $t$  ($L^2/D$)")
title = f"The field withdraws into layers: in the middle from {middle[0]:.0f} to {middle[-1]:.2g}"
figure.suptitle(title, x=0.01, ha="left", fontsize=10.5)
plt.show()
