r"""
Lesson 6: Feedback
==================

**What can be gained if the answer may change the question?**

You hear a murmur, look up, see lips move, and now you *hear* words. What was fused changed how
you listened. Most networks cannot do that: each sense is encoded on its own, and the encodings
are fused at the end. *Progressive fusion* sends the fused state back into the encoders. We look
at feedback in a cell, where it can be computed by hand, then at a task that is impossible without
it.

*You need:* lessons 3 to 5. *Source:* [STF22]; the task is the INDEX problem of communication
theory.
"""

import math

import matplotlib.pyplot as plt
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import ALARM, COOL, DASHES, FAINT, INK, WARM

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
f64 = torch.float64

# %%
# 1. An electrode that listens
# ----------------------------
# A cell of salt water has an electrode of potential :math:`V` on the left and a reservoir on the
# right. A probe in the middle reads the potential there. For small :math:`V` the reading is
# :math:`S V`; the *sensitivity* :math:`S` is a number between 0 and 1 that follows from the Debye
# length (lesson 3).
#
# Now close the loop: in every round, the electrode is set to an input plus :math:`g` times what
# the probe read,
#
# .. math:: V \leftarrow V_0 + g\,\phi_{\text{middle}}(V).
#
# *Predict.* A round multiplies what it is given by :math:`gS`, the *loop gain*. Adding all
# echoes, :math:`V = V_0 (1 + gS + (gS)^2 + \dots)`, so
#
# .. math:: V = \frac{V_0}{1 - gS} \qquad\text{if}\quad |gS| < 1 .
#
# Positive feedback makes the response larger, without bound as :math:`gS \to 1`. Negative
# feedback makes it smaller, and below :math:`gS = -1` it must swing forever. (It is the
# contraction of lesson 5 once more.)

grid = pf.Grid((64,), (1.0,), ("wall",))
salt = [pf.Species("cation", valence=+1), pf.Species("anion", valence=-1)]
shore = pf.Wall(potential=0.0, concentration={"cation": 1.0, "anion": 1.0})
walls = {"x-": pf.Wall(potential=0.0), "x+": shore}
cell = pf.PNP(grid, salt, permittivity=2 * 0.5**2, walls=walls)
pure = torch.ones(2, 64, dtype=f64)


def probe(volts):
    """The potential in the middle, for electrodes of potentials ``volts`` (batch,)."""
    x = {"potential:x-": volts}
    rest = pf.equilibrium(cell, pure.expand(len(volts), 2, 64), x=x).final
    return cell.potential(rest, x)[:, 32]


small = torch.tensor([0.01], dtype=f64, requires_grad=True)
(sensitivity,) = torch.autograd.grad(probe(small).sum(), small)
sensitivity = float(sensitivity)

gains = torch.tensor([0.9, 0.5, -0.5, -1.1], dtype=f64) / sensitivity
volts = [torch.full((4,), 0.01, dtype=f64)]
for _ in range(30):
    volts.append(0.01 + gains * probe(volts[-1]))
volts = torch.stack(volts)  # (rounds, gains)
amplified = volts[-1] / 0.01
assert (amplified[1:3] * (1 - gains[1:3] * sensitivity) - 1).abs().max() < 1e-3
assert 9.4 < amplified[0] < 9.8  # of 10, as (1 - 0.9**31) / (1 - 0.9) = 9.6 for 30 echoes
assert (volts[-1, 3] - volts[-2, 3]).abs() > 0.01

figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
for k, color in enumerate((WARM[0], WARM[1], COOL[0], ALARM)):
    loop = float(gains[k] * sensitivity)
    end = "swings" if loop < -1 else f"× {1 / (1 - loop):.3g} predicted"
    label = f"loop gain {loop:+.1f}: {end}".replace("-", "−")
    axis.plot(volts[:, k] / 0.01, color=color, linestyle=DASHES[k], label=label)
    if abs(loop) < 1:
        axis.axhline(1 / (1 - loop), color=FAINT, linewidth=0.6)
axis.set(
    title=f"Feedback amplifies by 1 / (1 − $gS$); here $S$ = {sensitivity:.3f}", xlabel="round"
)
axis.set_ylabel("response $V / V_0$")
figure.legend(loc="outside lower left", ncols=2)
plt.show()

