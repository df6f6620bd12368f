r"""
A shared potential multiplies
=============================

Modalities of one number each, and the class :math:`y = [\kappa\,a\,b > \mathrm{median}]`. Maps from
features to fixed charge, and from the cells at rest to the answer, are linear. Coupled, both
modalities charge the same cells, and the potential is that of all charge together,

.. math:: -\varepsilon\,\phi'' = \rho_a + \rho_b - 2 c_0 \sinh\phi,

so that even functions of :math:`\phi`, which are read as well, hold products of a and b. With the
shared potential off each modality has cells of its own and the answer is f(a) + g(b). Of the four
corners of a rectangle no such sum has all four right, hence on average at most 3 of 4.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, SIGNED_MAP, WARM

torch.set_num_threads(1)
data = pf.data.interaction(3000, {"a": 1, "b": 1}, generator=torch.Generator().manual_seed(0))
learn, test = data.samples(slice(2000)), data.samples(slice(2000, None))
axis = torch.linspace(-2.5, 2.5, 81)
plane, x = {"a": axis.repeat(81)[:, None], "b": axis.repeat_interleave(81)[:, None]}, axis.numpy()


def train(coupled):  # the share of new samples told right, and the logit over the plane
    torch.manual_seed(0)
    fuse = pf.fusion.PNP(data.dims, 16, coupled=coupled, channels=4)
    model, generator = nn.Sequential(fuse, nn.Linear(16, 1)), torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(300):
        part = learn.samples(torch.randint(2000, (128,), generator=generator))
        told = model(part.modalities)[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(told, part.target.float())
        adam.zero_grad(), loss.backward(), adam.step()
    with torch.no_grad():
        right = (model(test.modalities)[:, 0] > 0) == test.target.bool()
        return float(right.float().mean()), model(plane).view(81, 81).numpy()


found = {"on": train(True), "off": train(False)}
print("potential on, off:", [round(share, 3) for share, _ in found.values()])
assert found["off"][0] < 0.75 < 0.95 < found["on"][0]
plt.style.use(pf.visualize.LIGHT)
_, panels = plt.subplots(1, 2, figsize=(7.4, 3.7), layout="constrained", sharey=True)
for ax, (name, (share, logit)) in zip(panels, found.items(), strict=True):
    ax.pcolormesh(x, x, logit.clip(-5, 5), cmap=SIGNED_MAP, vmin=-12, vmax=12)
    ax.contour(x, x, logit, [0.0], colors="k", linewidths=1)
    for k, mark, color in ((0, "o", COOL[2]), (1, "+", WARM[2])):
        points = (values[:300, 0][test.target[:300] == k] for values in test.modalities.values())
        ax.plot(*points, mark, color=color, ms=3.5, mfc="none", mew=0.8, label=test.class_names[k])
    ax.set(xlabel="feature a", xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal")
    ax.set_title(f"shared potential {name}: {share:.1%} right")
panels[0].set_ylabel("feature b"), panels[0].legend(loc="lower right", frameon=True)
plt.show()
