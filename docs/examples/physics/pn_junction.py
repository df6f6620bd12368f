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
doping, intrinsic = 1e16 * per_cm3, 1e-6  # the latter in units of the former
silicon = pf.Scales(length=um, concentration=doping, temperature=300.0, relative_permittivity=11.7)
edges = torch.sinh(torch.linspace(-4, 4, 321).double())
grid = pf.Grid((320,), (3.0,), ("wall",), edges=[1.5 * edges / edges[-1]])
x = grid.coordinates(0)
pair = {"valences": [+1, -1], "concentrations": [intrinsic, intrinsic]}
phi = pf.solvers.solve_poisson_boltzmann(
    grid, **pair, permittivity=silicon.permittivity, fixed_charge=pf.Field(x.sign())
)
holes, electrons = intrinsic * phi.neg().exp(), intrinsic * phi.exp()
volts = silicon.to_si("potential", phi - phi[0])
built = float(volts[-1])
exact = silicon.potential * 2 * math.asinh(1 / (2 * intrinsic))
width = math.sqrt(4 * 11.7 * VACUUM_PERMITTIVITY * exact / (FARADAY * doping)) / um
print(f"built-in voltage {built:.8f} V, exact {exact:.8f} V; W = {width:.3f} um")
assert abs(built - exact) < 1e-8

figure, (a, b, c) = plt.subplots(3, 1, sharex=True, figsize=(6.0, 5.6), layout="constrained")
a.semilogy(x, 1e16 * holes, color=WARM[0])
a.semilogy(x, 1e16 * electrons, color=COOL[0], ls="--")
a.set(ylabel="per cm³", title="Carriers, over twelve orders of magnitude")
a.legend(["holes", "electrons"], loc="center left")
b.plot(x, holes - electrons + x.sign(), color=INK)
b.plot(x, x.sign() * (x.abs() < width / 2), color=FAINT, ls="--", lw=1)
b.set(ylabel="charge / $e N_d$", title=f"Space charge; depletion width {width:.2f} µm")
c.plot(x, volts, color=INK)
c.axhline(exact, color=FAINT, ls="--", lw=1)
c.set(xlim=(-0.8, 0.8), ylim=(-0.05, 0.8), xlabel="$x$  (µm)", ylabel="potential  (V)")
c.set_title(f"Built-in voltage {built:.6f} V, exact to {abs(built - exact):.0e} V")
plt.show()
