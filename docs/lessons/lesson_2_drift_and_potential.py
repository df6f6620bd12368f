r"""
Lesson 2: Drift and the potential
=================================

**What changes when the crowd is charged?**

In lesson 1 every particle tossed a fair coin. A charged particle, an *ion*, in an electric field
tosses a loaded one: it still stumbles, but a little more often one way. We find the law that this
gives, the Nernst–Planck equation, then ask where the field itself comes from, and meet the second
half of the story: Poisson's equation. Together they are the *Poisson–Nernst–Planck* equations
after which this project is named.

*You need:* lesson 1. *Source:* [BTA04].
"""

import math

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, DASHES, FAINT, INK, WARM, number

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
f64 = torch.float64

# %%
# 1. A loaded coin
# ----------------
# A *potential* :math:`\phi(x)` is a height for positive charge: it wants to roll down. An ion of
# charge number :math:`z` (its *valence*: +1 for Na⁺, −1 for Cl⁻, +2 for Ca²⁺) has the energy
# :math:`z\phi`, and the force on it is minus the slope, :math:`-z\,d\phi/dx`: negative ions roll
# *up*. In water a particle is stopped by friction all the time, so a steady force gives no
# acceleration but a steady speed. We measure potential in units of :math:`kT/e` (25.7 millivolts
# at room temperature: the energy of the stumbling itself, per charge). In this unit the speed is
#
# .. math:: v = -z D \frac{d\phi}{dx}
#
# with the *same* :math:`D` as in lesson 1: Einstein found that friction and stumbling have one
# cause. You will see in part 2 that it could not be another factor. The flux gets a second term,
# concentration times speed:
#
# .. math:: J = -D\left(\frac{\partial c}{\partial x} + z\,c\,\frac{\partial\phi}{\partial x}\right)
#           \qquad\text{(Nernst–Planck)}.
#
# *Predict.* Two electrodes make a potential that falls evenly by 40 units over a box of length 1.
# A drop of positive ions travels right at the speed :math:`v = 40 D`, and on the way it spreads
# *as if nothing pulled*, its variance growing by :math:`2 D t`. A neutral drop stays. A negative
# one goes left.
#
# A ``Wall`` with a potential is an electrode; ions cannot cross it. (For now the ions' own field
# must not count; ``permittivity=1e6`` makes it negligible. You will see why in part 3.)


def box(valence, volts, cells=200):
    grid = pf.Grid(shape=(cells,), lengths=(1.0,), boundaries=("wall",))
    walls = {"x-": pf.Wall(potential=volts), "x+": pf.Wall(potential=0.0)}
    return pf.PNP(grid, [pf.Species("ion", valence=valence)], permittivity=1e6, walls=walls)


def mean_and_variance(x, c):
    mean = (x * c).sum(-1) / c.sum(-1)
    return mean, ((x - mean[..., None]).square() * c).sum(-1) / c.sum(-1)


law = box(valence=torch.tensor([1.0, 0.0, -1.0], dtype=f64), volts=40.0)  # three boxes, one batch
x = law.grid.coordinates(0)
drop = torch.exp(-(((x - 0.5) / 0.03) ** 2) / 2).expand(3, 1, 200)
times = torch.linspace(0, 0.005, 6, dtype=f64)
run = pf.simulate(law, drop, times, rtol=1e-6)
mean, variance = mean_and_variance(x, run.states[:, :, 0])
speed = (mean[-1] - mean[0]) / times[-1]
assert (speed - torch.tensor([40.0, 0.0, -40.0])).abs().max() < 0.4
assert (variance[-1] - variance[0] - 2 * times[-1]).abs().max() < 0.03 * 2 * times[-1]

figure, axes = plt.subplots(1, 3, figsize=(7, 2.8), layout="constrained", sharey=True)
looks = (("$z$ = +1", WARM[0]), ("$z$ = 0", FAINT), ("$z$ = −1", COOL[0]))
for k, (axis, (name, color)) in enumerate(zip(axes, looks, strict=True)):
    axis.fill_between(x, run.states[0, k, 0], color=color, alpha=0.2, label="$t$ = 0")
    axis.plot(x, run.states[-1, k, 0], color=color, label=f"$t$ = {times[-1]:g}")
    axis.set(title=f"{name}: speed {number(round(float(speed[k]), 1))}", xlabel="$x$  ($L$)")
axes[0].set_ylabel("concentration")
axes[0].legend(loc="upper left")
figure.suptitle("Charge goes with the field or against it; all drops spread alike")
plt.show()

