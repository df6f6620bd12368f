r"""
Lesson 7: Training through a solve
==================================

**How does a simulation learn?**

A network learns because each of its layers can tell how its output would change if its input did.
A simulation of ions is a long computation, but a computation; so it can be a layer, if it can
tell the same. We look at such gradients from three sides: are they right, what do they cost, and
what can be done with them. In the end a layer of ions learns a task that defeats a linear
network.

*You need:* lessons 3 to 5, and having trained a small network before. *Source:* [GW00] for
gradients through many steps, [NBZ23] for those of an equilibrium.
"""

import math

import matplotlib.pyplot as plt
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, DASHES, FAINT, INK, WARM, number

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
f64 = torch.float64

# %%
# 1. Is the gradient right?
# -------------------------
# The closed cell of lesson 3: electrodes at :math:`\pm V`, ions everywhere alike at first. Its
# answer is the charge :math:`Q` on the left electrode at a time :math:`T`; we want :math:`dQ/dV`.
# Two ways:
#
# * *differences*: run twice, :math:`\frac{Q(V + h) - Q(V - h)}{2h}`;
# * *autograd*: run once with ``V.requires_grad``, then go back through all steps by the chain rule.
#
# *Predict.* Differences have two errors. The curve is no straight line: an error like
# :math:`h^2`. And a computer, or a solver with a tolerance, knows :math:`Q` only to some
# :math:`\delta`: an error :math:`\delta / h`. Together they make a valley: no :math:`h` is best
# for everything, and none is exact. Autograd has no :math:`h`.


def closed_cell(volts, debye_length=0.1):
    grid = pf.Grid((100,), (2.0,), ("wall",))
    salt = [pf.Species("cation", valence=+1), pf.Species("anion", valence=-1)]
    walls = {"x-": pf.Wall(potential=volts), "x+": pf.Wall(potential=-volts)}
    return pf.PNP(grid, salt, permittivity=2 * debye_length**2, walls=walls)


def charge_at(time, volts):
    """The charge of the left electrode, and the run; ``volts`` may be a batch."""
    law = closed_cell(volts)
    start = torch.ones(*volts.shape, 2, 100, dtype=f64)
    run = pf.simulate(law, start, torch.tensor([0, time], dtype=f64), rtol=1e-8)
    return law.electrode_charge(run.final, "x-"), run


volts = torch.tensor(1.0, dtype=f64, requires_grad=True)
charge, run = charge_at(0.05, volts)
(gradient,) = torch.autograd.grad(charge, volts)
sizes = torch.logspace(-8, 0, 17, dtype=f64)
with torch.no_grad():
    pairs, _ = charge_at(0.05, 1.0 + torch.stack([sizes, -sizes]))  # 34 runs in one call
differences = (pairs[0] - pairs[1]) / (2 * sizes)
error = (differences / gradient - 1).abs()
best = float(error.min())
assert best < 1e-6
assert error[0] > 3 * best
assert error[-1] > 1000 * best

figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
axis.loglog(sizes, error, "o-", color=COOL[0], markersize=4)
axis.set(title=f"Differences meet autograd to {number(best)}, for the right step only")
axis.set(xlabel="step $h$ of the difference  ($kT/e$)", ylabel="relative disagreement")
plt.show()
print(f"dQ/dV = {float(gradient):.6f}, back through {int(run.work.steps)} adaptive steps.")

# %%
# *Seen.* The valley; its flat floor is the solver's own: it chooses its steps by their error, so
# they change a little with :math:`V`, while autograd holds them as they were. That is below the
# tolerance asked for. With one unknown, differences would do; with a thousand weights they would
# need two thousand runs where autograd needs one backward pass.
#
# 2. What does it cost to know the way?
# -------------------------------------
# To go back, autograd keeps every step. At rest, lesson 5 taught, the way does not matter: one
# linear solve is enough. So two gradients of the same cell, one through :math:`T`, one at rest.
#
# *Predict.* If the cell has come to rest by :math:`T`, both must agree. Before that they differ
# as the charge itself differs from its end. For a small voltage lesson 3 says how that fades:
# :math:`e^{-T/\tau}`, :math:`\tau = \lambda L/D = 0.1`.

volts = torch.tensor(0.05, dtype=f64, requires_grad=True)
law = closed_cell(volts)
rest = pf.equilibrium(law, torch.ones(2, 100, dtype=f64)).final
(at_rest,) = torch.autograd.grad(law.electrode_charge(rest, "x-"), volts)
durations, missing, kept = torch.linspace(0.05, 0.6, 12, dtype=f64), [], []
for duration in durations:
    charge, run = charge_at(float(duration), volts)
    (through_time,) = torch.autograd.grad(charge, volts)
    missing.append(float((at_rest - through_time) / at_rest))
    kept.append(int(run.work.steps))
