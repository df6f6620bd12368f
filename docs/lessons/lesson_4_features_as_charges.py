r"""
Lesson 4: Features as charges
=============================

**What happens if two lists of numbers become ions in one cell?**

A microphone and a motion sensor watch the same person. A network has made *features* of each, two
vectors. To decide anything, they must be *fused*, and the usual way is to write one after the
other (``torch.cat``). Here is another way: let each number become charged particles, put all of
them into the same water, and let physics mix them. This lesson is about what that does. There is
nothing to train yet.

*You need:* lessons 1 to 3. *Source:* the picture of features as charges is that of [GMF]; here
the equation is solved.
"""

import math

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, DASHES, GREY, INK, SIGNED_MAP, WARM, number

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
f64 = torch.float64

# %%
# 1. A number becomes a pair of clouds
# ------------------------------------
# Each feature gets a stretch of the cell. Over a background of 1 of both ions, a *positive*
# feature is added to the cations there, the size of a *negative* one to the anions:
#
# .. math:: c_+ = 1 + \max(f, 0), \qquad c_- = 1 + \max(-f, 0), \qquad f = c_+ - c_- .
#
# *Predict.* Concentrations cannot be negative, features can; yet nothing is lost, because the
# charge :math:`c_+ - c_-` is the feature. Reading back must be exact. Each modality keeps its own
# two species, so that we always know whose ions are whose: two modalities, four species.

grid = pf.Grid((96,), (1.0,), ("wall",))
x = grid.coordinates(0)
features = {
    "audio": torch.tensor([0.8, -0.5, 0.3, -0.9], dtype=f64),
    "motion": torch.tensor([-0.6, 0.9, 0.4], dtype=f64),
}
ions = pf.fields.FeatureMap(dims={"audio": 4, "motion": 3}, grid=grid)
c0 = ions.fields(features)  # (4 species, 96 cells)
back = ions.features(c0)
error = max(float((back[name] - features[name]).abs().max()) for name in features)
assert error < 1e-15

figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained", sharey=True)
for k, (axis, (name, values)) in enumerate(zip(axes, features.items(), strict=True)):
    axis.plot(x, c0[2 * k], color=WARM[k], drawstyle="steps-mid", label=f"{name} cation")
    axis.plot(x, c0[2 * k + 1], color=COOL[k], drawstyle="steps-mid", label=f"{name} anion")
    axis.lines[-1].set_linestyle(DASHES[1])
    for i, value in enumerate(values):
        place = (i + 0.5) / len(values)
        axis.text(place, 2.0, f"{value:+.1f}".replace("-", "−"), ha="center", color=INK)
    axis.set(
        title=f"{name}: {len(values)} features, 2 species", xlabel="$x$  ($L$)", ylim=(0.9, 2.6)
    )
    axis.legend(loc="upper left", ncols=2, fontsize=7.5)
axes[0].set_ylabel(r"concentration  ($c_\mathrm{ref}$)")
figure.suptitle(f"Numbers as charge, and back to {number(error)}")
plt.show()

# %%
# *Seen.* Features in, ions out, and back.
#
# 2. How fast is a feature forgotten?
# -----------------------------------
# Now let time run. Diffusion levels everything (lesson 1), and ions hide each other's charge
# (lesson 3). Take one modality of sixteen features that form a wave, :math:`f_i = 0.02 \cos(n\pi
# x_i)`.
#
# *Predict.* For small features, put :math:`c_\pm = 1 \pm f/2` into the two Nernst–Planck
# equations and subtract them. With Poisson's :math:`d^2\phi/dx^2 = -f/\varepsilon`, everything
# but terms of second order becomes
#
# .. math:: \frac{\partial f}{\partial t}
#           = D\,\frac{\partial^2 f}{\partial x^2} - \frac{2D}{\varepsilon} f
#           \quad\Rightarrow\quad f \propto e^{-D\,(n^2\pi^2 + 1/\lambda^2)\,t}.
#
# Details go first, as ink did; and below that a *floor*: with a short Debye length every feature
# is forgotten in the time :math:`\lambda^2/D`, however smooth it is.


def one_modality(debye_length):
    sixteen = pf.fields.FeatureMap(dims={"audio": 16}, grid=grid)
    return sixteen, pf.PNP(grid, sixteen.species(), permittivity=2 * debye_length**2)


def share_left(debye_length, n, times):
    """The share of a wave of features that is read back at each time."""
    sixteen, law = one_modality(debye_length)
    wave = 0.02 * torch.cos(n * math.pi * (torch.arange(16, dtype=f64) + 0.5) / 16)
    run = pf.simulate(law, sixteen.fields({"audio": wave}), times, rtol=1e-7)
    return sixteen.features(run.states)["audio"] @ wave / wave.square().sum()


