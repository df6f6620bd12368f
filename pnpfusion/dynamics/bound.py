"""Any law bound to one run: what steppers see of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from pnpfusion.dynamics.input import Input
from pnpfusion.solvers.dense_newton import solve_implicit_dense
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.implicit_solve import ImplicitSolve
from pnpfusion.solvers.steppers.base import Law

if TYPE_CHECKING:
    from pnpfusion.dynamics.base import Dynamics


@runtime_checkable
class Divisible(Protocol):
    """A bound law that can run on a part of its batch."""

    def part(self, which: Tensor) -> Law | None:
        """The law of the samples ``which``; None where it is only known for all."""


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


@dataclass(frozen=True, eq=False)
class BoundDynamics(DenselyBound):
    """Any law on a flat batch."""

    dynamics: Dynamics
    batch: tuple[int, ...]
    x: Input
    seed: int | None  #: of the random numbers of this run, the same at every call

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        shaped = u.reshape(*self.batch, *u.shape[1:])
        with frozen_noise(self.seed, u.device):
            rate = self.dynamics.rate(t.reshape(self.batch), shaped, self.x)
        if rate.shape != shaped.shape:
            raise ValueError(
                f"`rate` of {type(self.dynamics).__name__} must return the shape of the state, "
                f"{tuple(shaped.shape)}, got {tuple(rate.shape)} {Faq.WRONG_SHAPE}."
            )
        return rate.reshape(u.shape)

    def part(self, which: Tensor) -> Law | None:
        x = None if self.seed is not None else self.dynamics.rows(self.x, self.batch, which)
        return None if x is None else BoundDynamics(self.dynamics, (len(which),), x, None)


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