# %%
# *Seen.* With loop gain 0.9 a faint input grows to 9.6 times itself in 30 rounds, of ten
# times in the end.
#
# The loop is itself a law of motion. ``pf.Coupled`` makes one law of several, each told what
# drives it, and all verbs apply:

gain = 0.5 / sensitivity


class Electrode(pf.Dynamics):
    """Follows what it is told: dV/dt = V₀ + g φ − V."""

    state_shape = (1,)

    def rate(self, t, u, x=None):
        return 0.01 + gain * x - u


loop = pf.Coupled(
    {"cell": cell, "electrode": Electrode()},
    {
        "cell": lambda states, laws, x: {"potential:x-": states["electrode"][..., 0]},
        "electrode": lambda states, laws, x: laws["cell"].potential(
            states["cell"], {"potential:x-": states["electrode"][..., 0]}
        )[..., 32:33],
    },
)
start = loop.join({"cell": pure, "electrode": torch.zeros(1, dtype=f64)})
end = float(loop.split(pf.equilibrium(loop, start).final.detach())["electrode"])
print(f"As one law, at rest: V / V₀ = {end / 0.01:.6f}; in 30 rounds {float(amplified[1]):.6f}.")
assert abs(end / float(volts[-1, 1]) - 1) < 1e-6

# %%
# 2. A question that comes too late
# ---------------------------------
# Ann holds four bits, :math:`b_i = \pm 1`. Bob knows which of them is asked for. Ann may send one
# number between −1 and 1 over a noisy line (standard deviation 1/4); then Bob's knowledge and
# Ann's number are fused into an answer. Ann is an encoder, Bob another.
#
# *Predict.* If Ann does not know what is asked, she must squeeze four bits into a number. She
# could send their mean. Then the sign of the number is the majority's; a bit agrees with it in 11
# of 16 cases, 69 %. A cleverer code is possible, but no code beats what the line can carry,
# :math:`\frac12 \log_2(1 + 16) = 2.04` bits: with four bits to tell, at most 89 % of answers are
# right (Fano's inequality), *whatever network fuses them afterwards*.
#
# If Bob may speak first, Ann sends the bit that is asked for. It is wrong only if the noise
# exceeds four standard deviations.

task = pf.data.IndexTask(bits=4, sigma=0.25)
generator = torch.Generator().manual_seed(0)
x, label = task.draw(50_000, generator)
noise = 0.25 * torch.randn(2, 50_000, generator=generator)
first = x["bits"].mean(1) + noise[0]  # Ann does not know the question
second = (x["bits"] * x["index"]).sum(1) + noise[1]  # now she does
right = [float(((sent > 0) == (label > 0)).double().mean()) for sent in (first, second)]
assert abs(right[0] - 11 / 16) < 0.01
assert right[1] > 0.999

figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
titles = (f"Before: {right[0]:.1%} right", f"After: {right[1]:.2%} right")
for axis, sent, title in zip(axes, (first, second), titles, strict=True):
    for bit, color in enumerate((COOL[0], WARM[0])):
        name = "bit asked for: " + ("−1", "+1")[bit]
        axis.hist(sent[label == bit].numpy(), 80, color=color, alpha=0.55, label=name)
    axis.set(title=title, xlabel="what arrives of Ann's number", yticks=(), xlim=(-2, 2))
axes[1].legend(loc="upper center", fontsize=7.5)
figure.suptitle("Ann's number, before and after she hears the question")
plt.show()

# %%
# *Seen.* Nothing after the line can repair what the line has lost. Feedback helps *if it reaches
# the place before the loss*.
#
# 3. Let it be learned
# --------------------
# Now nobody tells Ann and Bob anything. Two encoders, a noisy line in Ann's, a small fusion
# network, and labels. ``Progressive.around`` wraps encoders that you have: it adds the fused
# state, through a small linear map, to the output of one module inside each (``at`` names it;
# here the first layer), and runs ``rounds`` rounds from the state 0.
#
# *Predict.* With one round this is plain late fusion, and must stay below 89 %. With two rounds
# nothing changes but that the encoders run again, knowing the fused state of round one.


