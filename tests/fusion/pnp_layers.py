"""PNP layers, and features for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from tests.registry import f64

DIMS = {"audio": 3, "motion": 2}
OUT = 4
RUNS = ["equilibrium", "transient"]
every_run = pytest.mark.parametrize("run", RUNS)


def make(run: str, *, seed: int = 0, **more: object) -> pf.fusion.PNP:
    """A small layer with known parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        given = {"channels": 2, "cells": 8} | more
        return pf.fusion.PNP(DIMS, OUT, run=run, **given).to(f64)  # type: ignore[arg-type]


def features(rows: int = 3, seed: int = 0) -> dict[str, Tensor]:
    """Normal features."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(rows, d, dtype=f64, generator=generator) for name, d in DIMS.items()}