times = torch.linspace(0, 0.05, 51, dtype=f64)
cases = ((10.0, 1, WARM[0]), (10.0, 3, COOL[0]), (0.2, 1, WARM[1]), (0.2, 3, COOL[3]))
figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
for k, (debye_length, n, color) in enumerate(cases):
    left = share_left(debye_length, n, times)
    predicted = torch.exp(-((n * math.pi) ** 2 + debye_length**-2) * times)
    assert (left / predicted - 1).abs().max() < 0.05
    label = rf"$\lambda$ = {debye_length:g}, $n$ = {n}"
    axis.semilogy(times, left, color=color, linestyle=DASHES[k], label=label)
    axis.plot(times[::5], predicted[::5], ".", color=color)
axis.set(
    title="Detail is forgotten first, and short Debye lengths forget all sooner (dots: predicted)"
)
axis.set(xlabel="time  ($L^2/D$)", ylabel="share that is read back", ylim=(1e-3, 1.2))
axis.legend()
plt.show()

# %%
# *Seen.* Whatever is only a *start* is forgotten. So a cell that carries features must be read
# before it has relaxed, or the features must enter as something that stays: as charge that is
# *fixed* in the cell, like the electrode of lesson 3. Part 4 does that.
#
# 3. One potential for everybody
# ------------------------------
# Two modalities in one cell. Motion says :math:`(+1, -1)`; audio says nothing, :math:`(0, 0)`:
# its ions are everywhere alike.
#
# *Predict.* Poisson's equation does not ask whose charge it is. Motion's positive half attracts
# anions, *audio's anions as well*: they form the cloud that hides it. So reading audio back gives
# numbers of the opposite sign to motion's. If each modality were alone in its cell (or
# :math:`\varepsilon` huge), audio would stay 0.

two = pf.fields.FeatureMap(dims={"audio": 2, "motion": 2}, grid=grid)
c0 = two.fields({"audio": torch.zeros(2, dtype=f64), "motion": torch.tensor([1.0, -1.0]).double()})
debye = torch.tensor([0.1, 1e3], dtype=f64)  # coupled, not coupled
law = pf.PNP(grid, two.species(), permittivity=2 * debye**2)
run = pf.simulate(law, c0.expand(2, 4, 96), torch.linspace(0, 0.03, 61, dtype=f64), rtol=1e-7)
read = two.features(run.states)  # each (times, cells of the batch, 2 features)
told = float(read["audio"][:, 0, 0].min())
assert told < -0.2
assert read["audio"][:, 1].abs().max() < 1e-4

figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained", sharey=True)
for k, (axis, title) in enumerate(zip(axes, ("One cell for both", "Each alone"), strict=True)):
    for i, dashes in enumerate(DASHES[:2]):
        sign = "+−"[i]
        axis.plot(run.times, read["motion"][:, k, i], color=WARM[0], linestyle=dashes)
        axis.lines[-1].set_label(f"motion, said {sign}1")
        axis.plot(run.times, read["audio"][:, k, i], color=COOL[0], linestyle=dashes)
        axis.lines[-1].set_label("audio, said 0")
    axis.set(title=title, xlabel="time  ($L^2/D$)")
axes[0].set_ylabel("features as read back")
figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower left", ncols=4)
figure.suptitle(f"Audio's ions answer motion's charge: they reach {number(told)}")
plt.show()

# %%
# *Seen.* Audio's ions now know what motion said. Nobody connected them but the potential.
#
# 4. A cell that multiplies
# -------------------------
# Mixing is easy; a sum mixes. What a sum cannot do is *interact*: "loud **and** still" is no sum
# of a function of loudness and one of stillness. It needs a product of features.
#
# Fix the features :math:`a` and :math:`b` in the cell as a charge :math:`q = a + b` (they cannot
# move), and let salt water from two reservoirs come to rest around them. Deep inside a cell that
# is many Debye lengths wide nothing depends on place.
#
# *Predict.* There :math:`d^2\phi/dx^2 = 0`, so charges must cancel: :math:`q + e^{-\phi} -
# e^{\phi} = 0`. Hence
#
# .. math:: \phi = \operatorname{arsinh}\frac{q}{2}, \qquad
#           N = c_+ + c_- = 2\cosh\phi = \sqrt{4 + q^2}.
#
# The potential is an odd function of :math:`q`, the *density* of ions an even one: :math:`N
# \approx 2 + q^2/4`, and :math:`q^2 = a^2 + 2ab + b^2` **contains the product**. To see it, take
# away all that is a sum:
#
# .. math:: I(a, b) = N(a + b) - N(a) - N(b) + N(0) \approx \frac{ab}{2}.
#
# (``x`` in ``equilibrium(..., x=...)`` is what drives a law from outside; a cell reads
# ``"fixed_charge"``.)


