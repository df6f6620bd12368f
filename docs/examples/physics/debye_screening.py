r"""
Debye screening
===============

A charged wall beside salt water. Counter-ions gather and hide its charge: the potential falls as

.. math:: \phi(x) \approx \phi_0\, e^{-x/\lambda_D}, \qquad
          \lambda_D = \sqrt{\varepsilon_r\varepsilon_0 RT / 2F^2 c}

while :math:`\phi_0` is small against :math:`kT/e` = 25.7 mV. Larger ones follow Gouy and Chapman
[Cha13], :math:`\phi = 2\ln\frac{1 + g}{1 - g}` with :math:`g = \tanh(\phi_0/4)\,e^{-x/\lambda_D}`.
More salt screens better: a hundred times as much makes the layer ten times as thin. Dots are
eight cells, solved in one call, lines theory; the wall is at 2.57 mV (left) and 128 mV (right).
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.units import mM, nm
from pnpfusion.visualize.style import line_look

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
salts, volts = (1, 10, 100, 1000), torch.tensor([[0.1], [5.0]], dtype=torch.float64)
room = 100 / min(salts) ** 0.5  # nm; ten screening lengths of the weakest salt
scales = [pf.Scales(length=room * nm, concentration=c * mM) for c in salts]  # water, 25 °C
permittivity = torch.tensor([one.permittivity for one in scales], dtype=torch.float64)
edges = torch.sinh(6.5 * torch.linspace(0, 1, 401, dtype=torch.float64))
grid = pf.Grid((400,), (1.0,), ("wall",), edges=[edges / edges[-1]])
walls = {"x-": pf.Wall(potential=volts.expand(-1, len(salts))), "x+": pf.Wall(potential=0.0)}
phi = pf.solvers.solve_poisson_boltzmann(
    grid, [+1, -1], [1.0, 1.0], permittivity=permittivity.expand(len(volts), -1), walls=walls
)
x, debye = grid.coordinates(0), (permittivity / 2).sqrt()
slopes = []
for k, length in enumerate(debye):  # lines through the logarithms from 0.5 to 4 lengths
    near = (x > 0.5 * length) & (x < 4 * length)
    line = torch.stack([x[near] / length, torch.ones_like(x[near])], 1)
    slopes.append(torch.linalg.lstsq(line, phi[0, k, near].log()[:, None]).solution[0])
off = float((torch.cat(slopes) + 1).abs().max())
exact = 4 * torch.atanh(torch.tanh(volts / 4)[..., None] * torch.exp(-x / debye[:, None]))
gap = float((phi - exact)[:, :, x < 0.3].abs().max())
print(f"slopes are -1/debye length to {off:.0e}; within {gap:.1e} kT/e of Gouy and Chapman")
assert off < 0.02, f"slopes are off by {off:.1e}"
assert gap < 0.02, f"{gap:.1e} kT/e from Gouy and Chapman"

figure, panels = plt.subplots(1, 2, sharey=True, figsize=(7.4, 3.8), layout="constrained")
for axes, found, theory in zip(panels, phi, exact, strict=True):
    for k, salt in enumerate(salts):
        look, mark, shown = line_look(k), "osD^"[k % 4], slice(None, None, 9)
        axes.semilogy(room * x, theory[k], color=look.color, lw=1, ls=look.dashes)
        axes.plot(room * x[shown], found[k, shown], mark, color=look.color, ms=4, label=salt)
    axes.set(xlim=(0, 0.3 * room), ylim=(1e-3, 8), xlabel="distance from the wall  (nm)")
panels[0].set_ylabel(r"potential $\phi$  ($kT/e$)")
panels[0].set_title(rf"Small: $e^{{-x/\lambda_D}}$, slopes to {off:.0e}")
panels[1].set_title(f"Large: Gouy–Chapman, within {gap:.0e}")
panels[1].legend(title="salt  (mM)")
plt.show()
