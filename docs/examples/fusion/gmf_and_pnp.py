r"""
GMF's stages in a simulated cell
================================

Generalized multimodal fusion [GMF] speaks of electrolysis: features dissociate, are concentrated
by a potential and exchange their invariant parts. All that is a change of order, at once and
complete. In a cell it is a motion. Features a and b of two modalities are ions in one cell, a's in
its left half, b's in its right, positive parts cations, negative ones anions:

.. math:: \partial_t c_i = \partial_x (\partial_x c_i + z_i c_i\,\partial_x \phi), \qquad
          -0.2\,\partial_x^2 \phi = \sum_i z_i c_i, \qquad \phi(0) = 4,\ \phi(2) = -4 .

Cations of both end right, anions left: no exchange, but invariant beside specific parts, as GMF
with a back end hands on. It takes time and leaves some behind, since ions diffuse. Masses hold to
round-off. And b's ions displace some of a's, by the potential that they share; in GMF they cannot.
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import looks

a, b = torch.randn(2, 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
grid = pf.Grid((64,), (2.0,), ("wall",))
ions = pf.fields.FeatureMap({"a": 16, "b": 16}, grid, background=0.0)
walls = {"x-": pf.Wall(potential=4.0), "x+": pf.Wall(potential=-4.0)}
cell = pf.PNP(grid, ions.species(), permittivity=0.2, walls=walls)


def electrolyse(a, b):
    c0 = ions.fields({"a": torch.cat([a, 0 * a], -1), "b": torch.cat([0 * b, b], -1)})
    times = torch.linspace(0, 1, 101, dtype=torch.float64)
    return pf.simulate(cell, c0, times, rtol=1e-6).require_success()


run, alone = electrolyse(a, b), electrolyse(a, 0 * b)
mass, right = run.states.sum(-1)[:, 0], run.states[:, 0, :, 32:].sum(-1)
share, lost = right / mass, float((mass / mass[0] - 1).abs().max())
moved = (run.states - alone.states)[:, 0, :2].abs().sum((-2, -1)) / mass[:, :2].sum(-1) / 2
plt.style.use(pf.visualize.LIGHT)
_, (left, profile) = plt.subplots(1, 2, figsize=(7.4, 3.4), layout="constrained")
for k, (name, look) in enumerate(looks(cell.species).items()):
    left.plot(run.times, 100 * share[:, k], color=look.color, ls=look.dashes, label=name)
    profile.plot(grid.coordinates(0), run.states[-1, 0, k], color=look.color, ls=look.dashes)
left.set(xlabel="time $t$  ($L^2/D$)", ylabel="in the right half, %", ylim=(-3, 103))
left.set_title(f"{share[-1, 0]:.0%} of a's cations cross, {share[-1, 1]:.0%} of its anions")
left.legend(loc="center right")
profile.set(
    xlabel="position $x$  ($L$)",
    ylabel="$c$ at the end  ($c_\\mathrm{ref}$)",
    yscale="log",
    ylim=(1e-3, None),
)
profile.set_title(f"No mass is lost ({lost:.0e}); b displaces {moved.max():.1%} of a")
print(f"crossed {share[-1].tolist()}, mass to {lost:.1e}, displaced {float(moved.max()):.3f}")
assert min(share[-1, ::2]) > 0.9 > 0.1 > max(share[-1, 1::2])
assert lost < 1e-12
assert 0.02 < moved.max() < 0.2
plt.show()
