r"""
Where a trained layer's particles go
====================================

Each modality, half of a handwritten digit, brings ions into the cells of a layer
(``pf.fusion.PNP(run="transient")``), put there by learned positive maps. In the field of all,

.. math:: \partial_t c_\pm = \partial_x D (\partial_x c_\pm \pm c_\pm\,\partial_x \phi), \qquad
          -\varepsilon\,\phi'' = c_+ - c_- ,

they migrate, and a linear head reads the end. Here is the channel in which classes differ most:
particles drawn from the mean of each, and the potential. Masses are kept to round-off.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, INK, WARM

torch.set_num_threads(1), torch.manual_seed(0)
data = pf.data.digits()
data = data.samples((data.target < 4).nonzero()[:, 0]).standardised()
both = pf.data.stratified(data.target, 0.3, torch.Generator().manual_seed(0))
learn, test = (data.samples(rows) for rows in both)
fuse = pf.fusion.PNP(data.dims, 16, run="transient", reading="end")
model = nn.Sequential(fuse, nn.Linear(16, 4)).double()
adam = torch.optim.Adam(model.parameters(), 5e-3)
for _ in range(150):
    part = learn.samples(torch.randint(len(learn), (64,)))
    loss = nn.functional.cross_entropy(model(part.modalities), part.target)
    adam.zero_grad(), loss.backward(), adam.step()
with torch.no_grad():
    share = float((model(test.modalities).argmax(1) == test.target).double().mean())
    run = fuse(test.modalities, return_info=True)[1].solution
    phi = fuse.dynamics.potential(run.final)
c, mass, x = run.final, run.states.sum(-1), fuse.cells.grid.coordinates(0)
means = torch.stack([c[test.target == k].mean(0) for k in range(4)])[test.target]
parts = (means - c.mean(0)).square().sum((0, 2, 3)) / (c - c.mean(0)).square().sum((0, 2, 3))
best, lost = int(parts.argmax()), float((mass[-1] / mass[0] - 1).abs().max())
print(f"{share:.3f} told right, {parts[best]:.3f} between classes, masses to {lost:.0e}")
assert lost < 1e-12 < 0.5 < parts[best]
assert share > 0.95
plt.style.use(pf.visualize.LIGHT)
figure, panels = plt.subplots(2, 4, figsize=(7.4, 4.0), layout="constrained", sharey="row")
figure.suptitle(f"{parts[best]:.0%} of the variance is between classes, {share:.1%} told right")
for k, (box, field) in enumerate(panels.T):
    one = test.target == k
    for ion, mark, color in ((0, "+", WARM[0]), (1, "_", COOL[0])):
        density = c[one, best, ion].mean(0)
        where = x[torch.multinomial(density, int(12 * density.sum()), replacement=True)]
        across, height = torch.rand(2, len(where))
        box.plot(where + (across - 0.5) / len(x), height, mark, color=color, ms=4)
    field.plot(x, phi[one, best].T, color=INK, lw=0.4, alpha=0.15)
    field.plot(x, phi[one, best].mean(0), color=INK)
    box.set(title=f"digit {k}", xticks=(), yticks=()), field.set_xlabel("position $x$  ($L$)")
panels[0, 0].set_ylabel("cations +, anions −")
panels[1, 0].set_ylabel(r"potential $\phi$  ($kT/e$)")
plt.show()
