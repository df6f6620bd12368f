r"""One model learns from one batch in any number of processes.

Process k of n takes every n-th of the B samples of a batch, and gradients are averaged,

.. math:: g = \frac1n \sum_k \nabla \frac{n}{B} \sum_{i \bmod n = k} \ell_i
            = \nabla \frac1B \sum_i \ell_i,

which is the gradient of the whole batch. The encoders, which may be large, are cut up among the
processes (FSDP); the fusion layer and the head are small and stand in each (DDP). Both halves of
handwritten digits are fused by cells at rest.

    python docs/examples/data_parallel.py
    torchrun --standalone --nproc-per-node 2 docs/examples/data_parallel.py
"""

import argparse
import os
from pathlib import Path

import torch
from torch import distributed, nn

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, new_figure, styled

BATCH, EPOCHS = 120, 4  # the batch is one for 1, 2, 3, 4, 5, 6 or 8 processes


class Model(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.encoders = nn.ModuleDict(
            {k: nn.Sequential(nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, 16)) for k, d in dims}
        )
        self.rest = nn.Sequential(pf.fusion.PNP({k: 16 for k, _ in dims}, 32), nn.Linear(32, 10))

    def forward(self, halves):
        return self.rest({k: encoder(halves[k]) for k, encoder in self.encoders.items()})


def share_out(model):
    from torch.distributed.fsdp import fully_shard  # torch 2.6 or newer

    mesh = distributed.device_mesh.init_device_mesh("cpu", (distributed.get_world_size(),))
    for encoder in model.encoders.values():
        fully_shard(encoder, mesh=mesh)
    model.rest = nn.parallel.DistributedDataParallel(model.rest)


def train(rank, size):
    torch.manual_seed(0)  # the same model and the same batches in every process
    data = pf.data.digits().standardised()
    model = Model(data.dims.items()).double()
    if size > 1:
        share_out(model)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3, foreach=False)  # tensors of two kinds
    losses = []
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(data)).split(BATCH)[:-1]:  # the last one is shorter
            part = data.samples(batch[rank::size])
            loss = nn.functional.cross_entropy(model(part.modalities), part.target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
    return torch.stack(losses) / size  # our share of each


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One model learns in many processes.")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the picture")
    out = parser.parse_args().out
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        losses = train(rank, size)
    else:
        distributed.init_process_group("gloo")
        distributed.all_reduce(losses := train(rank, size))
        distributed.destroy_process_group()
    if rank == 0:
        print(f"loss of the first batch {losses[0]:.9f}, of the last {losses[-1]:.9f}")
        out.mkdir(parents=True, exist_ok=True)
        with styled():
            figure = new_figure(5.2, 3.2, "The loss of a batch, whoever computes it")
            words = {"xlabel": "step", "ylabel": "cross entropy"}
            figure.subplots(subplot_kw=words).semilogy(losses, color=COOL[0])
            figure.savefig(out / "data_parallel.png")
    assert losses[-1] < 0.1 * losses[0]
