"""What a law of motion is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.at_rest import AtRest
from pnpfusion.dynamics.bound import BoundDynamics, Divisible
from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.shell import Shell
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.field import is_finite
from pnpfusion.solvers.fixed_point.base import FixedPointSolver, Tolerance
from pnpfusion.solvers.fixed_point.gradient import Gradient, solve_fixed_point
from pnpfusion.solvers.fixed_point.newton_krylov import NewtonKrylov
from pnpfusion.solvers.steppers.base import Law, Stepper

if TYPE_CHECKING:
    from pnpfusion.ledger import Ledger


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

        Args:
            t: the time, a number or one per sample, ``(*batch,)``.
            u: the states.
            x: the input, a tensor, a mapping of tensors, or None.
        """

    def check_state(self, name: str, u: Tensor, x: Input = None, t: float = 0.0) -> None:
        """Raise ValueError unless ``u`` is a state that this law can start from at ``t``.

        Args:
            name: what errors call the state.
            u: what should be a state.
            x: the input, a tensor, a mapping of tensors, or None.
            t: the time at which it should be one.

        Raises:
            ValueError: it is none; the message says why and what to do.
        """
        if not isinstance(u, Tensor):
            raise ValueError(
                f"`{name}` must be a torch.Tensor, got {type(u).__name__} {Faq.WRONG_SHAPE}."
            )
        if u.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"`{name}` must be float32 or float64, got {u.dtype}; e.g. {name}.double()"
                f" {Faq.WRONG_SHAPE}."
            )
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
        """The law for one run from ``t`` on, on a flat batch: what steppers see.

        Args:
            u0: states, ``(*batch, *state)``, whose batch, dtype and device the run has.
            x: the input, a tensor, a mapping of tensors, or None.
            t: when the run begins.
        """
        seed = int(torch.randint(2**62, ())) if self.random else None
        return BoundDynamics(self, tuple(u0.shape[: u0.ndim - self.state_ndim]), x, seed)

    def bind_checked(self, name: str, u0: Tensor, x: Input = None, t: float = 0.0) -> Law:
        """:meth:`bind` once :meth:`check_state` has passed; a law may do both in one.

        Args:
            name: what errors call the state.
            u0: states, ``(*batch, *state)``.
            x: the input, a tensor, a mapping of tensors, or None.
            t: when the run begins.

        Raises:
            ValueError: see :meth:`check_state`.
        """
        self.check_state(name, u0, x, t)
        return self.bind(u0, x, t)

    def choose_stepper(
        self, law: Law, u0: Tensor, rtol: float | None, atol: float | None
    ) -> tuple[Stepper, str]:
        """What `simulate` uses for ``law``, bound to ``u0``, if it is told no stepper, and why.

        Here for laws that are not stiff.

        Args:
            law: what :meth:`bind` returned.
            u0: the states a run begins with.
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
        """Warn where ``stepper`` does not suit the law; raise where ``times`` make no sense.

        Args:
            stepper: the one that will be used.
            u0: the states a run begins with.
            times: the saved times, ``(T,)``.
            x: the input, a tensor, a mapping of tensors, or None.
        """

    def choose_solver(self, u0: Tensor, x: Input) -> tuple[FixedPointSolver, str]:
        """What `equilibrium` uses if it is told no solver, and why.

        Args:
            u0: the states a solve begins with.
            x: the input, a tensor, a mapping of tensors, or None.

        Returns:
            A solver, and why it is the one.
        """
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
            u0: states, ``(*batch, *state)``.
            x: the input, a tensor, a mapping of tensors, or None.
            tolerance: when a sample has converged; a number is the relative one.
            solver: None is what :meth:`choose_solver` says.
            gradient: how the backward pass is made; None is by the implicit function theorem.
        """
        solver, way = self.solver_and_why(u0, x, solver)
        batch = tuple(u0.shape[: u0.ndim - self.state_ndim])
        flat = u0.reshape(-1, *u0.shape[len(batch) :])
        law, shell = self.bind(u0, x), Shell.of(self.conserved, u0, len(batch))
        start = torch.zeros(len(flat), dtype=u0.dtype, device=u0.device)

        def rate(u: Tensor, which: Tensor | None) -> Tensor:
            if which is None or len(which) == len(flat):
                return law.rate(start, u)
            part = law.part(which) if isinstance(law, Divisible) else None
            if part is not None:
                return part.rate(start[which], u)
            everybody = flat.detach().index_copy(0, which, u)
            return law.rate(start, everybody)[which]

        found = solve_fixed_point(
            shell.hold(rate), flat, solver=solver, tolerance=tolerance, gradient=gradient
        )
        return AtRest.of(found, way)

    def solver_and_why(
        self, u0: Tensor, x: Input, solver: FixedPointSolver | None
    ) -> tuple[FixedPointSolver, str]:
        """``solver``, or the law's own, and a word on the choice.

        Args:
            u0: the states a solve begins with.
            x: the input, a tensor, a mapping of tensors, or None.
            solver: what was asked for; None is what :meth:`choose_solver` says.

        Returns:
            The solver, and a sentence for ``Solution.choice``.
        """
        if solver is not None:
            return solver, f"{solver!r}, as asked"
        solver, why = self.choose_solver(u0, x)
        return solver, f"{solver!r}, {why}"

    def check_rest(self, u0: Tensor, x: Input) -> None:
        """Raise ValueError where the law changes with time, so that it never rests.

        Here by asking for the rate at two times.

        Args:
            u0: states, ``(*batch, *state)``.
            x: the input, a tensor, a mapping of tensors, or None.

        Raises:
            ValueError: its rate differs at two times.
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
        """Linear invariants of the motion such as masses, ``(*batch, K)``; None without any.

        Args:
            u: states, ``(*batch, *state)``.
        """
        return None

    def ledger(
        self, times: Tensor, states: Tensor, lowest: Tensor | None, x: Input = None
    ) -> Ledger | None:
        """The balance of a run (see :class:`pnpfusion.Ledger`), for laws that keep one.

        Args:
            times: saved times, ``(T,)``.
            states: those there, ``(T, *batch, *state)``.
            lowest: the smallest of what must stay positive since the time before, ``(T, *batch)``.
            x: the input, a tensor, a mapping of tensors, or None.
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
        """The law that :meth:`description` described.

        Args:
            description: what :meth:`description` returned.

        Raises:
            ValueError: here, see :meth:`description`.
        """
        raise ValueError(f"{cls.__name__} cannot be made from a description.")
