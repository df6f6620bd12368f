r"""
Lesson 3: Debye screening
=========================

**How far does a charge reach in salt water?**

In empty space the field of an electrode reaches across the room. In salt water it is gone after a
few nanometres, hidden behind a thin cloud of ions of the other sign. That cloud is why batteries,
nerves and membranes work as they do, and its thickness, the *Debye length* :math:`\lambda`, is
the one number to know about any cell of pnpfusion.

*You need:* lessons 1 and 2. *Source:* [BTA04]; the exact solution is Gouy's and Chapman's.
"""

import math

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, DASHES, FAINT, INK, WARM

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
f64 = torch.float64

# %%
# 1. A cloud that hides a charge
# ------------------------------
# On the left stands an electrode of potential :math:`V`, which no ion can cross. On the right the
# water goes on into a large *reservoir*: there the potential is 0 and both ions have the
# concentration 1. We ask for the state of rest.
#
# *Predict.* By Boltzmann's law (lesson 2) at rest :math:`c_\pm = e^{\mp\phi}`. Put that into
# Poisson's equation:
#
# .. math:: -\varepsilon\,\frac{d^2\phi}{dx^2} = e^{-\phi} - e^{\phi} = -2\sinh\phi .
#
# For a small potential :math:`\sinh\phi \approx \phi`, so :math:`d^2\phi/dx^2 =
# (2/\varepsilon)\,\phi`, and what vanishes far away is
#
# .. math:: \phi = V e^{-x/\lambda}, \qquad \lambda = \sqrt{\varepsilon / 2}.
#
# Four permittivities, four slopes of :math:`-1/\lambda` on a logarithmic axis. (So
# :math:`\varepsilon = 2\lambda^2`, which you will see in every example of pnpfusion.)


def half_cell(debye_length, volts, cells=400):
    """An electrode at x = 0, salt water, and a reservoir at x = 1."""
    grid = pf.Grid((cells,), (1.0,), ("wall",))
    ions = [pf.Species("cation", valence=+1), pf.Species("anion", valence=-1)]
    reservoir = pf.Wall(potential=0.0, concentration={"cation": 1.0, "anion": 1.0})
    walls = {"x-": pf.Wall(potential=volts), "x+": reservoir}
    return pf.PNP(grid, ions, permittivity=2 * debye_length**2, walls=walls)


lengths = torch.tensor([0.02, 0.04, 0.08, 0.16], dtype=f64)
law = half_cell(lengths, volts=0.1)
x = law.grid.coordinates(0)
rest = pf.equilibrium(law, torch.ones(4, 2, 400, dtype=f64)).final  # (boxes, species, cells)
phi = law.potential(rest)
near = [x < 2 * float(length) for length in lengths]  # where the right wall does not matter yet
found = torch.stack(
    [-(x[k][-1] - x[k][0]) / (p[k][-1] / p[k][0]).log() for k, p in zip(near, phi, strict=True)]
)
off = float((found / lengths - 1).abs().max())
assert off < 0.02

figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
for k, color in enumerate((COOL[2], COOL[0], COOL[3], COOL[1])):
    label = rf"$\lambda$ = {lengths[k]:g}, measured {found[k]:.4f}"
    axis.semilogy(x, phi[k], color=color, linestyle=DASHES[k], label=label)
    axis.plot(x[::20], 0.1 * torch.exp(-x[::20] / lengths[k]), ".", color=color, markersize=4)
axis.set(title=f"Potential falls as $e^{{-x/\\lambda}}$ (dots), to {off:.1%}", ylim=(1e-6, 0.2))
axis.set(xlabel="distance from the electrode  ($L$)", ylabel=r"potential $\phi$  ($kT/e$)")
axis.legend(fontsize=7.5)
plt.show()

# %%
# *Seen.* Exponentials, as predicted; the widest one bends down where it meets the other wall. In
# numbers: with 0.5 mol of salt per litre, about as in the sea, :math:`\lambda` is 0.43 nm, with a
# thousandth of a mol 9.6 nm. A few times farther than that, no charge feels another.
#
# 2. Who is in the cloud?
# -----------------------
# *Predict.* A positive electrode attracts anions and repels cations: near it :math:`c_- =
# e^{\phi}` is large and :math:`c_+ = e^{-\phi}` small. And the cloud must hide the electrode
# *completely*: beyond it there is no field, so (by Gauss' law, which is Poisson's equation
# integrated once) the charge of the cloud is minus that of the electrode.
#
# For large :math:`V` the linear formula is wrong. The exact solution of
# :math:`\varepsilon\,d^2\phi/dx^2 = 2\sinh\phi` is
#
# .. math:: \tanh\frac{\phi}{4} = \tanh\frac{V}{4}\; e^{-x/\lambda} \qquad\text{(Gouy and Chapman)}.
#
# Check by hand if you like: :math:`d\phi/dx = -\frac{2}{\lambda}\sinh\frac{\phi}{2}` is the same
# statement, differentiated.

