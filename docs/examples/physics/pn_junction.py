r"""
A p–n junction
==============

Silicon at 300 K, doped with acceptors on the left and donors on the right, 10¹⁶ per cm³ each. Holes
and electrons are ions of valence ±1, the doping is a fixed charge, and at rest

.. math:: -\varepsilon\phi'' = p - n + N_d - N_a, \qquad p = n_i e^{-\phi}, \quad n = n_i e^{\phi}.

No voltage is given. Carriers diffuse across until the field that they leave behind holds the others
back; the voltage of the two sides is then exactly [Sho49]

.. math:: V_{bi} = V_T\,[\operatorname{asinh}(N_a / 2n_i) + \operatorname{asinh}(N_d / 2n_i)].

Dashed: the depletion approximation, for which the middle, of width W, is empty; and that voltage.
"""

import math

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.units import FARADAY, VACUUM_PERMITTIVITY, per_cm3, um
from pnpfusion.visualize.style import COOL, FAINT, INK, WARM

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
acceptors, donors, intrinsic = 1e16, 1e16, 1e10  # per cm³
unit = acceptors * per_cm3
si = pf.Scales(length=um, concentration=unit, temperature=300, relative_permittivity=11.7)
exact = si.potential * (math.asinh(acceptors / 2 / intrinsic) + math.asinh(donors / 2 / intrinsic))
both = 1 + acceptors / donors
width = math.sqrt(2 * 11.7 * VACUUM_PERMITTIVITY * exact * both / (FARADAY * unit)) / um
edges = torch.sinh(torch.linspace(-4, 4, 321).double())
grid = pf.Grid((320,), (8 * width,), ("wall",), edges=[4 * width * edges / edges[-1]])
x = grid.coordinates(0)
doping = torch.where(x < 0, -1.0, donors / acceptors).double()
held = {"permittivity": si.permittivity, "fixed_charge": pf.Field(doping)}
phi = pf.solvers.solve_poisson_boltzmann(grid, [+1, -1], [intrinsic / acceptors] * 2, **held)
holes, electrons = intrinsic * phi.neg().exp(), intrinsic * phi.exp()
volts = si.to_si("potential", phi - phi[0])
built, off = float(volts[-1]), abs(float(volts[-1]) - exact)
print(f"built-in voltage {built:.8f} V, exact {exact:.8f} V; W = {width:.3f} um")
assert off < 1e-8, f"the built-in voltage is off by {off:.1e} V"
figure, (a, b, c) = plt.subplots(3, 1, sharex=True, figsize=(6.0, 5.6), layout="constrained")
a.semilogy(x, holes, color=WARM[0])
a.semilogy(x, electrons, color=COOL[0], ls="--")
orders = math.log10(max(holes.max() / holes.min(), electrons.max() / electrons.min()))
a.set(ylabel="per cm³", title=f"Carriers, over {orders:.0f} orders of magnitude")
a.legend(["holes", "electrons"], loc="center left")
b.plot(x, (holes - electrons) / acceptors + doping, color=INK)
empty = (x > -width / both) & (x < width - width / both)
b.plot(x, doping * empty, color=FAINT, ls="--", lw=1)
b.set(ylabel="charge / $e N_a$", title=f"Space charge; depletion width {width:.2f} µm")
c.plot(x, volts, color=INK)
c.axhline(exact, color=FAINT, ls="--", lw=1)
c.set(xlim=(-2 * width, 2 * width), xlabel="$x$  (µm)", ylabel="potential  (V)")
c.set_title(f"Built-in voltage {built:.6f} V, exact to {off:.0e} V")
plt.show()
