r"""Fusion layers as front ends before a fusion of one's own, which lacks what they can do.

The label is the product of a sign from each modality, y = sign(u·a) sign(v·b). A fusion that is
linear in its encodings, like the concatenation here,

.. math:: \hat y = W [A a, B b, F(a, b)] + w,

is at chance without F, since no sum tells a product. Cells of electrolyte, in which both modalities
share one potential, form products; what F makes of a and b is one more entry of the list. ``GMF``
takes it the other way: ``GMF(dims, backend=own)`` hands its four parts to a layer of yours.
"""

import torch
from torch import nn

import pnpfusion as pf


class Own(nn.Module):
    def __init__(self, dims, front=None):
        super().__init__()
        self.front = front
        self.encoders = nn.ModuleDict({name: nn.Linear(d, 16) for name, d in dims.items()})
        self.head = nn.Linear(16 * len(dims) + (0 if front is None else front.out_dim), 2)

    def forward(self, x):
        parts = [encoder(x[name]) for name, encoder in self.encoders.items()]
        return self.head(torch.cat(parts if self.front is None else [*parts, self.front(x)], -1))


def accuracy(front, data, steps=300):
    model, generator = Own(data.dims, front), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        part = data.samples(torch.randint(3000, (128,), generator=generator))
        loss = nn.functional.cross_entropy(model(part.modalities), part.target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fresh = data.samples(slice(3000, None))
    return float((model(fresh.modalities).argmax(1) == fresh.target).float().mean())


torch.set_num_threads(1)  # on a busy machine more threads can be much slower
torch.manual_seed(0)
data = pf.data.interaction(4000, {"a": 8, "b": 8}, generator=torch.Generator().manual_seed(0))
alone, behind = accuracy(None, data), accuracy(pf.fusion.PNP(data.dims, 32), data)
print(f"own fusion alone {alone:.3f}, behind cells {behind:.3f}")
assert alone < 0.6 < 0.85 < behind