tau = float(durations[-1] - durations[3]) / math.log(missing[3] / missing[-1])
assert abs(tau / 0.1 - 1) < 0.08

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
left.semilogy(durations, missing, "o", color=COOL[0], markersize=4, label="measured")
left.semilogy(durations, torch.exp(-durations / 0.1), color=FAINT, label=r"$e^{-T/0.1}$")
left.set(title=f"Gradients differ less and less: $\\tau$ = {tau:.3f}", xlabel="$T$  ($L^2/D$)")
left.set_ylabel("share of $dQ/dV$ that is missing")
left.legend()
right.plot(durations, kept, "o-", color=COOL[0], markersize=4, label="through time")
right.plot(durations, 0 * durations, color=WARM[0], linestyle=DASHES[1], label="at rest")
right.set(title="Steps that autograd must keep", xlabel="$T$  ($L^2/D$)")
right.legend(loc="center right")
plt.show()

# %%
# *Seen.* Use ``simulate`` if the way is the answer, ``equilibrium`` if the end is.
# (``simulate(..., checkpoints=8)`` keeps few states and repeats steps on the way back: less
# memory, more time.)
#
# 3. Learn a shape
# ----------------
# Now use the gradient. We want cations at rest to form two hills of our choice. What charge must
# be fixed in the cell? Sixty-four unknowns, one loss, and an optimiser, exactly as with a
# network.
#
# *Predict.* Here the answer can be computed, so that we can mark the optimiser's work. By
# Boltzmann :math:`\phi = -\ln c_+`, and by Poisson the charge must be :math:`q =
# -\varepsilon\,d^2\phi/dx^2 + 2\sinh\phi`.

grid = pf.Grid((64,), (1.0,), ("wall",))
x = grid.coordinates(0)
shore = pf.Wall(potential=0.0, concentration={"cation": 1.0, "anion": 1.0})
salt = [pf.Species("cation", valence=+1), pf.Species("anion", valence=-1)]
cell = pf.PNP(grid, salt, permittivity=2 * 0.1**2, walls={"x-": shore, "x+": shore})
wanted = (
    1 + 1.5 * torch.exp(-(((x - 0.3) / 0.08) ** 2)) + 0.8 * torch.exp(-(((x - 0.7) / 0.08) ** 2))
)

fixed = torch.zeros(64, dtype=f64, requires_grad=True)
optimizer = torch.optim.LBFGS([fixed], max_iter=60, line_search_fn="strong_wolfe")
losses = []


def loss():
    rest = pf.equilibrium(cell, torch.ones(2, 64).double(), x={"fixed_charge": pf.Field(fixed)})
    misfit = (rest.final[0].log() - wanted.log()).square().mean()
    optimizer.zero_grad()
    misfit.backward()
    losses.append(float(misfit.detach()))
    return misfit


optimizer.step(loss)
with torch.no_grad():
    rest = pf.equilibrium(cell, torch.ones(2, 64).double(), x={"fixed_charge": pf.Field(fixed)})
    phi = -wanted.log()
    bend = (phi[2:] - 2 * phi[1:-1] + phi[:-2]) * 64**2
    formula = -2 * 0.1**2 * bend + 2 * torch.sinh(phi[1:-1])
    off = float((rest.final[0] / wanted - 1).abs().max())
assert off < 1e-3
assert (fixed.detach()[6:-6] - formula[5:-5]).abs().max() < 0.02 * formula.abs().max()

figure, axes = plt.subplots(1, 3, figsize=(7, 2.8), layout="constrained")
axes[0].plot(x, wanted, color=FAINT, linewidth=4, label="wanted")
axes[0].plot(x, rest.final[0], color=WARM[0], label="learned")
axes[0].set(title=f"Cations, to {number(off)}", xlabel="$x$  ($L$)", ylim=(0.9, 2.9))
axes[0].legend()
axes[1].plot(x[1:-1], formula, color=FAINT, linewidth=4, label="formula")
axes[1].plot(x, fixed.detach(), color=INK, linewidth=1, label="learned")
axes[1].set(title="Fixed charge", xlabel="$x$  ($L$)")
axes[1].legend()
axes[2].semilogy(losses, color=COOL[0])
axes[2].set(title="Loss", xlabel="evaluation")
plt.show()

# %%
# *Seen.* The optimiser found Poisson's equation by trial, in some forty solves and as many
# backward passes.
#
# 4. Learn a task
# ---------------
# Now features. Two modalities of 16 numbers; the class is the sign of a *product*,
# :math:`(\alpha\cdot a)(\beta\cdot b)` with secret :math:`\alpha, \beta`. Linear encoders, one
# fusion layer, a linear head.
#
# *Predict.* If the layer writes its inputs side by side (``Concat``), everything is linear, and a
# product's sign looks like coin tosses: 50 %. ``PNP`` reads the density of ions at rest, which
# holds :math:`ab` (lesson 4). It can do it, if the gradient leads there.