def density(charge):
    """c₊ + c₋ in the middle of a cell with that fixed charge, between two reservoirs."""
    charge = torch.as_tensor(charge, dtype=f64)
    salt = [pf.Species("cation", valence=+1), pf.Species("anion", valence=-1)]
    shore = pf.Wall(potential=0.0, concentration={"cation": 1.0, "anion": 1.0})
    law = pf.PNP(grid, salt, permittivity=2 * 0.05**2, walls={"x-": shore, "x+": shore})
    start = torch.ones(*charge.shape, 2, 96, dtype=f64)
    rest = pf.equilibrium(law, start, x={"fixed_charge": charge}).require_success().final
    return rest[..., 48].sum(-1)


charge = torch.linspace(-4, 4, 41, dtype=f64)
found = density(charge)
off = float((found - (4 + charge**2).sqrt()).abs().max())
a = torch.linspace(-2, 2, 41, dtype=f64)
b = a[:, None]
interaction = density(a + b) - density(a) - density(b) + density(0.0)
assert off < 1e-3
assert ((interaction * a * b)[(a * b).abs() > 1e-9] > 0).all()

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
left.plot(charge, found, color=GREY[0], linewidth=4, alpha=0.4, label="computed")
left.plot(charge, (4 + charge**2).sqrt(), color=INK, linestyle=DASHES[1], label=r"$\sqrt{4 + q^2}$")
left.set(
    title=f"Density of ions: predicted to {number(off)}",
    xlabel="fixed charge $q$",
    ylabel="$N = c_+ + c_-$",
)
left.legend(loc="upper center")
image = right.pcolormesh(
    a.numpy(), a.numpy(), interaction.numpy(), cmap=SIGNED_MAP, vmin=-1.2, vmax=1.2, rasterized=True
)
right.contour(
    a.numpy(),
    a.numpy(),
    interaction.numpy(),
    levels=[-0.6, -0.3, 0.3, 0.6],
    colors=INK,
    linewidths=0.6,
)
right.axhline(0, color=INK, linewidth=0.6)
right.axvline(0, color=INK, linewidth=0.6)
right.set(title="$I(a, b)$ has the sign of $ab$", xlabel="$a$", ylabel="$b$", aspect="equal")
figure.colorbar(image, ax=right)
plt.show()

# %%
# *Seen.* A saddle, positive where the signs agree and negative where they differ: an interaction,
# made by a cell without a single weight. The layer ``pf.fusion.PNP`` is many such cells side by
# side, with learned maps from features to charge; it reads potential, density and charge. You
# will train it in lesson 7.
#
# Your turn
# ---------
# **Exercise 1 (a number).** For which Debye length does the field *double* the speed at which the
# slowest wave of features (:math:`n = 1`, in a cell of length 1) is forgotten?
#
# **Exercise 2 (a function).** Write ``product(density, a, b)``, which tells :math:`ab` from only
# *two* readings of ``density`` (and nothing else), to 10 % for :math:`|a|, |b| \le 1/2`. You may
# read at any charge.


def check_1(debye_length):
    """Measure how fast that wave is forgotten, in units of its rate without the field."""
    if not (isinstance(debye_length, int | float | torch.Tensor) and debye_length > 0):
        print(f"Wanted is a number above 0, got {debye_length!r}.")
        return False
    left = share_left(debye_length, 1, torch.tensor([0, 0.02, 0.06], dtype=f64))
    rate = float((left[1] / left[2]).log()) / 0.04
    print(f"λ = {debye_length:.4f}: {rate / math.pi**2:.3f} times as fast; wanted is 2.")
    return abs(rate / math.pi**2 - 2) < 0.02


def check_2(product):
    """Ask for nine products, and count the readings."""
    right = True
    for a in (-0.5, 0.2, 0.4):
        for b in (-0.3, 0.1, 0.5):
            read = []

            def counted(charge, read=read):
                read.append(charge)
                return density(charge)

            told = float(product(counted, a, b))
            right = right and abs(told - a * b) < 0.1 * abs(a * b) and len(read) <= 2
    print(f"The last: {a} times {b} is {told:.4f} by {len(read)} readings; wanted is {a * b}.")
    return right


# %%
# Answers
# -------
# **1.** The rate is :math:`\pi^2 + 1/\lambda^2`; the field doubles it where :math:`\lambda =
# 1/\pi`.

answer_1 = 1 / math.pi
assert check_1(answer_1)

# %%
# **2.** From :math:`N \approx 2 + q^2/4` and :math:`(a+b)^2 - (a-b)^2 = 4ab`.


def answer_2(density, a, b):
    return density(a + b) - density(a - b)


assert check_2(answer_2)

# %%
# *Next:* :doc:`lesson_5_equilibrium_as_a_layer`, on layers that are a state of rest.
