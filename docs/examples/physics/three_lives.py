r"""
Three lives of a feature
========================

**Dissociation:** a signed embedding :math:`f` becomes cations where it is positive and anions where
it is negative, so that :math:`c_+ - c_- = f`. **Concentration:** electrodes draw them apart,

.. math:: \partial_t c_\pm = \partial_x(\partial_x c_\pm \pm c_\pm\,\partial_x\phi), \qquad
          -\varepsilon\,\partial_x^2\phi = c_+ - c_-,

and reading :math:`c_+ - c_-` where it stands then is wrong. **Reconstruction:** every ion is still
there and the law is known, so Gauss–Newton finds the :math:`f` that ends so. Stages as in [GMF].
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, FAINT, INK, WARM

plt.style.use(pf.visualize.LIGHT)
f64, n = torch.float64, 12
features = pf.fields.FeatureMap({"image": n}, pf.Grid((96,), (1.0,), ("wall",)))
walls = {"x-": pf.Wall(potential=2.0), "x+": pf.Wall(potential=-2.0)}
cell = pf.PNP(features.grid, features.species(), permittivity=2 * 0.1**2, walls=walls)


def run(f, *times):
    u0, times = features.fields({"image": f}), torch.tensor([0.0, *times], dtype=f64)
    return pf.simulate(cell, u0, times, rtol=1e-9).states


f = torch.randn(n, dtype=f64, generator=torch.Generator().manual_seed(3))
start, end, late = run(f, 0.002, 0.01)
guesses = [features.features(end)["image"]]
for _ in range(4):
    tried = run(torch.cat([guesses[-1][None], guesses[-1] + 1e-6 * torch.eye(n, dtype=f64)]), 2e-3)
    slopes = (tried[1, 1:] - tried[1, 0]).flatten(1).T / 1e-6
    guesses.append(guesses[-1] + torch.linalg.pinv(slopes) @ (end - tried[1, 0]).flatten())
apart = float((features.features(start)["image"] - f).abs().max())
errors = [float((guess - f).norm() / f.norm()) for guess in guesses]
print(f"apart at t = 0: {apart:.0e}; read {errors[0]:.0%} wrong, reconstructed {errors[-1]:.0e}")
assert apart < 1e-14 < errors[-1] < 1e-6 < 0.5 < errors[0]

figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(7.4, 5.0), layout="constrained")
for axes, ions, fill in ((a, start, True), (b, end, True), (b, late, False)):
    axes.stairs(ions[0], features.grid.faces(0), fill=fill, color=WARM[0])
    axes.stairs(-ions[1], features.grid.faces(0), fill=fill, color=COOL[0])
    axes.set(xlabel="position $x$  ($L$)", ylim=(-3.7, 4.2), ylabel=r"$c$  ($c_\mathrm{ref}$)")
a.legend(["cations", "anions, downwards"], loc="upper left", ncols=2)
a.set_title(f"1  Dissociation: $c_+ - c_- = f$ to {apart:.0e}")
b.set_title("2  Concentration: t = 0.002; lines: t = 0.01")
c.bar(range(n), f, color=FAINT, alpha=0.5, label="$f$")
c.plot(guesses[0], "X", color=WARM[0], label="read at t = 0.002")
c.plot(guesses[-1], "o", mfc="none", mew=1.4, color=INK, label="reconstructed")
c.set(xlabel="feature", ylim=(-1.7, 2.4), title=f"3  Reading is {errors[0]:.0%} wrong")
c.legend(ncols=3, loc="upper left", columnspacing=1, handletextpad=0.3)
d.semilogy(errors, "o-", color=INK)
d.set(xlabel="round", xticks=range(5), ylabel="error", title=f"4  Found to {errors[-1]:.0e}")
plt.show()
