r"""
One model, any number of processes
==================================

Process k of n takes every n-th of the B samples of a batch, and gradients are averaged,

.. math:: g = \frac1n \sum_k \nabla \frac{n}{B} \sum_{i \bmod n = k} \ell_i
            = \nabla \frac1B \sum_i \ell_i,

the gradient of the whole batch. Encoders, which may be large, are cut up among the processes
(FSDP); the fusion layer and the head, which are small, stand in each (DDP)::

    python docs/examples/in_your_code/data_parallel.py
    torchrun --standalone --nproc-per-node 2 docs/examples/in_your_code/data_parallel.py
"""

import os

import matplotlib.pyplot as plt
import torch
from torch import distributed, nn

import pnpfusion as pf
from pnpfusion.visualize.style import COOL

rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
torch.set_num_threads(1), torch.manual_seed(0)  # one model, and the same batches everywhere
data = pf.data.digits().standardised()
encoders = nn.ModuleDict(
    {k: nn.Sequential(nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, 16)) for k, d in data.dims.items()}
).double()
rest = nn.Sequential(pf.fusion.PNP(dict.fromkeys(data.dims, 16), 32), nn.Linear(32, 10)).double()
if size > 1:
    from torch.distributed.fsdp import fully_shard  # torch 2.6 or newer

    distributed.init_process_group("gloo")
    for encoder in encoders.values():
        fully_shard(encoder, mesh=distributed.device_mesh.init_device_mesh("cpu", (size,)))
    rest = nn.parallel.DistributedDataParallel(rest)
adam = torch.optim.Adam([*encoders.parameters(), *rest.parameters()], 5e-3, foreach=False)
losses = []
for batch in torch.stack([torch.randperm(len(data))[:1680] for _ in range(4)]).view(-1, 120):
    part = data.samples(batch[rank::size])  # 120 are shared evenly by 2, 3, 4, 5, 6 or 8
    told = rest({k: encoder(part.modalities[k]) for k, encoder in encoders.items()})
    loss = nn.functional.cross_entropy(told, part.target)
    adam.zero_grad(), loss.backward(), adam.step()
    losses.append(loss.detach() / size)
losses = torch.stack(losses)
if size > 1:
    distributed.all_reduce(losses)
    distributed.destroy_process_group()
assert losses[-1] < 0.1 * losses[0]
if rank == 0:
    print(f"loss of the first batch {losses[0]:.9f}, of the last {losses[-1]:.9f}")
    plt.style.use(pf.visualize.LIGHT)
    _, axes = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
    axes.semilogy(losses, color=COOL[0])
    axes.set(xlabel="step of training", ylabel="cross entropy")
    axes.set_title(f"The loss of a batch, whoever computes it: {losses[-1]:.2f} at last")
    plt.show()
