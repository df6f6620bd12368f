r"""
Lesson 1: Diffusion
===================

**What does a crowd do that nobody leads?**

A drop of ink falls into still water. No current carries it and nothing pulls at it, yet after a
while it is everywhere. Each particle of ink only stumbles about, pushed by molecules to the left
as often as to the right. In this lesson blind stumbling turns into an equation that is as certain
as any in physics,

.. math:: \frac{\partial c}{\partial t} = D \frac{\partial^2 c}{\partial x^2},

and we learn to solve it. *You need:* derivatives, and that a tensor is an array of numbers.
*Source:* the argument is Einstein's, of 1905 (doi:10.1002/andp.19053220806).
"""

import math

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, DASHES, FAINT, GREY, INK, WARM, number

torch.set_num_threads(1)  # these tensors are small: more threads would only wait for each other
plt.style.use(pf.visualize.LIGHT)  # how the pictures of pnpfusion look
f64 = torch.float64

# %%
# 1. Twenty thousand walkers
# --------------------------
# All walkers start at :math:`x = 0`. In every time step :math:`\tau` each tosses a coin and hops
# a distance :math:`a` to the left or to the right. (All lengths are in units of the length
# :math:`L` of a box that comes in part 2.)
#
# *Predict.* Where is the crowd after :math:`s` steps? On average each hop is 0, so the mean stays
# at 0. The *square* of a hop is always :math:`a^2`, and the square of a sum of hops is the sum of
# their squares plus mixed products; as tosses know nothing of each other, the mixed products
# average out. So the mean square distance (the variance) must be
#
# .. math:: \langle x^2 \rangle = s\,a^2.
#
# It grows in proportion to the number of steps: to get twice as far takes *four* times as long.

hop, steps, walkers = 1 / 102, 200, 20_000
coins = torch.randint(0, 2, (steps, walkers), generator=torch.Generator().manual_seed(1))
places = hop * (2 * coins - 1).double().cumsum(0)  # (steps, walkers)

count = torch.arange(1, steps + 1)
variance = places.square().mean(1)
worst = float((variance / (count * hop**2) - 1).abs().max())
assert worst < 0.05  # 20 000 walkers: a variance is known to 1 %, the worst of 200 to a few

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
left.plot(count, places[:, :40], color=FAINT, linewidth=0.5, alpha=0.7)
left.plot(count, places[:, 0], color=WARM[0])
left.set(title="40 walkers, one of them marked", xlabel="step $s$", ylabel="place $x$  ($L$)")
right.plot(count, variance, color=WARM[0], linewidth=4, alpha=0.4, label="20 000 walkers")
right.plot(count, count * hop**2, color=INK, dashes=(4, 2), label="predicted, $s a^2$")
right.set(title=f"The variance grows as predicted, to {worst:.0%}", xlabel="step $s$")
right.set(ylabel=r"$\langle x^2 \rangle$  ($L^2$)")
right.legend()
plt.show()

# %%
# *Seen.* One walker is unpredictable; the crowd is not.
#
# 2. From coins to an equation
# ----------------------------
# Let us stop following walkers and count them. Cut the line into cells of width :math:`h`; cell
# :math:`i` holds the *concentration* :math:`c_i` (walkers per length). Take cells as wide as a
# hop, :math:`h = a`. In a time :math:`\tau` half of a cell's walkers go right, :math:`\frac12
# a\,c_i`, and half of its right neighbour's come left, :math:`\frac12 a\,c_{i+1}`. What remains
# is a net *flux* (walkers per time across the border) from more to less,
# :math:`\frac{a}{2\tau}(c_i - c_{i+1})`, or
#
# .. math:: J_{i+1/2} = -D\,\frac{c_{i+1} - c_i}{h} \qquad\text{(Fick's law)},
#
# with the *diffusivity* :math:`D = a^2 / 2\tau`. Nobody appears or vanishes, so what a cell gains
# is what comes in at its left border less what goes out at its right one:
#
# .. math:: \frac{dc_i}{dt} = -\frac{J_{i+1/2} - J_{i-1/2}}{h}
#           \qquad\text{and with ever finer cells}\qquad
#           \frac{\partial c}{\partial t} = D\frac{\partial^2 c}{\partial x^2}.
#
# That is the diffusion equation. No walker can cross the walls of the box: there the flux is 0.
# We measure time in units of :math:`L^2/D`, which makes :math:`D = 1` and :math:`\tau = a^2/2`,
# and take short steps in time, *new = old + step × rate*.
#
# *Predict.* Everybody starts in the middle cell. The histogram of the walkers and the
# concentration must agree at all times, and the total must stay 1 *exactly*: what leaves one cell
# enters the next.


def step(c, h, dt):
    flux = -(c[1:] - c[:-1]) / h  # D = 1
    flux = torch.nn.functional.pad(flux, (1, 1))  # nothing crosses the two walls
    return c - dt / h * (flux[1:] - flux[:-1])


