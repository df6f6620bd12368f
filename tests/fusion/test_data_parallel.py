"""Two processes with half a batch each learn what one learns from the whole."""

from __future__ import annotations

import copy
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from pnpfusion.fusion import FusionLayer
from pnpfusion.solvers import ConvergenceWarning
from tests.registry import ALL_LAYERS, f64

DIMS = {"audio": 5, "motion": 3, "video": 4}
EACH = 3  #: samples per process


def gradients(layer: torch.nn.Module, given: dict[str, Tensor], flags: Tensor) -> list[Tensor]:
    """Of the mean square of the answer and of the losses that draw nothing, where there are any."""
    layer.zero_grad()
    fused, info = layer(given, present={"motion": flags}, return_info=True)
    told = [info.losses[name] for name in ("reconstruction", "completion") if name in info.losses]
    loss = fused.square().mean() + sum(told)
    loss.backward()
    return [p.grad.clone() for p in layer.parameters()]


def compare(rank: int, store: str) -> None:
    """What each process does: all layers, two steps, against the whole batch on its own."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    generator = torch.Generator().manual_seed(0)
    given = {k: torch.randn(2 * EACH, n, dtype=f64, generator=generator) for k, n in DIMS.items()}
    flags = torch.arange(2 * EACH) != 1
    mine = slice(rank * EACH, (rank + 1) * EACH)
    for name, make in ALL_LAYERS.items():
        torch.manual_seed(0)
        layer: FusionLayer = make(DIMS, 6).double()
        parallel = torch.nn.parallel.DistributedDataParallel(copy.deepcopy(layer))
        half = {k: values[mine] for k, values in given.items()}
        wanted = gradients(layer, given, flags)
        assert all(g.any() for g in wanted), name
        for _ in range(2):
            found = gradients(parallel, half, flags[mine])
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12, msg=name)
        del parallel  # which holds on to the group
    distributed.barrier()
    distributed.destroy_process_group()


class Encoded(torch.nn.Module):
    """A layer behind an encoder for each modality, which may be much larger than it."""

    def __init__(self, layer: FusionLayer) -> None:
        super().__init__()
        self.encoders = torch.nn.ModuleDict(
            {
                name: torch.nn.Sequential(
                    torch.nn.Linear(n, 7), torch.nn.Tanh(), torch.nn.Linear(7, n)
                )
                for name, n in DIMS.items()
            }
        )
        self.layer = layer

    def forward(self, inputs: dict[str, Tensor], **settings: Any) -> Any:
        return self.layer({k: self.encoders[k](x) for k, x in inputs.items()}, **settings)


def compare_sharded(rank: int, store: str) -> None:
    """Encoders cut up by FSDP around a layer under DDP, against one process with the whole."""
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    warnings.simplefilter("error", ConvergenceWarning)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    mesh = distributed.device_mesh.init_device_mesh("cpu", (2,))
    generator = torch.Generator().manual_seed(0)
    given = {k: torch.randn(2 * EACH, n, dtype=f64, generator=generator) for k, n in DIMS.items()}
    flags = torch.arange(2 * EACH) != 1
    mine = slice(rank * EACH, (rank + 1) * EACH)
    half = {k: values[mine] for k, values in given.items()}
    for name, make in ALL_LAYERS.items():
        torch.manual_seed(2)  # every sample of every layer has an equilibrium
        model = Encoded(make(DIMS, 6)).double()
        wanted = gradients(model, given, flags)
        assert all(g.any() for g in wanted), name
        sizes = [p.numel() for p in model.encoders.parameters()]
        for encoder in model.encoders.values():
            fully_shard(encoder, mesh=mesh)
        held = [p.to_local().numel() for p in model.encoders.parameters()]
        assert sum(held) < 0.6 * sum(sizes), name
        model.layer = torch.nn.parallel.DistributedDataParallel(model.layer)
        for _ in range(2):
            found = gradients(model, half, flags[mine])
            whole = [g.full_tensor() if hasattr(g, "full_tensor") else g for g in found]
            torch.testing.assert_close(whole, wanted, rtol=1e-9, atol=1e-12, msg=name)
        del model  # which holds on to the group
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.parametrize("work", [compare, compare_sharded], ids=["DDP", "FSDP"])
@pytest.mark.slow
@pytest.mark.skipif(not distributed.is_available(), reason="torch was built without it")
def test_gradients_of_two_processes_are_those_of_one(
    work: Callable[[int, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if work is compare_sharded:
        fsdp = pytest.importorskip("torch.distributed.fsdp")
        if not hasattr(fsdp, "fully_shard"):
            pytest.skip("needs torch 2.6 or newer")
    if "lo" in [name for _, name in socket.if_nameindex()]:
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    store = (tmp_path / "store").as_uri()
    torch.multiprocessing.spawn(work, args=(store,), nprocs=2)
