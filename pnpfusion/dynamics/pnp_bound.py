"""A PNP cell bound to one run: what steppers see of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp_equilibrium import cell_at_rest
from pnpfusion.solvers.asymptotic_preserving import asymptotic_preserving_step
from pnpfusion.solvers.compiled_run import CompiledRun
from pnpfusion.solvers.convex_equilibrium import Rest
from pnpfusion.solvers.coupled_newton import solve_implicit
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Method, PlainSteps
from pnpfusion.solvers.steppers.base import ImplicitSolve


@dataclass(frozen=True, eq=False)
class BoundPNP:
    """A PNP cell on a flat batch."""

    build: Callable[[Tensor], Electrolyte]  #: the cell at times ``(B,)``
    cell: Electrolyte  #: the cell at time 0
    driven: bool  #: whether a condition at a wall is a function of time
    invariants: Tensor  #: what is conserved, in orthonormal rows, (K, S)

    def at(self, t: Tensor) -> Electrolyte:
        """The cell at the times ``t`` ``(B,)``."""
        return self.build(t) if self.driven else self.cell

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """See :class:`Law`."""
        return self.at(t).rate(u)

    def solve_implicit(
        self, t: Tensor, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor
    ) -> ImplicitSolve:
        """See :class:`Law`."""
        return solve_implicit(self.at(t), base, step, guess, scale)

    def robust_step(self, t: Tensor, dt: Tensor, u: Tensor) -> Tensor:
        """See :class:`Law`."""
        return asymptotic_preserving_step(self.at(t + dt), u, dt)

    def plain_steps(self, method: Method, times: Tensor) -> PlainSteps | None:
        """Steps by ``method`` in compiled code, where it knows this cell; else None."""
        return None if self.driven else CompiledRun.of(self.cell, method, times)

    def rest(self, u: Tensor, tolerance: float) -> Rest:
        """Where ``u`` comes to rest; see :func:`cell_at_rest`."""
        return cell_at_rest(self.cell, u, self.invariants, tolerance)

    def lowest(self, u: Tensor) -> Tensor:
        """See :class:`Law`; with crowding, the room that it leaves must stay positive too."""
        lowest = u.flatten(1).amin(1)
        room = self.cell.room(u)
        return lowest if room is None else torch.minimum(lowest, room.flatten(1).amin(1))
