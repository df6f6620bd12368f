r"""
A cell runs down its free energy
================================

Three cells of one cation between two electrodes, over a fixed charge that neutralises it: the sum
is given, so a state is two numbers, and the free energy a landscape without any projection,

.. math:: F[c] = \int c\,(\ln c - 1) + \tfrac12\,(c + \rho_f)(\phi + \phi_w), \qquad
          \dot F = -\int D c\,|\nabla\mu|^2 \le 0.

It is strictly convex [LW14]: from wherever it starts a run goes down to the one minimum. An
explicit step :math:`c + \Delta t\,\dot c` that is too long leaps the valley and lands higher up.
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import ALARM, COOL, INK, WARM

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
walls = {"x-": pf.Wall(potential=0.9), "x+": pf.Wall(potential=-0.9)}
grid = pf.Grid((3,), (1.0,), ("wall",))
cell = pf.PNP(grid, [pf.Species("cation", +1)], permittivity=2.0, fixed_charge=-1.0, walls=walls)


def state(left, right):  # the third cell holds what is left of a mean of 1
    return torch.stack([left, 3 - left - right, right], -1)[..., None, :]


starts = torch.tensor([[0.2, 2.6], [2.8, 0.1], [0.05, 0.05], [1.6, 0.1], [0.7, 2.2]]).double()
times = torch.cat([torch.zeros(1), torch.logspace(-4, 0.5, 80)]).double()
runs = pf.simulate(cell, state(*starts.T), times, rtol=1e-8).require_success()
rest = pf.equilibrium(cell, state(*starts[0])).require_success().final
energy, here = cell.energy(runs.states), state(*starts[0])
step = here + 0.14 * cell.rate(torch.zeros(1, dtype=torch.float64), here[None])[0]
most, raised = float(energy.diff(dim=0).max()), float(cell.energy(step) - cell.energy(here))
print(f"most that F rises on a path {most:.0e}; the long step raises it by {raised:.2g}")
assert most < 1e-12
assert (runs.final - rest).abs().max() < 1e-6
assert raised > 0.1

axis = torch.linspace(0.004, 2.996, 400, dtype=torch.float64)
left, right = torch.meshgrid(axis, axis, indexing="xy")
land = torch.where(left + right < 2.998, cell.energy(state(left, right).clamp_min(1e-9)), torch.nan)
figure, axes = plt.subplots(figsize=(5.6, 5.0), layout="constrained")
levels = float(cell.energy(rest)) + torch.linspace(0, 1.5, 24) ** 2
axes.contourf(left, right, land, levels=levels, cmap="Greys", alpha=0.5)
axes.contour(left, right, land, levels=levels, colors=INK, linewidths=0.3, linestyles="-")
axes.plot(runs.states[..., 0, 0], runs.states[..., 0, 2], color=COOL[0])
axes.plot(*starts.T, "o-", lw=0, color=COOL[0], label="runs")
axes.plot(rest[0, 0], rest[0, 2], "*", ms=15, color=WARM[0], mec="w", label="rest")
jump = {"arrowstyle": "-|>", "color": ALARM, "lw": 2, "mutation_scale": 14}
axes.annotate("", (step[0, 0], step[0, 2]), (here[0, 0], here[0, 2]), arrowprops=jump)
axes.plot([], color=ALARM, lw=2, label=r"an explicit step, $\Delta t = 0.14$")
axes.legend(loc="upper right")
axes.set(xlabel="$c$ in the left cell", ylabel="$c$ in the right cell", aspect="equal")
axes.set_title(f"Five runs fall to one rest; one long step climbs by {raised:.2g}")
plt.show()
