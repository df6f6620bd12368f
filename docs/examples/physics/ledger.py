r"""
The books of a run
==================

A cell between two electrodes is closed: no ion leaves, none is made. So along

.. math:: \partial_t c_i = -\nabla\cdot J_i, \qquad J_i = -D_i(\nabla c_i + z_i c_i \nabla\phi),
          \qquad -\varepsilon\nabla^2\phi = \sum_i z_i c_i

the mass of each species stays, so does the net charge, concentrations stay positive, and the free
energy, :math:`\dot F = -\int \sum_i D_i c_i |\nabla\mu_i|^2 \le 0`, only falls [LW14]. A ledger
has these books of each sample of a batch; its smallest concentration counts all steps, not only
saved ones. Here a salt of two cations and an anion of valence −2 meets 4 kT/e on either side.
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, FAINT, INK, WARM

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
grid = pf.Grid((256,), (1.0,), ("wall",))
ions = [pf.Species("cation", +1, diffusivity=1.3), pf.Species("anion", -2, diffusivity=0.7)]
walls = {"x-": pf.Wall(potential=4.0), "x+": pf.Wall(potential=-4.0)}
cell = pf.PNP(grid, ions, permittivity=0.01, walls=walls)
c0 = torch.ones(2, 256, dtype=torch.float64)
c0[0] = 2 + torch.sin(9 * grid.coordinates(0))
c0[0] *= 2 / c0[0].mean()
times = torch.cat([torch.zeros(1), torch.logspace(-5, 0, 60)]).double()
run = pf.simulate(cell, c0, times, rtol=1e-6).require_success()

kept = run.ledger
drift, charge = kept.mass / kept.mass[0] - 1, kept.charge - kept.charge[0]
rise, lowest = float(kept.energy_largest_rise), float(kept.min_concentration)
print(kept)
assert max(drift.abs().max(), charge.abs().max()) < 1e-12
assert rise <= 1e-12
assert lowest > 0

t = times.clamp_min(3e-6)
figure, ((a, b), (c, d)) = plt.subplots(2, 2, sharex=True, figsize=(7.4, 4.8), layout="constrained")
for axes, values, mark in ((a, drift[:, 0], "o"), (a, drift[:, 1], "s"), (b, charge, "o")):
    color = INK if axes is b else WARM[0] if mark == "o" else COOL[0]
    axes.plot(t, values / 2**-52, mark, color=color, ms=3.5, mfc="none")
    axes.axhline(0, color=FAINT, lw=0.8)
    axes.set(xscale="log", ylim=(-8, 8))
a.legend(a.lines[::2], cell.names, ncols=2)
a.set(title=f"Masses change by {drift.abs().max():.0e}", ylabel="relative change / $2^{-52}$")
b.set(title=f"Net charge changes by {charge.abs().max():.0e}", ylabel="change / $2^{-52}$")
c.semilogy(t, kept.smallest, ".-", color=INK, lw=1)
c.set(title=f"c stays above {lowest:.1e}", ylabel=r"smallest $c$  ($c_\mathrm{ref}$)")
d.plot(t, kept.free_energy, ".-", color=INK, lw=1)
d.set(
    title=f"Free energy only falls, by {kept.energy_drop:.3g}",
    ylabel=r"$F$  ($RT c_\mathrm{ref} L$)",
)
figure.supxlabel("time $t$  ($L^2/D$)", fontsize=9)
plt.show()
