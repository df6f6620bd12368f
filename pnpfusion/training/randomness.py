"""All that training draws, as functions of the seed, the epoch and the step.

Nothing is drawn from a stream that remembers: an interrupted run needs no generator's state to
go on, and what is drawn does not depend on how many processes share a batch.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def seed_of(*words: int | str) -> int:
    """A seed for what these words name, 63 bits."""
    named = hashlib.blake2b(repr(words).encode(), digest_size=8)
    return int.from_bytes(named.digest(), "big") >> 1


def drawn_by(*words: int | str) -> torch.Generator:
    """A generator for what these words name, on the CPU."""
    return torch.Generator().manual_seed(seed_of(*words))


def order(rows: Tensor, seed: int, epoch: int) -> Tensor:
    """The training samples in the order of an epoch."""
    return rows[torch.randperm(len(rows), generator=drawn_by("order", seed, epoch))]


def dropout(shape: tuple[int, ...], share: float, generator: torch.Generator) -> Tensor:
    """0 for a ``share`` of entries, 1 / (1 - share) for the others, float64."""
    kept = torch.rand(shape, generator=generator, dtype=torch.float64) >= share
    return kept / (1 - share)


def presence(
    names: tuple[str, ...], samples: int, share: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Which samples keep a modality that each loses with probability ``share``: bool (samples,).

    A sample that would lose all keeps one of them, each as likely.
    """
    kept = torch.rand(samples, len(names), generator=generator) >= share
    spared = torch.randint(len(names), (samples,), generator=generator)
    lost = ~kept.any(1)
    kept[lost.nonzero()[:, 0], spared[lost]] = True
    return dict(zip(names, kept.unbind(1), strict=True))
