"""Weights that are the same in every run."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def seeded() -> Iterator[None]:
    """The test draws from a seed of its own, and leaves the generator of others alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
