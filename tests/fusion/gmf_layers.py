"""GMF with known parameters, and features for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import pnpfusion as pf
from tests.registry import f64

DIMS = {"audio": 5, "motion": 3, "video": 4}
NAMES = [*DIMS]


def gmf(
    dims: dict[str, int] = DIMS, out_dim: int | None = None, **choices: object
) -> pf.fusion.GMF:
    """A float64 layer with known parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return pf.fusion.GMF(dims, out_dim, **choices).double()  # type: ignore[arg-type]


def features(dims: dict[str, int] = DIMS, batch: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """Normal features, float64."""
    generator = torch.Generator().manual_seed(seed)
    return {k: torch.randn(batch, n, dtype=f64, generator=generator) for k, n in dims.items()}


def parameters(layer: nn.Module) -> int:
    """How many numbers a layer learns."""
    return sum(p.numel() for p in layer.parameters())
