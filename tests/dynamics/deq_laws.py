"""Deep equilibrium laws that contract, and their equilibria."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.dynamics.deq_law import DEQLaw
from tests.dynamics.deq_cells import gaussian
from tests.registry import contract

N, D = 3, 32


def paper(seed: int = 0, number: int = N, width: int = D) -> pf.DEQ:
    """The paper's cell, contracting."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return contract(pf.DEQ(number, width).double())


def contractive(seed: int = 0, number: int = N, width: int = 16) -> pf.ContractiveDEQ:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return pf.ContractiveDEQ(number, width).double()


LAWS: dict[str, Callable[..., DEQLaw]] = {"paper": paper, "contractive": contractive}
each_law = pytest.mark.parametrize("make", LAWS.values(), ids=LAWS)


def features(law: DEQLaw, samples: int = 4, seed: int = 1) -> Tensor:
    return gaussian(samples, law.modalities, law.width, seed=seed)


def zeros(law: DEQLaw, x: Tensor) -> Tensor:
    return x.new_zeros(len(x), *law.state_shape)


def rest(law: DEQLaw, x: object, **options: object) -> pf.Solution:
    features = x["features"] if isinstance(x, dict) else x
    options = {"tol": 1e-12, **options}
    return pf.equilibrium(law, zeros(law, features), x=x, **options)  # type: ignore[arg-type]


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).detach().norm() / wanted.detach().norm())
