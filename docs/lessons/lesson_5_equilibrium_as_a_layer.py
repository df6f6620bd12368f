r"""
Lesson 5: Equilibrium as a layer
================================

**Can a layer of a network be a state of rest?**

An ordinary layer computes its output in one go. A *deep equilibrium* layer has a law of motion
instead, waits (so to speak) until nothing moves any more, and returns where it came to rest. That
is a strange and powerful layer, if three questions have good answers: *Is* there a state of rest?
Is there only *one*? And how does a gradient get through? We ask them of a toy of one number, then
of a cell of ions, which answers better.

*You need:* lessons 1 to 4. *Source:* deep equilibria for fusion are those of [NBZ23].
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, DASHES, FAINT, INK, WARM, number

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
f64 = torch.float64

# %%
# 1. A loop of one number
# -----------------------
# A neuron that listens to itself: its new state is :math:`\tanh(w u + x)`, with an input
# :math:`x` and a weight :math:`w` back to itself. As a law of motion, with a state of rest where
# the rate is 0:
#
# .. math:: \dot u = f(u; x) = \tanh(w u + x) - u.
#
# In pnpfusion a law is a class with one method, ``rate``, of the time, the state and the input.
# Any law can be run in three ways: ``simulate`` follows it in time, ``equilibrium`` looks for
# rest, and ``unroll`` feeds the result back in rounds, :math:`u \leftarrow u + f(u)`; here that
# is :math:`u \leftarrow \tanh(wu + x)`.
#
# *Predict.* The slope of :math:`\tanh` is at most 1, so a round changes the distance of two
# states by a factor of at most :math:`|w|`. For :math:`|w| < 1` all starts end in one point (a
# *contraction*). For :math:`w = 2` the neuron says yes to itself: we expect it to get stuck on
# either side. For :math:`w = -3` it contradicts itself in every round.


class Loop(pf.Dynamics):
    """du/dt = tanh(w u + x) - u; a state is one number."""

    state_shape = (1,)

    def __init__(self, w):
        super().__init__()
        self.w = w

    def rate(self, t, u, x=None):
        return torch.tanh(self.w * u + x) - u


starts = torch.linspace(-1, 1, 9, dtype=f64)[:, None]  # (batch 9, state 1)
figure, axes = plt.subplots(1, 3, figsize=(7, 2.8), layout="constrained", sharey=True)
ends = {}
for axis, (w, x) in zip(axes, ((0.5, 0.5), (2.0, 0.0), (-3.0, 0.5)), strict=True):
    run = pf.unroll(Loop(w), starts, 20, x=torch.full((9, 1), x, dtype=f64))
    ends[w] = run.states[-2:, :, 0]
    axis.plot(run.times, run.states[..., 0], color=COOL[0], linewidth=1)
    axis.set(xlabel="round", xticks=(0, 10, 20))
assert ends[0.5][1].max() - ends[0.5][1].min() < 1e-6
assert ends[2.0][1].unique().numel() > 2  # two sides, and the start 0, which stays
assert (ends[-3.0][1] - ends[-3.0][0]).abs().min() > 1
titles = ("$w$ = 0.5: one end for all", "$w$ = 2: it depends", "$w$ = −3: the rounds never rest")
for axis, title in zip(axes, titles, strict=True):
    axis.set_title(title)
axes[0].set_ylabel("state $u$")
plt.show()

# %%
# *Seen.* As predicted. For :math:`w = -3` there *is* a point of rest; the rounds jump over it. (A
# smaller step, ``unroll(..., step=0.3)``, finds it; exercise 1 asks how small it must be.) In the
# middle there are three, one of them unstable. A layer like that gives different answers to the
# same input, which nobody wants. Deep equilibrium layers either hope that training stays away
# from there, or bound :math:`|w|`, as ``pf.ContractiveDEQ`` does.
#
# 2. A cell of ions always finds the one
# --------------------------------------
# Let us ask the same of ions. Charge is fixed in a closed cell, both walls are at potential 0,
# and ions start *anyhow*, but always the same number of them.
#
# *Predict.* A cell is warm matter, and such matter has a *free energy* that can only fall,
#
# .. math:: F = \int \sum_i c_i (\ln c_i - 1) + \tfrac12 \rho\,\phi \; dx .
#
# The first part likes ions spread out, the second dislikes charge. Both are *convex*, like a
# bowl: :math:`c \ln c` curves upwards, and the electric energy is a square. A bowl has one
# bottom. So from any start, the energy must fall without ever rising, to the same end. No weight
# can spoil that; the bowl is there whatever charge is fixed.

grid = pf.Grid((64,), (1.0,), ("wall",))
place = grid.coordinates(0)
salt = [pf.Species("cation", valence=+1), pf.Species("anion", valence=-1)]
ground = {"x-": pf.Wall(potential=0.0), "x+": pf.Wall(potential=0.0)}
cell = pf.PNP(grid, salt, permittivity=2 * 0.1**2, walls=ground)
features = 3 * torch.sin(7 * place) - 2 * (place > 0.7)  # any charge will do
charge = {"fixed_charge": pf.Field(features.expand(8, 64))}  # the same in each of 8 cells

generator = torch.Generator().manual_seed(3)
starts = torch.rand(8, 2, 64, dtype=f64, generator=generator) ** 4 + 0.01
starts = starts / starts.mean(-1, keepdim=True)  # a mean concentration of 1 of each ion
times = torch.cat([torch.zeros(1), torch.logspace(-4, 0.6, 60)]).double()
run = pf.simulate(cell, starts, times, x=charge, rtol=1e-8)
rest = pf.equilibrium(cell, starts, x=charge).require_success().final
energy = run.ledger.free_energy - cell.energy(rest, charge)  # above the bottom, (times, batch)
apart = float((rest - rest[0]).abs().max())
assert apart < 1e-9
assert (run.final - rest).abs().max() < 1e-4
assert (energy.diff(dim=0) < 1e-9).all()

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7, 2.8), layout="constrained")
left.plot(place, starts[:3, 0].T, linewidth=0.8)
for line, color in zip(left.lines, (WARM[0], WARM[1], WARM[3]), strict=True):
    line.set_color(color)
left.set(title="Cations, three starts of 8", xlabel="$x$  ($L$)", ylabel="concentration")
middle.plot(place, rest[:, 0].T, color=WARM[0])
middle.set(title=f"All at rest: {number(apart)} apart", xlabel="$x$  ($L$)")
middle.set_ylim(bottom=0)
right.loglog(times[1:], energy[1:].clamp_min(1e-12), color=INK, linewidth=0.9)
right.set(title="Energy above the bottom", xlabel="time  ($L^2/D$)", ylim=(1e-9, 20))
plt.show()

# %%
# *Seen.* Eight starts, one end, falling all the way. Newton's method with a line search rolls
# down the same bowl in a few steps; that is what ``equilibrium`` does for a cell. So a cell of
# ions into which features enter as fixed charge is an equilibrium layer whose three questions
# physics has answered: yes; only one; and found from anywhere.
#
# 3. The gradient does not need the way
# -------------------------------------
# How does the state of rest change if :math:`x` does? One could go through all rounds with
# autograd. There is a shortcut: at rest :math:`u^* = \tanh(w u^* + x)`, *whatever way led there*.
# Differentiate that line, with :math:`s = 1 - u^{*2}` for the slope of :math:`\tanh`:
#
# .. math:: du^* = s\,(w\,du^* + dx) \quad\Rightarrow\quad \frac{du^*}{dx} = \frac{s}{1 - w s}.
#
# That is the *implicit function theorem*; it is how ``equilibrium`` computes gradients, in one
# linear solve and without remembering a single round.
#
# *Predict.* Going through :math:`R` rounds gives a gradient too, but of a loop that is cut after
# :math:`R`. It must come near the true one as the rounds themselves do: each round multiplies the
# error by :math:`ws`.

law, x = Loop(0.9), torch.tensor([0.3], dtype=f64, requires_grad=True)
rest = pf.equilibrium(law, torch.zeros(1, dtype=f64), x=x, tol=1e-14).final
(implicit,) = torch.autograd.grad(rest.sum(), x)
s = 1 - rest.detach() ** 2
formula = s / (1 - 0.9 * s)
assert abs(float(implicit / formula) - 1) < 1e-9
missing = []
for rounds in range(1, 31):
    end = pf.unroll(law, torch.zeros(1, dtype=f64), rounds, x=x).final
    (unrolled,) = torch.autograd.grad(end.sum(), x)
    missing.append(abs(float(unrolled - formula)))
factor = (missing[29] / missing[19]) ** 0.1

figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
axis.semilogy(range(1, 31), missing, "o", color=COOL[0], markersize=4, label="through the rounds")
axis.axhline(abs(float(implicit - formula)) + 1e-17, color=WARM[0], label="implicit")
axis.set(title=f"Each round leaves {factor:.2f} of the error; predicted {0.9 * float(s):.2f}")
axis.set(xlabel="rounds", ylabel="error of the gradient")
axis.legend(loc="upper right")
plt.show()
assert abs(factor / (0.9 * float(s)) - 1) < 0.1

# %%
# *Seen.* The shortcut is exact at once. (The rounds do a little worse than :math:`ws`, because
# :math:`u` is not yet at rest either.)
#
# 4. What a cell's gradient looks like
# ------------------------------------
# The same theorem holds for the 160 cells of a box. Ask: by how much does the potential in the
# *middle* change if a little charge is fixed at :math:`x`? Autograd answers for all :math:`x` in
# one backward pass.
#
# *Predict.* Lesson 3 knows. For small charges the answer solves :math:`-2\lambda^2\,d^2g/dx^2 +
# 2g = \delta`, a point of charge in salt water, so :math:`g(x) = \frac{1}{4\lambda} e^{-|x -
# 1/2|/\lambda}`: *a feature reaches as far as the Debye length*, which for a layer is a knob
# between local and global.

grid = pf.Grid((160,), (1.0,), ("wall",))
place = grid.coordinates(0)
figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
shore = pf.Wall(potential=0.0, concentration={"cation": 1.0, "anion": 1.0})
for k, debye_length in enumerate((0.03, 0.1)):
    cell = pf.PNP(grid, salt, permittivity=2 * debye_length**2, walls={"x-": shore, "x+": shore})
    charge = torch.zeros(160, dtype=f64, requires_grad=True)
    x = {"fixed_charge": pf.Field(charge)}
    rest = pf.equilibrium(cell, torch.ones(2, 160, dtype=f64), x=x).final
    middle = cell.potential(rest, x)[80]
    (gradient,) = torch.autograd.grad(middle, charge)
    gradient = 160 * gradient  # per charge: a cell is 1/160 wide
    predicted = torch.exp(-(place - place[80]).abs() / debye_length) / (4 * debye_length)
    assert (gradient - predicted).abs().max() < 0.03 * predicted.max()
    label = rf"autograd, $\lambda$ = {debye_length}"
    axis.plot(place, gradient, color=(COOL[0], WARM[0])[k], linestyle=DASHES[k], label=label)
    axis.plot(place[::2], predicted[::2], ".", color=FAINT, markersize=4)
axis.set(title="A charge is felt as far as the Debye length (dots: predicted)", xlabel="$x$  ($L$)")
axis.set_ylabel(r"$d\phi(\frac{1}{2})\,/\,d$ charge")
axis.legend()
plt.show()

# %%
# *Seen.* The gradient of an equilibrium layer is a picture of physics.
#
# Your turn
# ---------
# **Exercise 1 (a number).** The loop with :math:`w = -2` and :math:`x = 0` rests at :math:`u =
# 0`, but rounds :math:`u \leftarrow u + f(u)` jump over it. With a smaller step, :math:`u
# \leftarrow u + s f(u)`, they arrive. What is the largest :math:`s` (the border between arriving
# and not)?
#
# **Exercise 2 (a function).** Write ``slope_by_weight(u, w)``: how fast the state of rest
# :math:`u^* = \tanh(w u^* + x)` changes with the *weight*, :math:`du^*/dw`, from :math:`u^*` and
# :math:`w` alone.


def check_1(step):
    """Unroll with a step a little below the border, and one a little above."""
    if not (isinstance(step, int | float | torch.Tensor) and step > 0):
        print(f"Wanted is a number above 0, got {step!r}.")
        return False
    start, x = torch.tensor([0.01], dtype=f64), torch.zeros(1, dtype=f64)
    below, above = (
        abs(float(pf.unroll(Loop(-2.0), start, 400, x=x, step=share * step).final))
        for share in (0.97, 1.03)
    )
    print(f"3 % below {step:.4f} the rounds end at {below:.1g}, 3 % above at {above:.1g}.")
    return below < 1e-6 and above > 1e-2


def check_2(slope_by_weight):
    """Compare with the gradient that pf.equilibrium gives."""
    right = True
    for weight, x in ((0.5, 0.4), (-0.8, 1.0), (0.95, 0.1)):
        w = torch.tensor(weight, dtype=f64, requires_grad=True)
        x = torch.tensor([x], dtype=f64)
        rest = pf.equilibrium(Loop(w), torch.zeros(1, dtype=f64), x=x, tol=1e-13).final
        (gradient,) = torch.autograd.grad(rest.sum(), w)
        told = float(slope_by_weight(float(rest.detach()), weight))
        print(f"w = {weight}: you say {told:.6f}, autograd {float(gradient):.6f}.")
        right = right and abs(told - float(gradient)) < 1e-6
    return right


# %%
# Answers
# -------
# **1.** Near 0 the law is :math:`f(u) \approx (w - 1)\,u = -3u`, so a round multiplies by
# :math:`1 - 3s`. That is above −1 as long as :math:`s < 2/3`.

answer_1 = 2 / 3
assert check_1(answer_1)

# %%
# **2.** Differentiate the line of rest again: :math:`du^* = s\,(w\,du^* + u^* dw)` with :math:`s
# = 1 - u^{*2}`.


def answer_2(u, w):
    s = 1 - u**2
    return s * u / (1 - w * s)


assert check_2(answer_2)

# %%
# *Next:* :doc:`lesson_6_feedback`, on rounds that are worth more than their end.
