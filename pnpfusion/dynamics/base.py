"""What a law of motion is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.at_rest import AtRest
from pnpfusion.dynamics.bound import DenselyBound, frozen_noise, rates_of_rows
from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.shell import Shell
from pnpfusion.ledger import Ledger
from pnpfusion.solvers.arguments import check_floats
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.field import is_finite
from pnpfusion.solvers.fixed_point.base import FixedPointSolver, Tolerance
from pnpfusion.solvers.fixed_point.gradient import Gradient, solve_fixed_point
from pnpfusion.solvers.fixed_point.newton_krylov import NewtonKrylov
from pnpfusion.solvers.steppers.base import Law, Stepper


class Dynamics(nn.Module, ABC):
    r"""A law of motion :math:`\dot u = f(t, u; x)`.

    A subclass writes :meth:`rate`, and :attr:`state_ndim` if a state has more than one axis. The
    verbs do the rest: :func:`pnpfusion.simulate` follows the law through time,
    :func:`pnpfusion.unroll` feeds the result back round by round, :func:`pnpfusion.equilibrium`
    finds where it stands still. What a law knows better than the generic code (its implicit solves,
    its ledger) it says by overriding :meth:`bind` and the optional methods below.

    In all of them ``u``, and ``u0`` where a run begins, are states, ``(*batch, *state)``, of the
    dtype and device of the run; ``t`` is the time; ``x`` is the input: a tensor, a mapping of
    tensors, or None.
    """

    state_ndim: int = 1  #: trailing axes of ``u`` that make up one sample's state

    @abstractmethod
    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        """f(t, u; x), like ``u``; ``t`` is a number or one per sample, ``(*batch,)``.

        It remembers nothing: steppers also call it at trial points that they throw away.
        """

    def check_state(self, name: str, u: Tensor, x: Input = None, t: float = 0.0) -> None:
        """Raise ValueError unless ``u`` is a state that this law can start from at ``t``.

        The message calls it ``name``, and says why it is none and what to do.
        """
        check_floats(name, u)
        if self.state_ndim < 1:
            raise ValueError(
                f"`state_ndim` of {type(self).__name__} must be >= 1, got {self.state_ndim}; a "
                f"number is a state of shape (1,)."
            )
        if u.ndim < self.state_ndim:
            raise ValueError(
                f"`{name}` must have at least {self.state_ndim} axes, got {tuple(u.shape)}"
                f" {Faq.WRONG_SHAPE}."
            )
        if not is_finite(u.detach()):
            raise ValueError(
                f"`{name}` must be finite, got NaN or infinity in it {Faq.BAD_NUMBERS}."
            )

    def bind(self, u0: Tensor, x: Input = None, t: float = 0.0) -> Law:
        """The law for one run from ``u0`` at ``t``, on a flat batch: what steppers see."""
        seed = int(torch.randint(2**62, ())) if self.random else None
        return _Bound(self, tuple(u0.shape[: u0.ndim - self.state_ndim]), x, seed)

    def bind_checked(self, name: str, u0: Tensor, x: Input = None, t: float = 0.0) -> Law:
        """:meth:`check_state`, in which ``u0`` is ``name``, and :meth:`bind`; maybe in one."""
        self.check_state(name, u0, x, t)
        return self.bind(u0, x, t)

    def choose_stepper(
        self, law: Law, u0: Tensor, rtol: float | None, atol: float | None
    ) -> tuple[Stepper, str]:
        """What `simulate` uses for ``law``, bound to ``u0``, if it is told no stepper, and why.

        Here for laws that are not stiff.

        Args:
            law: what :meth:`bind` returned.
            u0: see above.
            rtol: the relative tolerance asked for; None is the law's own.
            atol: the absolute one, likewise.

        Returns:
            A stepper, and why it is the one, for ``Solution.choice``.
        """
        from pnpfusion.solvers.steppers.odeint import Odeint

        rtol = 1e-6 if rtol is None else rtol
        stepper = Odeint("dopri5", rtol=rtol, atol=rtol / 100 if atol is None else atol)
        return stepper, "Odeint, explicit and adaptive, since nothing says that the law is stiff"

    def check_run(self, stepper: Stepper, u0: Tensor, times: Tensor, x: Input) -> None:
        """Warn where ``stepper`` does not suit the law; raise where the saved ``times`` do not."""

    def choose_solver(self, u0: Tensor, x: Input) -> tuple[FixedPointSolver, str]:
        """What `equilibrium` uses from ``u0`` if it is told no solver, and why it is the one."""
        return NewtonKrylov(), "which needs neither a contraction nor a scale"

    def solve_equilibrium(
        self,
        u0: Tensor,
        x: Input,
        tolerance: Tolerance | float,
        solver: FixedPointSolver | None = None,
        gradient: Gradient | None = None,
    ) -> AtRest:
        """A state of rest, looked for from ``u0``, with what the law conserves as it is there.

        Here by iterating f(u) = 0 on the shell of what is conserved (:class:`Shell`); a law that
        knows better overrides it. See :class:`FixedPointSolver` for the tolerance.

        Args:
            u0: see above.
            x: see above.
            tolerance: when a sample has converged; a number is the relative one.
            solver: None is what :meth:`choose_solver` says.
            gradient: how the backward pass is made; None is by the implicit function theorem.
        """
        solver, way = self.solver_and_why(u0, x, solver)
        shell = Shell.of(self.conserved, u0, u0.ndim - self.state_ndim)
        residual = shell.hold(rates_of_rows(self.bind(u0, x), shell.u0))
        found = solve_fixed_point(
            residual, shell.u0, solver=solver, tolerance=tolerance, gradient=gradient
        )
        return AtRest.of(found, way)

    def solver_and_why(
        self, u0: Tensor, x: Input, solver: FixedPointSolver | None
    ) -> tuple[FixedPointSolver, str]:
        """``solver``, or the law's own, and a word on the choice for ``Solution.choice``.

        Args:
            u0: the states a solve begins with.
            x: see above.
            solver: what was asked for; None is what :meth:`choose_solver` says.
        """
        if solver is not None:
            return solver, f"{solver!r}, as asked"
        solver, why = self.choose_solver(u0, x)
        return solver, f"{solver!r}, {why}"

    def check_rest(self, u0: Tensor, x: Input) -> None:
        """Raise ValueError where the law changes with time, so that it never rests.

        Here by asking for the rate at two times.
        """
        if self.random:
            return
        flat = u0.detach().reshape(-1, *u0.shape[u0.ndim - self.state_ndim :])
        law, start = self.bind(u0.detach(), x), flat.new_zeros(len(flat))
        with torch.no_grad():
            now, later = law.rate(start, flat), law.rate(start + 0.7310585786, flat)
        if not torch.allclose(now, later, rtol=1e-4, atol=1e-6, equal_nan=True):
            raise ValueError(
                f"{type(self).__name__} changes with time, so it has no equilibrium; ask for that "
                f"of a law that holds its time fixed {Faq.NOT_CONVERGED}."
            )

    def rows(self, x: Input, batch: tuple[int, ...], which: Tensor) -> Input:
        """``x`` of the samples ``which`` of a batch made flat, for laws that can run on a part.

        Then samples that have come to rest cost nothing more. None, as here, where the law itself
        holds one value per sample, or it is not known: :meth:`rate` is asked for all of them. See
        :func:`rows_of`.
        """
        return None

    @property
    def random(self) -> bool:
        """Whether :meth:`rate` draws random numbers.

        `unroll` draws them anew in every round; the other verbs once per run, so that the rate is a
        function.
        """
        return False

    @property
    def state_shape(self) -> tuple[int, ...] | None:
        """The shape of one sample's state, for laws that know it."""
        return None

    def conserved(self, u: Tensor) -> Tensor | None:
        """Linear invariants of the motion such as masses, ``(*batch, K)``; None without any."""
        return None

    def ledger(
        self, times: Tensor, states: Tensor, lowest: Tensor | None, x: Input = None
    ) -> Ledger | None:
        """The balance of a run (see :class:`pnpfusion.Ledger`), for laws that keep one.

        Args:
            times: saved times, ``(T,)``.
            states: those there, ``(T, *batch, *state)``.
            lowest: the smallest of what must stay positive since the time before, ``(T, *batch)``.
            x: see above.
        """
        return None

    def description(
        self, times: Tensor | None = None, batch: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        """The law as nested dicts and lists of numbers, strings, tensors and Fields, for a file.

        Functions of time become tables over ``times``, for samples of shape ``batch``.

        Args:
            times: at which functions of time are tabulated, ``(T,)``.
            batch: the batch axes of the run.

        Raises:
            ValueError: here; a law that can be saved overrides this method and
                :meth:`from_description`.
        """
        raise ValueError(f"{type(self).__name__} has no description, so no file can hold it.")

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Dynamics:
        """The law of a ``description``, the inverse of :meth:`description`.

        Raises:
            ValueError: here, see there.
        """
        raise ValueError(f"{cls.__name__} cannot be made from a description.")


@dataclass(frozen=True, eq=False)
class _Bound(DenselyBound):
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
        return None if x is None else _Bound(self.dynamics, (len(which),), x, None)