data = pf.data.interaction(6000, generator=torch.Generator().manual_seed(0))


def rows(which):
    return {name: values[which] for name, values in data.modalities.items()}


def learn(fuse, steps=400):
    """Train on the first 4000 samples; what share of the others is right, every 20 steps."""
    torch.manual_seed(0)
    model = nn.Sequential(fuse({"a": 16, "b": 16}, out_dim=32), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    generator, shares = torch.Generator().manual_seed(1), []
    for step in range(1, steps + 1):
        some = torch.randint(4000, (256,), generator=generator)
        misfit = nn.functional.cross_entropy(model(rows(some)), data.target[some])
        optimizer.zero_grad()
        misfit.backward()
        optimizer.step()
        if step % 20 == 0:
            with torch.no_grad():
                told = model(rows(slice(4000, None))).argmax(1)
            shares.append(float((told == data.target[4000:]).double().mean()))
    return shares


figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
ends = {}
for k, (name, fuse) in enumerate((("Concat", pf.fusion.Concat), ("PNP", pf.fusion.PNP))):
    shares = learn(fuse)
    ends[name] = shares[-1]
    color = (COOL[0], WARM[0])[k]
    axis.plot(range(20, 401, 20), shares, color=color, linestyle=DASHES[1 - k])
    axis.text(405, shares[-1], f"{name} {shares[-1]:.0%}", color=color, va="center")
axis.set(title="A product of modalities: learned through a cell at rest", xlim=(0, 455))
axis.set(xlabel="step of training", ylabel="share right, new samples", ylim=(0.4, 1.02))
plt.show()
assert ends["Concat"] < 0.56
assert ends["PNP"] > 0.93

# %%
# *Seen.* For a hundred steps nothing seems to happen, then the product is found. (A network with
# a hidden layer can learn this too; ``docs/results.md`` compares them fairly, on this and on real
# data.)
#
# Your turn
# ---------
# **Exercise 1 (a number).** Which voltage :math:`V` puts a charge of exactly 0.5 on the left
# electrode of our closed cell *at rest*? Find it any way you like; ``resting_charge(volts)``
# below computes the charge, with gradient.
#
# **Exercise 2 (a function).** Write ``solve(charge, wanted)``, which finds the :math:`V` with
# ``charge(V) = wanted`` to 1e-9 in at most 10 calls, starting at :math:`V = 1`. ``charge`` takes
# and returns a tensor of one number and carries the gradient. (Newton: follow the tangent.)


def resting_charge(volts):
    """The charge of the left electrode at rest."""
    law = closed_cell(volts)
    rest = pf.equilibrium(law, torch.ones(2, 100, dtype=f64), tol=1e-12).final
    return law.electrode_charge(rest, "x-")


def check_1(volts):
    """Let the cell come to rest."""
    if not isinstance(volts, int | float | torch.Tensor):
        print(f"Wanted is a number, got {volts!r}.")
        return False
    charge = float(resting_charge(volts))
    print(f"V = {float(volts):.4f}: the charge is {charge:.5f}; wanted is 0.5.")
    return abs(charge - 0.5) < 5e-4


def check_2(solve):
    """Ask for three charges, and count the calls."""
    right = True
    for wanted in (0.1, 0.3, 0.6):
        calls = []

        def charge(volts, calls=calls):
            calls.append(volts)
            return resting_charge(volts)

        miss = float(resting_charge(torch.as_tensor(solve(charge, wanted)).detach())) - wanted
        print(f"Charge {wanted}: missed by {abs(miss):.0e} after {len(calls)} calls.")
        right = right and abs(miss) < 1e-9 and len(calls) <= 10
    return right


# %%
# Answers
# -------
# **2.** (First, as it answers the other as well.) Near :math:`V` the charge is :math:`Q(V) +
# (dQ/dV)\,\Delta V`; set that to what is wanted, and repeat. The number of right digits doubles
# each time.


def answer_2(charge, wanted):
    volts = torch.tensor(1.0, dtype=f64, requires_grad=True)
    for _ in range(10):
        found = charge(volts)
        if abs(float(found.detach()) - wanted) < 1e-10:
            break
        (slope,) = torch.autograd.grad(found, volts)
        volts = (volts + (wanted - found) / slope).detach().requires_grad_()
    return volts


assert check_2(answer_2)

# %%
# **1.** With it:

answer_1 = float(answer_2(resting_charge, 0.5).detach())
assert check_1(answer_1)

# %%
# *Next:* :doc:`lesson_8_inverse_problem`, where what is learned is nature.