law = half_cell(0.05, volts=4.0)
rest = pf.equilibrium(law, torch.ones(2, 400, dtype=f64)).final
phi = law.potential(rest)
exact = 4 * torch.atanh(math.tanh(1) * torch.exp(-x / 0.05))
off = float((phi - exact).abs().max())
cloud = float((rest[0] - rest[1]).sum() / 400)
electrode = float(law.electrode_charge(rest, "x-"))
extra = float((rest[1] - 1).sum() / 400)  # anions more than outside
assert off < 0.02
assert abs(extra / -cloud - 0.88) < 0.01
assert abs(electrode + cloud) < 1e-5 * electrode

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
left.semilogy(x, rest[1], color=COOL[0], linestyle=DASHES[1], label="anions")
left.semilogy(x, rest[0], color=WARM[0], label="cations")
left.set(title=f"Electrode {electrode:+.3f}, cloud {cloud:+.3f}".replace("-", "−"), xlim=(0, 0.3))
left.set(xlabel="$x$  ($L$)", ylabel=r"concentration  ($c_\mathrm{ref}$)")
left.legend()
right.plot(x, phi, color=INK, label="computed")
right.plot(x[::6], exact[::6], ".", color=WARM[0], label="Gouy and Chapman")
right.plot(x, 4 * torch.exp(-x / 0.05), color=FAINT, linestyle=DASHES[2], label="linear")
right.set(title=f"At $V$ = 4 the exact law holds, to {off:.3f}", xlim=(0, 0.3))
right.set(xlabel="$x$  ($L$)", ylabel=r"potential $\phi$  ($kT/e$)")
right.legend()
plt.show()

# %%
# *Seen.* The cloud is mostly extra anions (88 % of its charge), the rest cations that left: at the
# wall anions are :math:`e^4 = 55` times as many as outside, and cations cannot be fewer than none.
# A strong charge is hidden *faster* than a weak one. This bend in the response, :math:`\sinh` and
# not a straight line, is what will let a cell multiply features in lesson 4.
#
# 3. How long does a cloud take to form?
# --------------------------------------
# Now close the cell: two electrodes, :math:`\pm V`, and no way out for the ions. At :math:`t = 0`
# they are everywhere alike. A cloud forms at each wall.
#
# *Predict.* There are two candidates for the time it takes: to diffuse through a cloud takes
# :math:`\lambda^2/D`, across the half cell :math:`L^2/D`. Think of it as a circuit. Each cloud is
# a capacitor (part 3 of lesson 2: two sheets of charge at the distance :math:`\lambda`, so its
# capacitance per area is :math:`\varepsilon/\lambda`). Water between them is a resistor: by
# Nernst–Planck a field :math:`E` drives the current :math:`2 D E` through ions of concentration
# 1, so a half cell of length :math:`L` has resistance :math:`L/2D`. Resistance times capacitance
# is
#
# .. math:: \tau = \frac{L}{2D}\cdot\frac{2\lambda^2}{\lambda} = \frac{\lambda L}{D},
#
# just between the two candidates. The charge of the wall grows as :math:`1 - e^{-t/\tau}`.


def closed_cell(debye_length, volts, cells=200):
    """Electrodes of opposite potential at x = 0 and 2; ions cannot leave."""
    grid = pf.Grid((cells,), (2.0,), ("wall",))
    ions = [pf.Species("cation", valence=+1), pf.Species("anion", valence=-1)]
    walls = {"x-": pf.Wall(potential=volts), "x+": pf.Wall(potential=-volts)}
    return pf.PNP(grid, ions, permittivity=2 * debye_length**2, walls=walls)


