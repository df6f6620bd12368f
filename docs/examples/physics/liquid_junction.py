r"""
A liquid junction
=================

Two solutions of one salt meet, 0.1 M on the left and 0.01 M on the right. Both ions diffuse to the
right, but the faster cannot leave the other behind: a tiny separation of charge makes a field that
holds it back. Its voltage rises in some Debye times to a plateau, which is Henderson's,

.. math:: \phi_r - \phi_l = V_T\,\frac{D_+ - D_-}{D_+ + D_-}\,\ln\frac{c_l}{c_r}.

and sinks when diffusion comes to the walls, first where it is fast. Acid has fast cations, KCl a
pair of equals, and in NaCl the anion is faster [Hen07].
"""

import math

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.units import M, mV, nm, us
from pnpfusion.visualize.style import COOL, WARM, line_look

torch.set_num_threads(1), plt.style.use(pf.visualize.LIGHT)
salts = {"HCl": (9.311, 2.032), "KCl": (1.957, 2.032), "NaCl": (1.334, 2.032)}  # D in 1e-9 m²/s
fast = torch.tensor(list(salts.values())).double()
scales = pf.Scales(length=200 * nm, concentration=0.1 * M, diffusivity=1e-9)
grid = pf.Grid((800,), (1.0,), ("wall",))
cation, anion = (fast[:, k] for k in (0, 1))
ions = [pf.Species("cation", +1, diffusivity=cation), pf.Species("anion", -1, diffusivity=anion)]
cell = pf.PNP(grid, ions, permittivity=scales.permittivity)
c0 = torch.where(grid.coordinates(0) < 0.5, 1.0, 0.1).double().expand(3, 2, 800)
times = torch.cat([torch.zeros(1), torch.logspace(-7, 0, 71)]).double()
run = pf.simulate(cell, c0, times, rtol=1e-6).require_success()
phi = scales.to_si("potential", cell.potential(run.states)) / mV
jump = phi[..., -1] - phi[..., 0]
henderson = scales.potential / mV * (cation - anion) / (cation + anion) * math.log(10)
off = float(((jump / henderson).amax(0) - 1).abs().max())
plateau = (jump / henderson)[(times >= 1e-3) & (times <= 2.5e-3)]
held = float((plateau - 1).abs().max())
print(f"within {off:.2%} of Henderson's formula at the top, {held:.1%} on the plateau")
assert max(off, held / 2) < 0.01

_, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.6), layout="constrained")
when = int((jump[:, 0] / henderson[0]).argmax())
hydrogen, chloride = 100 * run.states[when, 0]
split = float(((hydrogen - chloride).abs() / chloride).max())
left.plot(200 * grid.coordinates(0), hydrogen, color=WARM[0], label="H⁺")
left.plot(200 * grid.coordinates(0), chloride, color=COOL[0], ls="--", label="Cl⁻")
left.set(
    xlabel="$x$  (nm)", ylabel="concentration  (mM)", title=f"Ions apart by {split:.1%} at most …"
)
left.legend()
for k, name in enumerate(salts):
    look = line_look(k)
    right.semilogx(scales.time * times[1:] / us, jump[1:, k], color=look.color, label=name)
    right.axhline(henderson[k], color=look.color, ls="--", lw=1)
right.set(xlabel="time  (µs)", ylabel="right side over left  (mV)")
right.set_title(f"… make Henderson's voltage, within {off:.1%}"), right.legend()
plt.show()
