"""What a law of motion is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pnpfusion.solvers.dense_newton import solve_implicit_dense
from pnpfusion.solvers.field import Field
from pnpfusion.solvers.implicit_solve import ImplicitSolve, Rest
from pnpfusion.solvers.steppers.base import Law, Stepper

if TYPE_CHECKING:
    from pnpfusion.ledger import Ledger

#: What a law is driven by: nothing, a tensor, or tensors by name.
Input = Tensor | Mapping[str, Tensor | Field | float] | None


class Dynamics(nn.Module, ABC):
    r"""A law of motion :math:`\dot u = f(t, u; x)`.

    A subclass writes :meth:`rate`, and :attr:`state_ndim` if a state has more than one axis. The
    verbs do the rest: :func:`pnpfusion.simulate` follows the law through time,
    :func:`pnpfusion.unroll` feeds the result back round by round, :func:`pnpfusion.equilibrium`
    finds where it stands still. What a law knows better than the generic code (its implicit solves,
    its ledger) it says by overriding :meth:`bind` and the optional methods below.
    """

    state_ndim: int = 1  #: trailing axes of ``u`` that make up one sample's state

    @abstractmethod
    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        """f(t, u; x), like ``u`` ``(*batch, *state)``; ``t`` is a number or one per sample.

        It remembers nothing: steppers also call it at trial points that they throw away.
        """

    def check_state(self, name: str, u: Tensor, x: Input = None, t: float = 0.0) -> None:
        """Raise ValueError unless ``u`` is a state that this law can start from at ``t``."""
        if not isinstance(u, Tensor):
            raise ValueError(f"`{name}` must be a torch.Tensor, got {type(u).__name__}.")
        if u.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"`{name}` must be float32 or float64, got {u.dtype}; e.g. {name}.double()."
            )
        if u.ndim < self.state_ndim:
            raise ValueError(
                f"`{name}` must have at least {self.state_ndim} axes, got {tuple(u.shape)}."
            )
        if not torch.isfinite(u.detach()).all():
            raise ValueError(f"`{name}` must be finite, got NaN or infinity in it.")

    def bind(self, u0: Tensor, x: Input = None, t: float = 0.0) -> Law:
        """The law for one run from ``t`` on, on a flat batch: what steppers see."""
        return _Bound(self, tuple(u0.shape[: u0.ndim - self.state_ndim]), x)

    def choose_stepper(
        self, u0: Tensor, x: Input, t: float, rtol: float | None, atol: float | None
    ) -> tuple[Stepper, str]:
        """What `simulate` uses if it is told no stepper, and why; here for laws not stiff."""
        from pnpfusion.solvers.steppers.odeint import Odeint

        rtol = 1e-6 if rtol is None else rtol
        stepper = Odeint("dopri5", rtol=rtol, atol=rtol / 100 if atol is None else atol)
        return stepper, "Odeint, explicit and adaptive, since nothing says that the law is stiff"

    def check_run(self, stepper: Stepper, u0: Tensor, times: Tensor, x: Input) -> None:
        """Warn where ``stepper`` does not suit the law; raise where ``times`` make no sense."""

    def solve_equilibrium(self, u0: Tensor, x: Input, tolerance: float) -> Rest:
        """The state of rest that ``u0`` leads to, on a flat batch, for laws that can find it.

        What the law conserves is as in ``u0``; the last correction is below ``tolerance``.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not know where it rests; `simulate` with an implicit "
            f"stepper to a long time ends there, e.g. times = torch.tensor([0.0, 100.0])."
        )

    def conserved(self, u: Tensor) -> Tensor | None:
        """Linear invariants of the motion such as masses, ``(*batch, K)``; None without any."""
        return None

    def ledger(
        self, times: Tensor, states: Tensor, lowest: Tensor | None, x: Input = None
    ) -> Ledger | None:
        """The balance of a run (see :class:`pnpfusion.Ledger`), for laws that keep one."""
        return None

    def description(
        self, times: Tensor | None = None, batch: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        """The law as nested dicts and lists of numbers, strings, tensors and Fields, for a file.

        Functions of time become tables over ``times``, for samples of shape ``batch``.
        """
        raise ValueError(f"{type(self).__name__} has no description, so no file can hold it.")

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Dynamics:
        """The law that :meth:`description` described."""
        raise ValueError(f"{cls.__name__} cannot be made from a description.")


@dataclass(frozen=True, eq=False)
class _Bound:
    """Any law on a flat batch; implicit steps by a dense Newton iteration."""

    dynamics: Dynamics
    batch: tuple[int, ...]
    x: Input

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        shaped = u.reshape(*self.batch, *u.shape[1:])
        return self.dynamics.rate(t.reshape(self.batch), shaped, self.x).reshape(u.shape)

    def solve_implicit(
        self, t: Tensor, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor
    ) -> ImplicitSolve:
        return solve_implicit_dense(lambda u: self.rate(t, u), base, step, guess, scale)

    def robust_step(self, t: Tensor, dt: Tensor, u: Tensor) -> None:
        return None

    def lowest(self, u: Tensor, sample: Tensor | None = None) -> None:
        return None
