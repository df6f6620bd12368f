r"""
A front end for a fusion of your own
====================================

The class is whether a product of modalities is above its median, :math:`(u \cdot a)(v \cdot b)`.
A fusion that is linear in its encodings, like the concatenation here,

.. math:: \hat y = W [A a, B b, F(a, b)] + w,

is at chance without F, since no sum tells a product. Cells of electrolyte, in which both modalities
share one potential, form products; what F makes of a and b is one more entry of the list. ``GMF``
takes it the other way: ``GMF(dims, backend=own)`` hands its parts to a layer of yours.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, WARM


class Own(nn.Module):
    def __init__(self, dims, front=None):
        super().__init__()
        self.front = front
        self.encoders = nn.ModuleDict({name: nn.Linear(d, 16) for name, d in dims.items()})
        self.head = nn.Linear(16 * len(dims) + (0 if front is None else front.out_dim), 2)

    def forward(self, x):
        parts = [encoder(x[name]) for name, encoder in self.encoders.items()]
        return self.head(torch.cat(parts if self.front is None else [*parts, self.front(x)], -1))


def accuracies(front, data):
    model, generator = Own(data.dims, front), torch.Generator().manual_seed(0)
    adam, shares = torch.optim.Adam(model.parameters(), 1e-2), []
    fresh = data.samples(slice(3000, None))
    for step in range(300):
        part = data.samples(torch.randint(3000, (128,), generator=generator))
        loss = nn.functional.cross_entropy(model(part.modalities), part.target)
        adam.zero_grad(), loss.backward(), adam.step()
        if step % 20 == 19:
            shares.append(float((model(fresh.modalities).argmax(1) == fresh.target).float().mean()))
    return shares


torch.set_num_threads(1), torch.manual_seed(0)
data = pf.data.interaction(4000, {"a": 8, "b": 8}, generator=torch.Generator().manual_seed(0))
alone, behind = accuracies(None, data), accuracies(pf.fusion.PNP(data.dims, 32), data)
print(f"own fusion alone {alone[-1]:.3f}, behind cells {behind[-1]:.3f}")
assert alone[-1] < 0.6 < 0.85 < behind[-1]
plt.style.use(pf.visualize.LIGHT)
_, axes = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
axes.plot(range(20, 301, 20), behind, color=WARM[0], label="own fusion behind cells")
axes.plot(range(20, 301, 20), alone, "--", color=COOL[0], label="own fusion alone")
axes.set(xlabel="step of training", ylabel="accuracy on new samples", ylim=(0.4, 1))
axes.set_title(f"Alone {alone[-1]:.2f}, which is chance; behind cells {behind[-1]:.2f}")
axes.legend(loc="center right")
plt.show()