lengths = torch.tensor([0.05, 0.1], dtype=f64)
law = closed_cell(lengths, volts=0.1)
times = torch.linspace(0, 0.5, 101, dtype=f64)
run = pf.simulate(law, torch.ones(2, 2, 200, dtype=f64), times, rtol=1e-7)
charge = torch.stack([law.electrode_charge(c, "x-") for c in run.states])
final = law.electrode_charge(pf.equilibrium(law, run.final).final, "x-")
missing = (final - charge) / (final - charge[0])
tau = [float(t) for t in -times[20] / (missing[20] / missing[0]).log()]
assert abs(tau[0] / 0.05 - 1) < 0.05
assert abs(tau[1] / 0.1 - 1) < 0.07

figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
for k, color in enumerate((COOL[0], WARM[0])):
    label = rf"$\lambda$ = {lengths[k]:g}: $\tau$ = {tau[k]:.3f}"
    axis.semilogy(times, missing[:, k], color=color, linestyle=DASHES[k], label=label)
    axis.plot(times[::5], torch.exp(-times[::5] / lengths[k]), ".", color=color, markersize=4)
title = r"The charge still missing falls as $e^{-t/\tau}$ with $\tau = \lambda L/D$ (dots)"
axis.set(title=title, xlabel="time  ($L^2/D$)", ylabel="missing share", ylim=(1e-3, 1.1))
axis.legend()
plt.show()

# %%
# *Seen.* A thinner cloud forms sooner, in proportion to :math:`\lambda`. The simple circuit is
# right to about :math:`\lambda/2L`, half the share of the cell that is cloud and not water.
#
# Your turn
# ---------
# **Exercise 1 (a number).** A biologist wants a Debye length of 3 nm in water at 25 °C. Which
# concentration of table salt, in millimoles per litre, must she take? In SI units
# :math:`\lambda^2 = \varepsilon_r \varepsilon_0 R T / 2 F^2 c`; ``pf.Scales`` knows the constants
# and says that 10 mmol/l give 3.04 nm.
#
# **Exercise 2 (a function).** Write ``wall_charge(volts, debye_length)``: the exact charge of the
# electrode of part 2. (Gauss' law at the wall: the charge is :math:`-\varepsilon\,d\phi/dx`, and
# a formula for that slope stands above.)


def check_1(millimolar):
    """Put an electrode into that water, in a cell of 20 nm, and measure how its field falls."""
    if not (isinstance(millimolar, int | float | torch.Tensor) and millimolar > 0):
        print(f"Wanted is a number above 0, got {millimolar!r}.")
        return False
    from pnpfusion.units import mM, nm

    scales = pf.Scales(length=20 * nm, concentration=millimolar * mM)
    law = half_cell((float(scales.permittivity) / 2) ** 0.5, volts=0.05)
    phi = law.potential(pf.equilibrium(law, torch.ones(2, 400, dtype=f64)).final)
    length = float(20 * (x[80] - x[0]) / (phi[0] / phi[80]).log())
    print(f"In {millimolar:g} mmol/l the field falls by 1/e in {length:.3f} nm; wanted are 3.")
    return abs(length - 3) < 0.01


def check_2(wall_charge):
    """Compare the function with the computed charge of four electrodes."""
    right = True
    for volts, debye_length in ((0.5, 0.1), (2.0, 0.1), (4.0, 0.05), (-3.0, 0.08)):
        law = half_cell(debye_length, volts=volts)
        rest = pf.equilibrium(law, torch.ones(2, 400, dtype=f64)).final
        measured, told = float(law.electrode_charge(rest, "x-")), wall_charge(volts, debye_length)
        print(f"V = {volts:g}, λ = {debye_length}: {told:.4f}; the cell has {measured:.4f}.")
        right = right and abs(told / measured - 1) < 0.01
    return right


# %%
# Answers
# -------
# **1.** :math:`\lambda` goes as :math:`1/\sqrt{c}`, so :math:`c = 10\,(3.042/3)^2 = 10.3` mmol/l.

answer_1 = 10 * (3.042 / 3) ** 2
assert check_1(answer_1)

# %%
# **2.** :math:`-\varepsilon\,d\phi/dx = 2\lambda^2 \cdot \frac{2}{\lambda}\sinh\frac{V}{2} =
# 4\lambda\sinh\frac{V}{2}`. For small :math:`V` that is :math:`2\lambda V =
# (\varepsilon/\lambda)\,V`: the capacitor of part 3.


def answer_2(volts, debye_length):
    return 4 * debye_length * math.sinh(volts / 2)


assert check_2(answer_2)

# %%
# *Next:* :doc:`lesson_4_features_as_charges`, where the ions carry information.
