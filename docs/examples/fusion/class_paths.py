r"""
Classes find their places while a layer learns
==============================================

Left and right halves of the handwritten digits 0 to 4 are fused by cells of electrolyte at rest to
two numbers F, from which a linear head tells which it is, :math:`\hat y = W F(x_l, x_r) + w`.

The movie shows that plane for digits that are not learned from: dots are samples, lines the paths
of the class means since training began. The means begin within half a deviation of the dots of one
class and drift apart to more than two of them; at the end at least 95 % are told right.
"""

import matplotlib.pyplot as plt
import torch
from matplotlib.animation import FuncAnimation
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import LINES

torch.set_num_threads(1), torch.manual_seed(0), plt.style.use(pf.visualize.LIGHT)
data = pf.data.digits()
data = data.samples((data.target < 5).nonzero()[:, 0]).standardised()
both = pf.data.stratified(data.target, 0.3, torch.Generator().manual_seed(0))
learn, test = (data.samples(rows) for rows in both)
fuse, head = pf.fusion.PNP(data.dims, 2).double(), nn.Linear(2, 5).double()
adam = torch.optim.Adam([*fuse.parameters(), *head.parameters()], 5e-3)
planes, shares = [], []
for step in range(289):
    if step % 6 == 0:
        planes.append(fuse(test.modalities).detach())
        shares.append(float((head(planes[-1]).argmax(1) == test.target).double().mean()))
    part = learn.samples(torch.randint(len(learn), (64,)))
    loss = nn.functional.cross_entropy(head(fuse(part.modalities)), part.target)
    adam.zero_grad(), loss.backward(), adam.step()
planes = torch.stack(planes)
means = torch.stack([planes[:, test.target == k].mean(1) for k in range(5)])
inside = torch.stack([planes[:, test.target == k].var(1).sum(-1) for k in range(5)]).mean(0)
apart = (means.var(0).sum(-1) / inside).sqrt()  # in standard deviations of one class
print(f"told right: {shares[0]:.3f} to {shares[-1]:.3f}, apart: {apart[0]:.2f} to {apart[-1]:.2f}")
assert shares[0] < 0.95 <= shares[-1]
assert apart[0] < 0.5 < 2 < apart[-1]
figure, ax = plt.subplots(figsize=(5.8, 4.8), dpi=110, layout="constrained")
dots = [ax.plot([], [], "os^Dv"[k], c=LINES[k], ms=3, alpha=0.5, mew=0)[0] for k in range(5)]
looks = [{"c": LINES[k], "marker": "os^Dv"[k], "label": f"digit {k}"} for k in range(5)]
lines = [ax.plot(0, 0, lw=2, markevery=[-1], **looks[k])[0] for k in range(5)]
size = 1.15 * float(planes[-1].abs().max())
ax.set(xlim=(-size, size), ylim=(-size, size), xlabel="fused number 1", ylabel="fused number 2")
ax.legend(loc="upper right")


def draw(frame):
    for k in range(5):
        dots[k].set_data(*planes[frame, test.target == k].T)
        lines[k].set_data(*means[k, : frame + 1].T)
    ax.set_title(f"step {6 * frame}: {shares[frame]:.1%} of new digits told right")


movie = FuncAnimation(figure, draw, frames=[*range(49), *[48] * 10], interval=120)
plt.show()
