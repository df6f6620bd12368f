r"""
Lesson 8: An inverse problem
============================

**What do noisy measurements tell about what cannot be seen?**

So far we knew the cell and asked what the ions do. In a laboratory it is the other way round: one
sees the ions, badly, and wants to know the cell. Here a drop of salt spreads, and three numbers
are unknown: how fast either ion diffuses, :math:`D_+` and :math:`D_-`, and what charge :math:`q`
sits on a wall. A gradient through the simulation finds them; and a little statistics says how far
the answer can be trusted, which is worth more than the answer.

*You need:* lessons 3 and 7, and what a standard deviation is. *Source:* least squares and its
covariance are Gauss's.
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, FAINT, INK, WARM

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)
f64 = torch.float64

# %%
# 1. The experiment
# -----------------
# A drop of salt lies at 0.4 in a cell of length 1 with :math:`\varepsilon = 0.02`: the Debye length
# is 1/10 at concentration 1, and 0.22 in the thinner salt around the drop. The left wall is
# blocked for ions and carries the unknown charge; the right one is a reservoir. Nobody's eye is
# perfect: each of :math:`3 \times 2 \times 64` concentrations is measured with an error of standard
# deviation :math:`\sigma = 0.04`.
#
# .. math::
#     \frac{\partial c_\pm}{\partial t} = \frac{\partial}{\partial x} D_\pm\left(
#     \frac{\partial c_\pm}{\partial x} \pm c_\pm \frac{\partial\phi}{\partial x}\right),
#     \qquad -\varepsilon\frac{\partial^2\phi}{\partial x^2} = c_+ - c_- ,
#
# with no flux and :math:`-\varepsilon\,\partial\phi/\partial x = q` on the left, :math:`c_\pm =
# 0.2` and :math:`\phi = 0` on the right.
#
# *Predict.* What will betray the unknowns? The width of the drop betrays both :math:`D`, though
# mixed: the faster ion is held back by the field of the slower one (lesson 2). The charge of the
# wall must gather a cloud of the other sign there (lesson 3). We invent a truth, :math:`D_+ =
# 1.33`, :math:`D_- = 2.03`, :math:`q = -0.2` (sodium, chloride, and glass, whose charge is
# negative), and measure it.
#
# The data come from a run on a grid twice as fine, with smaller errors, than the fit will use:
# otherwise the fit would know the mistakes of its own data, and look too good. (This is called
# the *inverse crime*.) We measure sixteen times, each time with other noise, and look at the
# first.

TIMES, SIGMA = torch.tensor([0.0, 0.01, 0.03, 0.1], dtype=f64), 0.04
GUESS, TRUE = torch.tensor([[1.0, 1.0, 0.0], [1.33, 2.03, -0.2]], dtype=f64)


def profiles(p, cells=64, rtol=1e-3, times=TIMES):
    """Concentrations (times, *batch, species, cells) for p = (D₊, D₋, q), (*batch, 3)."""
    grid, salt = pf.Grid((cells,), (1.0,), ("wall",)), {"cation": 0.2, "anion": 0.2}
    ions = [pf.Species("cation", +1, p[..., 0]), pf.Species("anion", -1, p[..., 1])]
    walls = {"x-": pf.Wall(surface_charge=p[..., 2]), "x+": pf.Wall(0.0, concentration=salt)}
    cell = pf.PNP(grid, ions, permittivity=0.02, walls=walls)
    drop = 0.2 + torch.exp(-((10 * grid.coordinates(0) - 4) ** 2))
    start = drop.expand(*p.shape[:-1], 2, cells)
    return pf.simulate(cell, start, times, rtol=rtol).require_success().states[1:]


fine = profiles(TRUE.expand(16, 3), cells=128, rtol=1e-6).unflatten(-1, (64, 2)).mean(-1)
data = torch.normal(fine, SIGMA, generator=torch.Generator().manual_seed(0))

x = (torch.arange(64, dtype=f64) + 0.5) / 64
figure, axes = plt.subplots(1, 3, figsize=(7, 2.8), layout="constrained", sharey=True)
for k, axis in enumerate(axes):
    axis.plot(x, data[k, 0, 0], ".", color=WARM[0], markersize=4, label="cation")
    axis.plot(x, data[k, 0, 1], "x", color=COOL[0], markersize=3.5, label="anion")
    axis.set(title=f"$t$ = {TIMES[k + 1]:g}", xlabel="$x$  ($L$)")
axes[0].set_ylabel(r"concentration  ($c_\mathrm{ref}$)")
axes[0].legend(loc="upper right")
figure.suptitle("What was measured")
plt.show()
assert data[2, :, 0, :4].mean() > data[2, :, 1, :4].mean() + 0.2

# %%
# *Seen.* The anions are a little wider, and cations gather at the left wall. But how much wider,
# how many?
#
# 2. A valley of misfit
# ---------------------
# For any guess :math:`p` the simulation tells what *should* have been seen. If the noise is
# Gaussian, the probability of the data is largest where
#
# .. math:: \tfrac12\chi^2(p) = \sum \frac{(c(p) - d)^2}{2\sigma^2}
#
# is smallest. Before we let an optimiser go, let us see the landscape: 31 × 31 guesses of
# :math:`D_+` and :math:`D_-`, with the right :math:`q`, as one batch of 961 cells.
#
# *Predict.* At the truth each of the 384 squares is :math:`\sigma^2` on average, so
# :math:`\frac12\chi^2 \approx 192`, give or take 14. Around its bottom the valley is a bowl;
# where it has risen by 1/2, the data would be less likely by a factor :math:`\sqrt e`: that is
# one standard deviation. Is the bowl round or a long ditch? If more of one :math:`D` could be
# made up for by less of the other, it would be a ditch along a diagonal, and only their mean
# would be known. But cations and anions are seen apart, so we hope for a round one.

plus, minus = torch.linspace(1.1, 1.6, 31, dtype=f64), torch.linspace(1.7, 2.4, 31, dtype=f64)
guesses = torch.stack(
    [*torch.meshgrid(plus, minus, indexing="ij"), torch.full((31, 31), -0.2).double()], -1
)
misfit = ((profiles(guesses) - data[:, None, :1]) / SIGMA).square().sum((0, 3, 4)) / 2
bottom = misfit.min()
assert abs(float(bottom) - 192) < 4 * 14  # a sum of 384 such squares scatters by sqrt(384 / 2) = 14
low = (misfit < bottom + 2).nonzero().double()
tilt = float(torch.corrcoef(low.T)[0, 1])
assert abs(tilt) < 0.4

figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
levels = [float(bottom) + half for half in (0.5, 2.0, 4.5, 8.0, 12.5, 18.0)]
names = dict(zip(levels, ("1 σ", "2 σ", "3 σ", "4 σ", "5 σ", "6 σ"), strict=True))
lines = axis.contour(plus.numpy(), minus.numpy(), misfit.T.numpy(), levels=levels, colors=COOL[0])
axis.clabel(lines, fmt=names, fontsize=7)
axis.plot(*TRUE[:2], "*", color=WARM[0], markersize=12)
axis.annotate("truth", TRUE[:2], xytext=(8, 6), textcoords="offset points", color=WARM[0])
axis.set(title=f"The valley's bottom is at {float(bottom):.0f}, near the truth")
axis.set(xlabel="$D_+$", ylabel="$D_-$")
plt.show()

# %%
# *Seen.* A bowl, and nearly a round one: each ion tells its own :math:`D`. Its bottom is near the
# truth, not on it: that is the noise, and no fit can undo it.
#
# 3. Down the valley
# ------------------
# A landscape of two numbers can be drawn; one of three or of a thousand cannot, but its slope can
# be computed (lesson 7). ``LBFGS`` follows it from a poor first guess, (1, 1, 0). It searches for
# :math:`\ln D` and :math:`10\,q`, which may have any sign and are of like size. All sixteen
# experiments are fitted at once, as one batch.


def recover(data):
    """The fitted p, (batch, 3), of data (times, batch, species, cells)."""
    free = torch.zeros(data.shape[1], 3, dtype=data.dtype, requires_grad=True)  # p = GUESS

    def misfit():
        p = torch.cat([free[:, :2].exp(), free[:, 2:] / 10], 1)
        half = ((profiles(p) - data) / SIGMA).square().sum() / 2
        free.grad = torch.autograd.grad(half, free)[0]
        return half

    torch.optim.LBFGS([free], tolerance_grad=0.1, line_search_fn="strong_wolfe").step(misfit)
    return torch.cat([free[:, :2].exp(), free[:, 2:] / 10], 1).detach()


found = recover(data)
fit, guess = profiles(torch.stack([found[0], GUESS])).unbind(1)
figure, axes = plt.subplots(1, 3, figsize=(7, 2.8), layout="constrained", sharey=True)
for k, axis in enumerate(axes):
    for s, (color, name) in enumerate(((WARM[0], "cation"), (COOL[0], "anion"))):
        axis.plot(x, data[k, 0, s], ".", color=color, markersize=3, alpha=0.4)
        axis.plot(x, fit[k, s], color=color, linestyle=("-", "--")[s], label=f"{name}, fit")
    axis.plot(x, guess[k, 0], ":", color=FAINT, label="both, first guess")
    axis.set(title=f"$t$ = {TIMES[k + 1]:g}", xlabel="$x$  ($L$)")
axes[0].set_ylabel(r"concentration  ($c_\mathrm{ref}$)")
axes[0].legend(loc="upper right", fontsize=7)
told = "$D_+$ = {:.3f}, $D_-$ = {:.3f}, $q$ = {:.3f}".format(*found[0]).replace("-0", "−0")
figure.suptitle(f"Fitted: {told}")
plt.show()

# %%
# *Seen.* The lines run through the dots.
#
# 4. How sure are we?
# -------------------
# Close to the bottom the model is linear in :math:`p`, with slopes :math:`J = \partial c /
# \partial p`. Then Gauss says how noise in the data becomes noise in the answer: the covariance
# of :math:`p` is
#
# .. math:: \sigma^2 (J J^{\mathsf T})^{-1} \qquad (J \text{ has one row per parameter}),
#
# and *standard errors* are the roots of its diagonal. Slopes for three parameters need six more
# cells.
#
# *Predict.* If that is true, sixteen repetitions must scatter about the truth just so: about
# eleven of sixteen within one standard error, hardly any beyond three. It is the best test there
# is of an error bar, and rarely made, because it needs a solver that is quick.


def standard_errors(p, step=1e-3, sigma=SIGMA):
    """Of the answers p (batch, 3), likewise, by Gauss and Newton."""
    steps = step * torch.eye(3, dtype=p.dtype)
    ahead, behind = profiles(p[:, None] + torch.cat([steps, -steps])).chunk(2, dim=2)
    jacobian = ((ahead - behind) / (2 * step)).movedim(0, 2).flatten(2)  # (batch, 3, data)
    return sigma * torch.linalg.inv(jacobian @ jacobian.mT).diagonal(0, 1, 2).sqrt()


error = standard_errors(found)
ratio = found.std(0) / error.mean(0)
within = float(((found - TRUE).abs() < error).double().mean())
assert ((found - TRUE).abs() < 4 * error).all()
assert ((ratio - 1).abs() < 0.5).all()
assert 0.5 < within < 0.85

figure, axes = plt.subplots(1, 3, figsize=(7, 2.8), layout="constrained")
for k, (axis, name) in enumerate(zip(axes, ("$D_+$", "$D_-$", "$q$"), strict=True)):
    axis.axhline(float(TRUE[k]), color=WARM[1])
    axis.errorbar(range(1, 17), found[:, k], error[:, k], fmt="o", color=INK, markersize=3.5)
    axis.set(
        title=f"{name}: scatter / error = {ratio[k]:.2f}", xlabel="experiment", xticks=(1, 8, 16)
    )
figure.suptitle(f"{within:.0%} within one standard error of the truth (lines); 68% expected")
plt.show()
for name, one, bar, true in zip(("D₊", "D₋", "q"), found[0], error[0], TRUE, strict=True):
    print(f"{name} = {one:.3f} ± {bar:.3f}, in truth {true:g}")

# %%
# *Seen.* The bars are honest. You have measured the charge of a wall to a hundredth without
# touching it.
#
# Your turn
# ---------
# **Exercise 1 (a number).** :math:`D_+` came out to about 3 %. How good must the measurement be,
# that is how small :math:`\sigma`, to know it to 1 % (a standard error of 0.0133)?
#
# **Exercise 2 (a function).** You may measure only *once*, and want to know :math:`D_+` as well
# as you can, all else being known. When? ``error_at(t)`` tells the standard error of :math:`D_+`
# of a measurement at :math:`t`. Write ``best_time(error_at)``; look between 0.002 and 0.5. Its
# error must be within 1 % of the least possible.


def error_at(t):
    """The standard error of D₊ if all is measured at the time t alone, the rest being known."""
    change = torch.tensor([[5e-3, 0.0, 0.0], [-5e-3, 0.0, 0.0]], dtype=f64)
    times = torch.tensor([0, float(t)], dtype=f64)
    ahead, behind = profiles(TRUE + change, rtol=1e-5, times=times)[0]
    return SIGMA / float(((ahead - behind) / 1e-2).norm())


def check_1(sigma):
    """The standard error of D₊ in an experiment with that noise."""
    if not (isinstance(sigma, int | float | torch.Tensor) and sigma > 0):
        print(f"Wanted is a number above 0, got {sigma!r}.")
        return False
    error = float(standard_errors(TRUE[None], sigma=sigma)[0, 0])
    print(f"With σ = {sigma:.4f} the standard error is {error:.4f}; wanted is 0.0133.")
    return abs(error - 0.0133) < 2e-4


def check_2(best_time):
    """Compare with a hundred other times."""
    t = float(best_time(error_at))
    least = min(error_at(other) for other in torch.logspace(-2.7, -0.3, 100))
    print(f"At t = {t:.4f} the standard error is {error_at(t):.5f}; the least is {least:.5f}.")
    return error_at(t) < 1.01 * least


# %%
# Answers
# -------
# **1.** The covariance has :math:`\sigma^2` as a factor, so errors are proportional to
# :math:`\sigma`.

answer_1 = SIGMA * 0.0133 / float(standard_errors(TRUE[None])[0, 0])
assert check_1(answer_1)

# %%
# **2.** Too early nothing has moved yet; too late the drop is gone. A coarse look, then a finer
# one around the best:


def answer_2(error_at):
    times = torch.logspace(-2.7, -0.3, 20)
    best = int(torch.tensor([error_at(t) for t in times]).argmin())
    low, high = times[max(best - 1, 0)], times[min(best + 1, 19)]
    return min(torch.linspace(float(low), float(high), 20), key=error_at)


assert check_2(answer_2)

# %%
# This was the last lesson. You have met diffusion, drift, screening, features as charges,
# equilibrium, feedback and learning, which is all that pnpfusion is made of. The gallery shows
# what else can be done with them.
