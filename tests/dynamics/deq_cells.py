"""Deep-equilibrium cells, inputs for them, and what is measured of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import pnpfusion as pf
from tests.registry import f64


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=f64, generator=torch.Generator().manual_seed(seed))


def shuffled(law: pf.Dynamics, seed: int = 0) -> pf.Dynamics:
    """The law in float64 with every parameter drawn anew, those that begin at 0 or 1 too."""
    generator = torch.Generator().manual_seed(seed)
    law.double()
    with torch.no_grad():
        for parameter in law.parameters():
            drawn = torch.randn(parameter.shape, dtype=f64, generator=generator)
            parameter.copy_(drawn / max(1.0, math.sqrt(parameter.shape[-1] if drawn.ndim else 1)))
    return law


def jacobian(law: pf.Dynamics, z: Tensor, x: object) -> Tensor:
    """That of the cell at one state ``z`` (N + 1, d), as blocks (N + 1, d, N + 1, d)."""
    own = torch.eye(z.numel(), dtype=z.dtype).reshape(*z.shape, *z.shape)
    with torch.no_grad():
        rate = torch.func.jacrev(lambda v: law.rate(torch.zeros(()), v, x))(z)
    return rate + own


def random_masks(samples: int, number: int) -> Tensor:
    """Flags with at least one modality for each sample."""
    generator = torch.Generator().manual_seed(3)
    there = torch.rand(samples, number, generator=generator) < 0.5
    there[torch.arange(samples), torch.arange(samples) % number] = True
    return there


def block_norm(z: Tensor) -> Tensor:
    """The largest Euclidean norm of a block."""
    return z.norm(dim=-1).amax(-1)


def measured_contraction(law: pf.Dynamics, x: object, samples: int, seed: int = 0) -> float:
    """The largest quotient of distances after and before the cell, near and far, any direction."""
    with torch.no_grad():
        shape = (samples, *law.state_shape)
        worst = 0.0
        for size in (0.1, 1.0, 3.0):
            for step in (1e-4, 1e-1, 1.0):
                z = size * gaussian(*shape, seed=seed)
                other = z + step * gaussian(*shape, seed=seed + 1)
                change = other - z
                for _ in range(5):  # towards the direction that is stretched most
                    stretched = cell(law, z + change, x) - cell(law, z, x)
                    quotient = block_norm(stretched) / block_norm(change)
                    worst = max(worst, float(quotient.max()))
                    change = stretched / block_norm(stretched)[:, None, None] * step
        return worst


def cell(law: pf.Dynamics, z: Tensor, x: object) -> Tensor:
    return law.rate(torch.zeros(()), z, x) + z  # type: ignore[arg-type]