cells = 51
h = 1 / cells  # two hops: after an even number of steps, a walker stands in the middle of a cell
x = (torch.arange(cells, dtype=f64) + 0.5) * h - 0.5
c = torch.zeros(cells, dtype=f64)
c[cells // 2] = 1 / h
dt = h**2 / 8  # the time of one hop, a²/2

figure, axes = plt.subplots(1, 3, figsize=(7, 2.8), layout="constrained", sharey=True)
for s in range(1, steps + 1):
    c = step(c, h, dt)
    if s in (20, 60, 200):
        axis = axes[(20, 60, 200).index(s)]
        edges = torch.arange(cells + 1, dtype=f64) * h - 0.5
        crowd = torch.histogram(places[s - 1], edges).hist / (walkers * h)
        assert (crowd - c).abs().max() < 0.05 * c.max() + 0.05
        axis.stairs(crowd, edges, fill=True, color=WARM[1], alpha=0.5, label="walkers")
        axis.plot(x, c, color=INK, label="equation")
        axis.set(title=f"$t$ = {s * dt:.4f}", xlabel="$x$  ($L$)")
mass_error = abs(float(c.sum() * h) - 1)
assert mass_error < 1e-13
axes[0].set_ylabel("concentration  (1/$L$)")
axes[0].legend()
figure.suptitle(f"One equation for 20 000 walkers; the total stays 1 to {number(mass_error)}")
plt.show()

# %%
# *Seen.* Five lines of code replace the crowd. The total is right to the last digit, not because
# the steps are small but because every flux is subtracted on one side and added on the other.
# pnpfusion is built on this idea (*finite volumes*), and you will meet its promise "mass to
# round-off" again.
#
# 3. Every wave fades at its own pace
# -----------------------------------
# Which part of a pattern does diffusion forget first? Try a single wave, :math:`c = 1 + A(t)
# \cos(n \pi x)` on :math:`0 < x < 1`. Its slope is 0 at both walls, so it suits them, and its
# second derivative is :math:`-(n\pi)^2 A \cos(n\pi x)`: the wave keeps its shape, and its height
# obeys :math:`dA/dt = -(n\pi)^2 D A`.
#
# *Predict.* :math:`A(t) = A(0)\,e^{-(n\pi)^2 D t}`. Twice as many bumps fade *four* times as fast
# (the walkers' law again): fine detail dies first.
#
# From here on pnpfusion does the work. A ``Grid`` is the box with its cells, a ``Species`` is a
# kind of particle (with ``valence=0``: no charge yet), ``PNP`` is the law of motion, and
# ``simulate`` follows it in time. A state has the axes ``(batch, species, cells)``: our four
# waves are one batch.


def dye(cells=100, diffusivity=1.0):
    grid = pf.Grid(shape=(cells,), lengths=(1.0,), boundaries=("wall",))
    ink = pf.Species("ink", valence=0, diffusivity=diffusivity)
    return pf.PNP(grid, [ink], permittivity=1.0)  # that number will count once there is charge


law = dye()
x = law.grid.coordinates(0)
waves = torch.tensor([1, 2, 3, 4], dtype=f64)
c0 = 1 + 0.5 * torch.cos(waves[:, None, None] * math.pi * x)  # (batch 4, species 1, cells 100)
times = torch.linspace(0, 0.1, 41, dtype=f64)
run = pf.simulate(law, c0, times, rtol=1e-6)
# how much of its wave each state holds: the projection onto the cosine
height = 2 * ((run.states[:, :, 0] - 1) * torch.cos(waves[:, None] * math.pi * x)).mean(-1)
predicted = 0.5 * torch.exp(-((waves * math.pi) ** 2) * times[:, None])
off = float((height - predicted).abs().max())
assert off < 1e-3

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
for k, t in enumerate((0, 4, 12)):
    left.plot(x, run.states[t, 2, 0], color=COOL[0], linestyle=DASHES[k], label=f"t = {times[t]:g}")
left.set(
    title="The wave $n$ = 3 keeps its shape", xlabel="$x$  ($L$)", ylabel="$c$", ylim=(0.4, 1.85)
)
left.legend(ncols=3)
for n, color in enumerate((WARM[0], COOL[0], COOL[3], GREY[2])):
    right.plot(times, height[:, n], color=color, linestyle=DASHES[n], label=f"$n$ = {n + 1}")
    right.plot(times[::4], predicted[::4, n], ".", color=color)
right.set(
    title=f"Heights, and predictions (dots): within {number(off)}", ylim=(1e-4, 1), yscale="log"
)
right.set(xlabel="time  ($L^2/D$)", ylabel="height $A$")
right.legend()
plt.show()

# %%
# *Seen.* Straight lines on a logarithmic axis, and steeper by the square of :math:`n`. Remember
# this for lesson 4: when features are written into a concentration, diffusion forgets their
# details first.
#
# 4. Why not just take small steps?
# ---------------------------------
# Our own ``step`` was easy to write. What if we are in a hurry and lengthen :math:`\Delta t`?
#
# *Predict.* The finest pattern a grid can hold, up–down–up–down, has :math:`c_{i \pm 1} = -c_i`.
# Put that into the two formulas of part 2: one step multiplies it by :math:`1 - 4 D\,\Delta
# t/h^2`. If :math:`\Delta t > h^2/2D`, that factor is below −1: the pattern changes sign in every
# step *and grows*. So 0.45 h² should do, and 0.55 h² should not.

block = ((x - 0.5).abs() < 0.05).double()  # a block of ink, ten cells wide
ends = {}
for share in (0.45, 0.55):
    c = block
    for _ in range(40):
        c = step(c, 0.01, share * 0.01**2)
    ends[share] = c
assert float(ends[0.45].min()) >= 0
assert float(ends[0.55].min()) < -0.1
patient = pf.simulate(law, block[None], torch.tensor([0, 40 * 0.45e-4, 0.5], dtype=f64), rtol=1e-6)
assert (patient.states[1, 0] - ends[0.45]).abs().max() < 5e-3
taken = int(patient.work.steps)

figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
for axis, (share, c) in zip(axes, ends.items(), strict=True):
    axis.plot(x, c, color=WARM[0] if share > 0.5 else COOL[0])
    axis.set(title=f"40 steps of {share} $h^2/D$", xlabel="$x$  ($L$)")
axes[0].plot(x, patient.states[1, 0], color=INK, linestyle=DASHES[1], label="pf.simulate")
axes[0].set_ylabel("concentration")
axes[0].legend()
figure.suptitle("A step beyond half of $h^2/D$: ink below zero, and growing")
plt.show()
print(f"To t = 0.5, steps below h²/2D would be {0.5 / 0.5e-4:.0f}; pf.simulate took {taken}.")
assert taken < 300

# %%
# *Seen.* The limit is real. Halve the cells and you need four times the steps. ``pf.simulate``
# therefore takes *implicit* steps, which ask for the rate at the end of the step instead of its
# start: they stay stable at any length, and their length adapts to what happens.
#
# Your turn
# ---------
# **Exercise 1 (a number).** A drop is a bell curve of standard deviation 0.05 in the middle of
# our box, with :math:`D = 1`. At what time has it a standard deviation of 0.15? (The walls are
# far away.)
#
# **Exercise 2 (a function).** Write ``half_time(n, D)``: the time in which the wave of :math:`n`
# half-waves in a box of length 1 falls to half of its height, at diffusivity :math:`D`.
#
# The two checks below do the experiment with your answer: ``check_1(0.02)``,
# ``check_2(half_time)``.

bell = torch.exp(-(((x - 0.5) / 0.05) ** 2) / 2)


def check_1(t):
    """Let the drop spread until t, and measure."""
    if not (isinstance(t, int | float | torch.Tensor) and t > 0):
        print(f"Wanted is a number above 0, got {t!r}.")
        return False
    run = pf.simulate(law, bell[None], torch.tensor([0, t], dtype=f64), rtol=1e-6)
    c = run.final[0]
    width = float(((x - 0.5).square() * c).sum() / c.sum()) ** 0.5
    print(f"At t = {t:g} the standard deviation is {width:.4f}; wanted is 0.15.")
    return abs(width - 0.15) < 0.002


def check_2(half_time):
    """Let waves fade for as long as the function says, and measure what is left."""
    right = True
    for n, diffusivity in ((1, 1.0), (2, 0.3), (5, 2.0)):
        wave = torch.cos(n * math.pi * x)
        t = torch.tensor([0, half_time(n, diffusivity)], dtype=f64)
        end = pf.simulate(dye(diffusivity=diffusivity), (1 + 0.5 * wave)[None], t, rtol=1e-6).final
        left = float(2 * (wave * (end[0] - 1)).mean() / 0.5)
        print(f"n = {n}, D = {diffusivity}: {left:.3f} of the height is left; wanted is 0.5.")
        right = right and abs(left - 0.5) < 0.005
    return right


# %%
# Answers
# -------
# **1.** Variances of independent stumbles add up, and a hop's share :math:`a^2` per :math:`\tau`
# is :math:`2D` per time. So :math:`0.15^2 = 0.05^2 + 2 D t`, which gives :math:`t = 0.01`.

answer_1 = (0.15**2 - 0.05**2) / 2
assert check_1(answer_1)

# %%
# **2.** From :math:`e^{-(n\pi)^2 D t} = 1/2` follows :math:`t = \ln 2 / ((n\pi)^2 D)`.


def answer_2(n, diffusivity):
    return math.log(2) / ((n * math.pi) ** 2 * diffusivity)


assert check_2(answer_2)

# %%
# *Next:* :doc:`lesson_2_drift_and_potential`, where the particles get a charge.
