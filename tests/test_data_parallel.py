"""Two processes with half a batch each learn what one learns from the whole."""

from __future__ import annotations

import copy
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed

from pnpfusion.fusion import FusionLayer
from tests.registry import ALL_LAYERS, f64

DIMS = {"audio": 5, "motion": 3, "video": 4}
EACH = 3  #: samples per process


def gradients(layer: torch.nn.Module, given: dict[str, Tensor], flags: Tensor) -> list[Tensor]:
    """Of the mean square of the answer and of the reconstruction loss, where there is one."""
    layer.zero_grad()
    fused, info = layer(given, present={"motion": flags}, return_info=True)
    loss = fused.square().mean() + info.losses.get("reconstruction", 0)
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


@pytest.mark.slow
@pytest.mark.skipif(not distributed.is_available(), reason="torch was built without it")
def test_gradients_of_two_processes_are_those_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "lo" in [name for _, name in socket.if_nameindex()]:
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    store = (tmp_path / "store").as_uri()
    torch.multiprocessing.spawn(compare, args=(store,), nprocs=2)
