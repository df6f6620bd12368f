"""What laws bound to one run have in common, of which steppers and solvers see no more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pnpfusion.solvers.dense_newton import solve_implicit_dense
from pnpfusion.solvers.fixed_point.base import Residual
from pnpfusion.solvers.implicit_solve import ImplicitSolve
from pnpfusion.solvers.steppers.base import Law


class DenselyBound(ABC):
    """A bound law of which only the rate is known: implicit steps by a dense Newton iteration."""

    @abstractmethod
    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """See :class:`Law`."""

    def solve_implicit(
        self, t: Tensor, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor
    ) -> ImplicitSolve:
        return solve_implicit_dense(lambda u: self.rate(t, u), base, step, guess, scale)

    def robust_step(self, t: Tensor, dt: Tensor, u: Tensor) -> None:
        return None

    def lowest(self, u: Tensor, sample: Tensor | None = None) -> None:
        return None


@runtime_checkable
class Divisible(Protocol):
    """A bound law that can run on a part of its batch."""

    def part(self, which: Tensor) -> Law | None:
        """The law of the samples ``which``; None where it is only known for all."""


def rates_of_rows(law: Law, u0: Tensor) -> Residual:
    """f(u) at time 0 of some rows of a batch that begins at ``u0`` ``(B, *state)``."""
    start = torch.zeros(len(u0), dtype=u0.dtype, device=u0.device)

    def rate(u: Tensor, which: Tensor | None) -> Tensor:
        if which is None or len(which) == len(u0):
            return law.rate(start, u)
        part = law.part(which) if isinstance(law, Divisible) else None
        if part is not None:
            return part.rate(start[which], u)
        everybody = u0.detach().index_copy(0, which, u)
        return law.rate(start, everybody)[which]

    return rate


@contextmanager
def frozen_noise(seed: int | None, device: torch.device) -> Iterator[None]:
    """Random numbers as ``seed`` gives them; afterwards as if nothing had been drawn."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # manual_seed would seed other devices for good
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
