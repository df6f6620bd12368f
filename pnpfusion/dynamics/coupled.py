"""Several laws as one: what drives each may depend on the states of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.at_rest import AtRest
from pnpfusion.dynamics.base import Dynamics
from pnpfusion.dynamics.input import Input
from pnpfusion.solvers.arguments import check_known
from pnpfusion.solvers.fixed_point.anderson import Anderson
from pnpfusion.solvers.fixed_point.base import FixedPointSolver, Tolerance, rms
from pnpfusion.solvers.fixed_point.gradient import Gradient, solve_fixed_point
from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.steppers.base import Law, Stepper
from pnpfusion.solvers.steppers.implicit import KenCarp4

#: The input of one law, from the states and the laws of all by name, and the input of the whole.
Coupling = Callable[[dict[str, Tensor], Mapping[str, Dynamics], Input], Input]


class Coupled(Dynamics):
    r"""Laws that drive each other, as one law of the joined state.

    .. math:: \dot u_k = f_k\bigl(t, u_k;\, x_k(u_1, \dots, u_n; x)\bigr).

    A feedback law sets the wall potentials of a cell, a cell's potential feeds a deep equilibrium:
    the verbs then run them together. A state is ``(*batch, n)``, all numbers of one law after those
    of another; :meth:`join` makes it, :meth:`split` takes it apart.

    Args:
        laws: by name.
        inputs: by name, what makes the input of that law: a function (or module) of the states by
            name, of the laws by name and of the input ``x`` of the whole, for instance
            ``lambda states, laws, x: laws["cell"].potential(states["cell"])``. A law without one
            gets no input.
        shapes: of one sample's state, for laws that do not know it.

    Raises:
        ValueError: no laws, an entry that is no law or no function, names that do not fit, or a law
            whose state's shape is not known.
    """

    state_ndim = 1

    def __init__(
        self,
        laws: Mapping[str, Dynamics],
        inputs: Mapping[str, Coupling] | None = None,
        *,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(laws, Mapping) or not laws:
            raise ValueError(f"`laws` must map names to laws, got {laws!r}.")
        inputs, shapes = dict(inputs or {}), dict(shapes or {})
        for name, law in laws.items():
            if not isinstance(law, Dynamics):
                raise ValueError(f"`laws[{name!r}]` must be a Dynamics, got {type(law).__name__}.")
        for what, given in (("inputs", inputs), ("shapes", shapes)):
            check_known(what, given, laws, "laws")
        for name, function in inputs.items():
            if not callable(function):
                raise ValueError(f"`inputs[{name!r}]` must be a function, got {function!r}.")
        self.laws, self.inputs = dict(laws), inputs
        for name, law in laws.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise ValueError(f"`laws` must have identifiers as names, got {name!r}.")
            self.add_module(f"law_{name}", law)
            driven_by = inputs.get(name)
            if isinstance(driven_by, nn.Module):
                self.add_module(f"input_of_{name}", driven_by)
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name, law in laws.items():
            shape = shapes.get(name, law.state_shape)
            if shape is None:
                raise ValueError(
                    f"`shapes[{name!r}]` is needed: {type(law).__name__} does not know the shape "
                    f"of a state."
                )
            if len(shape) != law.state_ndim:
                raise ValueError(
                    f"`shapes[{name!r}]` must have {law.state_ndim} axes, got {tuple(shape)}."
                )
            self.shapes[name] = tuple(shape)

    def join(self, states: Mapping[str, Tensor]) -> Tensor:
        """The joined state ``(*batch, n)`` of states by name, each ``(*batch, *state)``.

        Args:
            states: one for each law, by its name.

        Raises:
            ValueError: states of other laws than these, or of a wrong shape.
        """
        if sorted(states) != sorted(self.shapes):
            raise ValueError(f"`states` must name {[*self.shapes]}, got {[*states]}.")
        parts = []
        for name, shape in self.shapes.items():
            one = states[name]
            if tuple(one.shape[one.ndim - len(shape) :]) != shape:
                raise ValueError(f"`states[{name!r}]` must end in {shape}, got {tuple(one.shape)}.")
            parts.append(one.flatten(one.ndim - len(shape)))
        return torch.cat(parts, -1)

    def split(self, u: Tensor) -> dict[str, Tensor]:
        """The states by name of a joined state, or of many: ``(..., n)`` to ``(..., *state)``.

        Args:
            u: joined states.

        Returns:
            Each law's part, by its name.
        """
        parts = u.split([math.prod(shape) for shape in self.shapes.values()], -1)
        return {
            name: part.unflatten(-1, shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def inputs_at(self, states: Mapping[str, Tensor], x: Input = None) -> dict[str, Input]:
        """What each law is driven by when the states are ``states``.

        Args:
            states: each law's, by its name.
            x: the input of the whole.

        Returns:
            Each law's input, by its name.
        """
        return {
            name: self.inputs[name](dict(states), self.laws, x) if name in self.inputs else None
            for name in self.shapes
        }

    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        """The rates of all laws, joined like ``u``."""
        states = self.split(u)
        under = self.inputs_at(states, x)
        return self.join(
            {name: self.laws[name].rate(t, one, under[name]) for name, one in states.items()}
        )

    @property
    def state_shape(self) -> tuple[int, ...]:
        """See :attr:`Dynamics.state_shape`."""
        return (sum(math.prod(shape) for shape in self.shapes.values()),)

    @property
    def random(self) -> bool:
        """See :attr:`Dynamics.random`."""
        return any(self.laws[name].random for name in self.shapes)

    def check_state(self, name: str, u: Tensor, x: Input = None, t: float = 0.0) -> None:
        """Raise ValueError unless every law can start from its part of ``u``."""
        super().check_state(name, u, x, t)
        if u.shape[-1] != self.state_shape[0]:
            raise ValueError(
                f"`{name}` must be (*batch, {self.state_shape[0]}), the states of "
                f"{self.shapes} joined, got {tuple(u.shape)}; make it with `join`."
            )
        states = self.split(u.detach())
        with torch.no_grad():
            under = self.inputs_at(states, x)
        for part, one in states.items():
            self.laws[part].check_state(f"{name} of {part!r}", one, under[part], t)

    def conserved(self, u: Tensor) -> Tensor | None:
        """What each law conserves of ``u``, after one another, ``(*batch, K)``."""
        totals = [self.laws[name].conserved(one) for name, one in self.split(u).items()]
        kept = [total for total in totals if total is not None]
        return torch.cat(kept, -1) if kept else None

    def choose_stepper(
        self, law: Law, u0: Tensor, rtol: float | None, atol: float | None
    ) -> tuple[Stepper, str]:
        """See :meth:`Dynamics.choose_stepper`."""
        return KenCarp4(rtol=rtol, atol=atol), "since one of coupled laws may be stiff"

    def check_rest(self, u0: Tensor, x: Input) -> None:
        """See :meth:`Dynamics.check_rest`."""
        states = self.split(u0.detach())
        with torch.no_grad():
            under = self.inputs_at(states, x)
        for name, law in self.laws.items():
            law.check_rest(states[name], under[name])

    def solve_equilibrium(
        self,
        u0: Tensor,
        x: Input,
        tolerance: Tolerance | float,
        solver: FixedPointSolver | None = None,
        gradient: Gradient | None = None,
    ) -> AtRest:
        r"""See :meth:`Dynamics.solve_equilibrium`; each law by its own way, coupled by Anderson.

        With :math:`E_k(u; x_k)` the rest of law k under what the others tell it, a state of rest of
        all is a fixed point of :math:`u_k = E_k(x_k(u))`. However stiff a law is, what is iterated
        is the coupling alone. Where a law finds no rest of its own, there is none. A ``solver`` is
        for f(u) = 0 of the joined state instead.
        """
        if solver is not None or self.random:  # laws must draw their noise together
            return super().solve_equilibrium(u0, x, tolerance, solver, gradient)
        goal = Tolerance.of(tolerance)
        own = Tolerance(goal.relative / 10, goal.absolute / 10)
        totals, batch = self.split(u0), tuple(u0.shape[:-1])
        flat = u0.reshape(-1, *u0.shape[len(batch) :])

        def resting(u: Tensor, which: Tensor | None) -> Tensor:
            everybody = u
            if which is not None and len(which) < len(flat):
                everybody = flat.detach().index_copy(0, which, u)
            under = self.inputs_at(self.split(everybody.reshape(u0.shape)), x)
            parts = {}
            for name, law in self.laws.items():
                rest = law.solve_equilibrium(totals[name], under[name], own)
                answer = torch.where(per_state(rest.converged, rest.u), rest.u, torch.nan)
                parts[name] = answer.reshape(totals[name].shape)
            moved = self.join(parts).reshape(flat.shape) - everybody
            return moved if everybody is u else moved[which]

        method = Anderson(max_evaluations=100)
        found = solve_fixed_point(resting, flat, solver=method, tolerance=goal, gradient=gradient)
        with torch.no_grad():
            rate = self.rate(u0.new_zeros(batch), found.u.detach().reshape(u0.shape), x)
        rest = AtRest.of(found, f"each law by its own way, their coupling by {method!r}")
        return replace(rest, rates=rms(rate.reshape(flat.shape)))

    def extra_repr(self) -> str:
        """Who is driven by the others, for ``print(law)``."""
        return f"driven={[*self.inputs]}, shapes={self.shapes}"
