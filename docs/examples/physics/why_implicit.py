r"""
Why implicit
============

Diffusion between cells of width :math:`h` has rates up to :math:`4D/h^2`, so an explicit method is
stable only for steps of a few times :math:`h^2/4D`, however smooth the solution. Two smooth clouds
of ions between insulating walls,

.. math:: \partial_t c_\pm = \partial_x(\partial_x c_\pm \pm c_\pm\,\partial_x\phi), \qquad
          -\varepsilon\,\partial_x^2\phi = c_+ - c_-, \qquad 0 \le t \le 0.1,

to the same tolerance on finer and finer cells: Dormand and Prince's explicit method [HNW93] asks
for the rate four times as often with each doubling. The implicit KenCarp4 [KC03] makes as many
Newton corrections whatever :math:`N`; each is a few sweeps along the line.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import pnpfusion as pf
from pnpfusion.solvers import KenCarp4, Odeint
from pnpfusion.visualize.style import COOL, FAINT, WARM

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
ions = [pf.Species("cation", +1), pf.Species("anion", -1)]
times = torch.tensor([0.0, 0.1], dtype=torch.float64)
sizes, ends = np.array([16, 32, 64, 128]), {}
steppers = {
    "Dormand–Prince 5, explicit": Odeint("dopri5", rtol=1e-5, atol=1e-7),
    "KenCarp4, implicit": KenCarp4(rtol=1e-5, atol=1e-7),
}
counts = {name: [] for name in steppers}
for n in sizes.tolist():
    cell = pf.PNP(pf.Grid((n,), (1.0,), ("wall",)), ions, permittivity=0.2)
    x = torch.pi * cell.grid.coordinates(0)
    c0 = torch.stack([1 + 0.5 * torch.cos(x), 1 - 0.5 * torch.cos(2 * x)])
    for name, stepper in steppers.items():
        run = pf.simulate(cell, c0, times, stepper=stepper).require_success()
        counts[name].append(int(run.work.rate_calls + run.work.iterations))
        ends[name] = run.final
slopes = [round(np.polyfit(np.log(sizes), np.log(n), 1)[0], 2) + 0 for n in counts.values()]
apart = float((ends["KenCarp4, implicit"] - ends["Dormand–Prince 5, explicit"]).abs().max())
print(f"{counts}: as N to the {slopes[0]} and {slopes[1]}; ends {apart:.0e} apart")
assert abs(slopes[0] - 2) < 0.2 > abs(slopes[1])
assert apart < 1e-4

figure, axes = plt.subplots(figsize=(5.8, 4.0), layout="constrained")
for (name, found), color, mark in zip(counts.items(), (WARM[0], COOL[0]), "os", strict=True):
    axes.loglog(sizes, found, mark + "-", color=color, ms=5)
    above = {"textcoords": "offset points", "xytext": (0, 8), "ha": "right", "color": color}
    axes.annotate(name, (sizes[-1], found[-1]), **above)
axes.loglog(sizes, 1.6 * sizes**2.0, color=FAINT, ls="--", lw=1)
axes.annotate("$N^2$", (32, 1.6 * 32**2), xytext=(4, -12), textcoords="offset points", color=FAINT)
axes.set(xlabel="cells $N$", ylabel="evaluations and Newton corrections", ylim=(20, 1e5))
axes.set_xticks(sizes, sizes)
axes.minorticks_off()
axes.set_title(f"Explicit: $N^{{{slopes[0]}}}$; implicit: $N^{{{slopes[1]}}}$")
plt.show()