# %%
# *Seen.* Drift and diffusion act side by side and do not disturb each other.
#
# 2. Where do they come to rest?
# ------------------------------
# No ion can leave through the walls, so the crowd piles up at one of them, until diffusion out of
# the pile balances drift into it.
#
# *Predict.* At rest there is no flux: :math:`dc/dx + z c\,d\phi/dx = 0`, that is :math:`d\ln c/dx
# = -z\,d\phi/dx`, so
#
# .. math:: c(x) = \text{const}\cdot e^{-z\phi(x)}.
#
# That is Boltzmann's law, the most useful formula of these lessons. Physics demands it of
# everything that is warm and at rest. Had we put another factor in front of the drift, the
# exponent would have it too, and be wrong: this is why the two terms share one :math:`D`.
#
# ``equilibrium`` goes to the state of rest at once, without following the way. We plot :math:`\ln
# c` against :math:`\phi`: straight lines of slope :math:`-z`.

valences = torch.tensor([2.0, 1.0, -1.0], dtype=f64)
law = box(valence=valences, volts=4.0)
rest = pf.equilibrium(law, torch.ones(3, 1, 200, dtype=f64)).final
phi = law.potential(rest)
slopes = (rest[:, 0, -1] / rest[:, 0, 0]).log() / (phi[:, -1] - phi[:, 0])
assert (slopes + valences).abs().max() < 1e-9

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
for k, color in enumerate((WARM[2], WARM[0], COOL[0])):
    name = f"$z$ = {int(valences[k]):+d}".replace("-", "−")
    left.plot(x, rest[k, 0], color=color, linestyle=DASHES[k], label=name)
    right.plot(phi[k], rest[k, 0].log(), color=color, linestyle=DASHES[k], label=name)
left.set(title="At rest", xlabel="$x$  ($L$)", ylabel="concentration")
left.legend()
off = number(float((slopes + valences).abs().max()))
right.set(
    title=f"Slopes are −$z$, to {off}", xlabel=r"potential $\phi$  ($kT/e$)", ylabel=r"$\ln\,c$"
)
plt.show()

# %%
# *Seen.* Boltzmann's law to the last digit, on any grid: the way in which pnpfusion computes a
# flux between two cells (*Scharfetter–Gummel*, [SG69]) was made so that it vanishes exactly
# there.
#
# 3. Where does the potential come from?
# --------------------------------------
# From charge. *Poisson's equation* says that charge density :math:`\rho` bends the potential:
#
# .. math:: -\varepsilon\,\frac{d^2\phi}{dx^2} = \rho.
#
# The *permittivity* :math:`\varepsilon` says how hard it is to bend: where it is large, charges
# hardly notice each other (that was the trick of part 1).
#
# *Predict.* Put a thin sheet of positive charge at :math:`x = 0.3` and one of negative charge at
# 0.7. Where there is no charge, :math:`d^2\phi/dx^2 = 0`: straight pieces. Integrating over a
# sheet of charge :math:`q`, the slope must jump by :math:`-q/\varepsilon`. Far left and right the
# walls insulate: slope 0. So: a plateau, a ramp of slope :math:`-q/\varepsilon`, a plateau. You
# have just designed a capacitor.

epsilon, q = 0.5, 2.0
grid = pf.Grid((200,), (1.0,), ("wall",))
rho = torch.zeros(200, dtype=f64)
rho[60], rho[140] = q * 200, -q * 200  # a sheet is one cell of width 1/200
phi = pf.solvers.solve_poisson(rho, grid, permittivity=epsilon)
slope = float(phi[130] - phi[70]) / 0.3
assert abs(slope + q / epsilon) < 1e-9

figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
axis.plot(x, phi, color=INK)
for place, color, name, y in ((0.3025, WARM[0], "+", -0.75), (0.7025, COOL[0], "−", 0.65)):
    axis.axvline(place, color=color, linewidth=5, alpha=0.5)
    axis.text(place + 0.012, y, name, color=color, fontsize=16)
title = f"Between two sheets of charge the potential falls with slope {number(slope)}"
axis.set(title=title, xlabel="$x$  ($L$)", ylabel=r"potential $\phi$  ($kT/e$)")
plt.show()

# %%
# *Seen.* Plateau, ramp, plateau. (Only differences of potential mean anything; where no electrode
# fixes it, the mean is set to 0.)
#
# 4. All together now
# -------------------
# Ions are charge. So they make the potential that makes them drift, all of them together:
#
# .. math::
#     \frac{\partial c_i}{\partial t} = \frac{\partial}{\partial x} D_i
#     \left(\frac{\partial c_i}{\partial x} + z_i c_i \frac{\partial\phi}{\partial x}\right),
#     \qquad -\varepsilon \frac{\partial^2\phi}{\partial x^2} = \sum_i z_i c_i .
#
# *Predict.* Put a drop of cations (+) at 0.35 beside a drop of anions (−) at 0.65. Each feels the
# other's field: they attract. If :math:`\varepsilon` is large, nothing but diffusion happens and
# the centres hardly move. If it is small, the drops fall into each other, and then, having become
# neutral, spread together.


def pair(permittivity):
    grid = pf.Grid((200,), (1.0,), ("wall",))
    ions = [pf.Species("cation", valence=+1), pf.Species("anion", valence=-1)]
    return pf.PNP(grid, ions, permittivity=permittivity)