def learn(rounds, steps=250):
    """Train on fresh samples; the accuracy at every step, and on new samples at the end."""
    torch.manual_seed(0)
    fuse = nn.Sequential(pf.fusion.Concat(task.dims, 64), nn.ReLU(), nn.Linear(64, 32))
    layer = pf.fusion.Progressive.around(
        task.encoders(), fuse, width=32, at={"bits": "0", "index": "0"}, rounds=rounds
    )
    model = nn.Sequential(layer, nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator, curve = torch.Generator().manual_seed(0), []
    for _ in range(steps):
        x, label = task.draw(256, generator)
        answer = model(x)[:, 0]
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(answer, label).backward()
        optimizer.step()
        schedule.step()
        curve.append(float(((answer > 0) == (label > 0)).double().mean()))
    x, label = task.draw(20_000, torch.Generator().manual_seed(1))
    with torch.no_grad():
        right = (model(x)[:, 0] > 0) == (label > 0)
    return torch.tensor(curve).unflatten(0, (-1, 10)).mean(1), float(right.double().mean())


figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
found = {}
for rounds, color in ((1, COOL[0]), (2, WARM[0])):
    curve, found[rounds] = learn(rounds)
    label = f"{rounds} round{'s' * (rounds > 1)}: {found[rounds]:.1%} at the end"
    axis.plot(range(10, 251, 10), curve, color=color, linestyle=DASHES[rounds - 1], label=label)
axis.axhline(
    task.bound(), color=INK, linestyle=DASHES[2], linewidth=1, label="bound of late fusion"
)
axis.set(title="A second round learns what no late fusion can", xlabel="step of training")
axis.set(ylabel="share of right answers", ylim=(0.45, 1.03))
axis.legend(loc="lower right")
plt.show()
assert found[1] < task.bound() < 0.98 < found[2]

# %%
# *Seen.* Training found the protocol: Bob speaks first, Ann answers. The number of rounds need
# not be fixed either: with ``rounds=None`` the layer goes on until nothing changes, and is a deep
# equilibrium whose cell holds the encoders.
#
# Your turn
# ---------
# **Exercise 1 (a number).** In part 1, which gain :math:`g` makes the electrode's response
# exactly *three* times its input? (:math:`S` is the variable ``sensitivity``.)
#
# **Exercise 2 (a function).** The line gets worse: its noise has any standard deviation
# :math:`\sigma`. Write ``share_right(sigma)``: how many answers are right if Ann sends the bit
# that is asked for, and the sign is taken. (``math.erf`` helps.)


def check_1(gain):
    """Let the loop run for 200 rounds, and measure."""
    if not isinstance(gain, int | float | torch.Tensor):
        print(f"Wanted is a number, got {gain!r}.")
        return False
    volts = torch.tensor([1e-3], dtype=f64)
    for _ in range(200):
        volts = 1e-3 + gain * probe(volts)
    print(
        f"g = {gain:.4f}: the response is {float(volts) / 1e-3:.3f} times the input; wanted is 3."
    )
    return abs(float(volts) / 1e-3 - 3) < 0.02


def check_2(share_right):
    """Send 400 000 bits over each of three lines."""
    right, generator = True, torch.Generator().manual_seed(2)
    for sigma in (0.25, 1.0, 3.0):
        arrived = 1 + sigma * torch.randn(400_000, generator=generator)
        share = float((arrived > 0).double().mean())
        print(f"σ = {sigma}: you say {share_right(sigma):.4f}; counted {share:.4f}.")
        right = right and abs(share_right(sigma) - share) < 0.003
    return right


# %%
# Answers
# -------
# **1.** :math:`1 / (1 - gS) = 3` needs :math:`gS = 2/3`.

answer_1 = 2 / 3 / sensitivity
assert check_1(answer_1)

# %%
# **2.** The noise must stay below 1 on one side: :math:`\Phi(1/\sigma) = \frac12 (1 +
# \operatorname{erf} \frac{1}{\sigma\sqrt2})`.


def answer_2(sigma):
    return 0.5 * (1 + math.erf(1 / (sigma * math.sqrt(2))))


assert check_2(answer_2)

# %%
# *Next:* :doc:`lesson_7_training_through_a_solve`, on how a simulation learns.
