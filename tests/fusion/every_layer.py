"""Every fusion layer of the registry, made, with features to fuse."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from tests.registry import ALL_LAYERS, f64

DIMS = {"audio": 5, "motion": 3, "video": 4}
OUT = 6
every_layer = pytest.mark.parametrize("name", ALL_LAYERS)


def make(name: str, *, seed: int = 0, dtype: torch.dtype = f64) -> pf.fusion.FusionLayer:
    """A layer with known parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ALL_LAYERS[name](DIMS, OUT).to(dtype)


@cache
def made(name: str) -> pf.fusion.FusionLayer:
    """The same, for tests that do not change it."""
    return make(name).requires_grad_(False)


def features(*shape: int, seed: int = 0, dtype: torch.dtype = f64) -> dict[str, Tensor]:
    """Normal features, (*shape, d)."""
    g = torch.Generator().manual_seed(seed)
    return {k: torch.randn(*shape, n, dtype=f64, generator=g).to(dtype) for k, n in DIMS.items()}


def rows(given: dict[str, Tensor], which: object) -> dict[str, Tensor]:
    """Some samples."""
    return {name: values[which] for name, values in given.items()}


def same(found: Tensor, wanted: Tensor, tolerance: float = 1e-12) -> None:
    """Equal to round-off."""
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def gradients(layer: pf.fusion.FusionLayer) -> dict[str, Tensor]:
    """What a backward pass left in the parameters."""
    return {k: p.grad.clone() for k, p in layer.named_parameters() if p.grad is not None}