drops = torch.exp(-(((x - torch.tensor([[0.35], [0.65]], dtype=f64)) / 0.05) ** 2) / 2)
epsilons = torch.tensor([1e3, 0.002], dtype=f64)
law = pair(epsilons)
times = torch.linspace(0, 0.015, 51, dtype=f64)
run = pf.simulate(law, drops.expand(2, 2, 200), times, rtol=1e-6)
mean, _ = mean_and_variance(x, run.states)  # (times, boxes, species)
apart = mean[..., 1] - mean[..., 0]
assert apart[-1, 0] > 0.29
assert apart[-1, 1] < 0.03
assert float(run.ledger.mass_error.max()) < 1e-12

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7, 2.8), layout="constrained")
for axis, k, title in ((left, 0, r"$\varepsilon$ = 1000"), (middle, 1, r"$\varepsilon$ = 0.002")):
    for s, color in enumerate((WARM[0], COOL[0])):
        axis.fill_between(x, drops[s], color=color, alpha=0.15)
        axis.plot(x, run.states[-1, k, s], color=color, label=("cation", "anion")[s])
        axis.lines[-1].set_linestyle(DASHES[s])
    axis.set(title=f"{title}, $t$ = 0.015", xlabel="$x$  ($L$)", ylim=(0, 1.05))
left.set_ylabel("concentration")
figure.legend(*middle.get_legend_handles_labels(), loc="outside lower left", ncols=2)
for k, color in enumerate((FAINT, INK)):
    right.plot(times, apart[:, k], color=color, label=rf"$\varepsilon$ = {epsilons[k]:g}")
right.set(title="Distance of the centres", xlabel="time  ($L^2/D$)", ylim=(0, 0.33))
right.legend(loc="center right")
figure.suptitle("Opposite charges find each other (shaded: where they began)")
plt.show()

# %%
# *Seen.* The same start, the same diffusivities; what couples the two species is the potential
# alone. Keep this picture: in lesson 4 the two drops will be features of two sensors, and the
# coupling will be their fusion.
#
# Your turn
# ---------
# **Exercise 1 (a number).** Ions of :math:`z = +1` rest in the box of part 2. Which voltage at
# the left wall (the right one at 0) makes them *ten times* as dense at the right wall as at the
# left?
#
# **Exercise 2 (a function).** Write ``travel_time(z, volts, distance)``: how long a drop takes to
# drift over a distance, in a box of length 1 with potential ``volts`` at the left wall and 0 at
# the right, at :math:`D = 1`. It has no sign: a time is positive whichever way the drop goes.


def check_1(volts):
    """Let the ions come to rest, and compare the two walls."""
    if not isinstance(volts, int | float | torch.Tensor):
        print(f"Wanted is a number in kT/e, such as 1.5; got {volts!r}.")
        return False
    law = box(valence=1.0, volts=volts)
    c = pf.equilibrium(law, torch.ones(1, 200, dtype=f64)).final[0]
    at_walls = (
        1.5 * c[[0, -1]].log() - 0.5 * c[[1, -2]].log()
    ).exp()  # from the last cells on to the walls
    ratio = float(at_walls[1] / at_walls[0])
    print(f"With {volts:g} kT/e, right and left wall differ by a factor {ratio:.3f}; wanted is 10.")
    return abs(ratio - 10) < 0.1


def check_2(travel_time):
    """Let drops drift for as long as the function says, and measure how far they came."""
    right = True
    for z, volts, distance in ((1, 60.0, 0.2), (-1, 40.0, 0.15), (2, -50.0, 0.25)):
        law = box(valence=float(z), volts=volts)
        time = travel_time(z, volts, distance)
        if not (isinstance(time, int | float | torch.Tensor) and 0 < time < math.inf):
            print(f"z = {z}, {volts:g} kT/e: wanted is a time, a number above 0; got {time!r}.")
            return False
        times = torch.tensor([0, time], dtype=f64)
        run = pf.simulate(law, drop[0], times, rtol=1e-6)
        mean, _ = mean_and_variance(x, run.states[:, 0])
        came = float((mean[1] - mean[0]).abs())
        print(f"z = {z}, {volts:g} kT/e: the drop came {came:.4f} far; wanted is {distance}.")
        right = right and abs(came - distance) < 0.01 * distance
    return right


# %%
# Answers
# -------
# **1.** By Boltzmann's law the ratio is :math:`e^{\phi(0) - \phi(1)}`, so the voltage is
# :math:`\ln 10 = 2.303`, in millivolts :math:`2.303 \cdot 25.7 = 59`. Electrochemists know this
# number by heart: 59 mV a decade.

answer_1 = math.log(10)
assert check_1(answer_1)

# %%
# **2.** The slope of the potential is ``-volts``, so the speed is :math:`z D` ``volts``.


def answer_2(z, volts, distance):
    return distance / abs(z * volts)


assert check_2(answer_2)

# %%
# *Next:* :doc:`lesson_3_debye_screening`, where many ions hide one charge.
