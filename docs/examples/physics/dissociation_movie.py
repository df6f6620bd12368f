r"""
A neutral embedding dissociates
===============================

Where a feature is large there is much neutral solute :math:`s` at first. It dissociates into a
cation, what modalities share, and an anion, what is private, and these may recombine:

.. math:: s \rightleftharpoons c_+ + c_-, \qquad r = k_f\,s - k_b\,c_+ c_-.

Two electrodes draw the ions apart, until :math:`\int\min(c_+, c_-) < \frac12 \int c_+`: more than
half stand where the others are not. Ions come in pairs: the net charge is zero, and free and
dissociated solute add up to what there was, in every frame [GMF].
"""

import matplotlib.pyplot as plt
import torch
from matplotlib.animation import FuncAnimation

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, GREY, INK, WARM

torch.set_num_threads(1), plt.style.use({**pf.visualize.LIGHT, "figure.dpi": 100})
species = [pf.Species("solute", 0), pf.Species("shared", +1), pf.Species("private", -1)]
split = pf.Reaction(["solute"], ["shared", "private"], forward=400.0, backward=50.0)
walls = {"x-": pf.Wall(potential=2.0), "x+": pf.Wall(potential=-2.0)}
grid = pf.Grid((96,), (1.0,), ("wall",))
cell = pf.PNP(grid, species, permittivity=2 * 0.15**2, walls=walls, reactions=[split])
feature = torch.tensor([0.4, 1.6, 0.2, 2.4, 0.9, 0.1, 1.9, 0.6], dtype=torch.float64)
c0 = torch.stack([feature.repeat_interleave(12), *torch.full((2, 96), 0.02, dtype=torch.float64)])
times = torch.cat([torch.zeros(1), torch.logspace(-4, -0.5, 44)]).double()
run = pf.simulate(cell, c0, times, rtol=1e-7).require_success()

mass = run.ledger.mass  # (T, species): solute, shared, private
charge = float((mass[:, 1] - mass[:, 2]).abs().max())
kept = float(((mass[:, 0] + mass[:, 1]) / (mass[0, 0] + mass[0, 1]) - 1).abs().max())
both = float(run.states[-1, 1:].amin(0).mean() / mass[-1, 1])
print(f"charge within {charge:.0e}, solute kept to {kept:.0e}, in the end {1 - both:.1%} apart")
assert max(charge, kept) < 1e-12 < both < 0.5

figure, (upper, lower) = plt.subplots(2, 1, sharex=True, figsize=(6.4, 4.8), layout="constrained")
solute = upper.stairs(c0[0], grid.faces(0), fill=True, color=GREY[1], alpha=0.45)
looks = ((c0[1], WARM[0]), (c0[2], COOL[0]))
ions = [upper.stairs(c, grid.faces(0), color=color, lw=2) for c, color in looks]
upper.set(ylim=(0, 5), ylabel=r"concentration  ($c_\mathrm{ref}$)")
upper.legend([solute, *ions], ["solute", "shared, +", "private, −"], ncols=3, loc="upper center")
(line,) = lower.plot(grid.coordinates(0), cell.potential(run.states[0]), color=INK)
lower.set(ylim=(-2.2, 2.2), xlabel="position $x$  ($L$)", ylabel=r"potential $\phi$  ($kT/e$)")
title = upper.set_title(" ")


def draw(frame):
    c, (whole, free, _) = run.states[frame], mass[frame]
    for artist, values in zip((solute, *ions), c, strict=True):
        artist.set_data(values)
    line.set_ydata(cell.potential(c))
    title.set_text(f"t = {times[frame]:.4f}: {free / (whole + free):.0%} is split, net charge zero")


movie = FuncAnimation(figure, draw, [*range(len(times))] + [len(times) - 1] * 14, interval=80)
plt.show()
