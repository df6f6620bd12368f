"""A PNP cell bound to one run: what steppers see of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp_equilibrium import cell_at_rest
from pnpfusion.solvers import chebyshev_newton, coupled_newton
from pnpfusion.solvers.cell import Cell
from pnpfusion.solvers.chebyshev_electrolyte import ChebyshevElectrolyte
from pnpfusion.solvers.compiled_implicit import CompiledImplicit
from pnpfusion.solvers.compiled_semi_implicit import CompiledSemiImplicit, semi_implicit_step
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.implicit_solve import ImplicitSolve, Rest
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Method, PlainSteps, Schedule
from pnpfusion.solvers.spectral import SpectralElectrolyte
from pnpfusion.solvers.steppers.base import Semilinear


@dataclass(frozen=True, eq=False)
class BoundPNP:
    """A PNP cell on a flat batch, whichever its discretisation."""

    grid: Grid
    build: Callable[[Tensor], Cell]  #: the cell at times ``(B,)``
    cell: Cell  #: the cell when the run begins
    driven: bool  #: whether a condition at a wall is a function of time
    invariants: Tensor  #: what is conserved at rest, in orthonormal rows, (K, S)

    def at(self, t: Tensor) -> Cell:
        """The cell at the times ``t`` ``(B,)``."""
        return self.build(t) if self.driven else self.cell

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """See :class:`Law`."""
        return self.at(t).rate(u)

    def solve_implicit(
        self, t: Tensor, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor
    ) -> ImplicitSolve:
        """See :class:`Law`."""
        cell = self.at(t)
        if isinstance(cell, SpectralElectrolyte):
            raise ValueError(
                "cells in series have no implicit steps, which would couple all modes; use an "
                "exponential stepper, e.g. ETDRK4(dt=...), or a finite-volume scheme."
            )
        if isinstance(cell, ChebyshevElectrolyte):
            return chebyshev_newton.solve_implicit(cell, base, step, guess, scale)
        return coupled_newton.solve_implicit(cast(Electrolyte, cell), base, step, guess, scale)

    def semilinear(self, u0: Tensor) -> Semilinear | None:
        """See :class:`SemilinearLaw`; only series have a linear part that is known in full."""
        cell = self.cell
        return cell.semilinear(u0) if isinstance(cell, SpectralElectrolyte) else None

    def robust_step(self, t: Tensor, dt: Tensor, u: Tensor) -> Tensor | None:
        """See :class:`Law`; spectral cells have none."""
        cell = self.at(t + dt)
        return semi_implicit_step(cell, u, dt) if isinstance(cell, Electrolyte) else None

    def plain_steps(self, method: Method, times: Tensor) -> PlainSteps | None:
        """Steps by ``method`` in compiled code, where it knows this cell; else None."""
        if self.driven or not isinstance(self.cell, Electrolyte):
            return None
        return CompiledImplicit.of(self.cell, method, times)

    def semi_implicit_steps(self, schedule: Schedule) -> PlainSteps | None:
        """Robust steps in compiled code, where it knows this cell; else None."""
        if self.driven or not isinstance(self.cell, Electrolyte):
            return None
        return CompiledSemiImplicit.of(self.cell, schedule)

    def rest(self, u: Tensor, tolerance: float) -> Rest:
        """Where ``u`` comes to rest; see :func:`cell_at_rest`."""
        if not isinstance(self.cell, Electrolyte):
            raise ValueError(
                "`equilibrium` needs a finite-volume scheme; a spectral cell can be simulated to a "
                "long time instead."
            )
        return cell_at_rest(self.cell, u, self.invariants, tolerance)

    def lowest(self, u: Tensor, sample: Tensor | None = None) -> Tensor:
        """See :class:`Law`; with crowding, the room that it leaves must stay positive too."""
        lowest = u.flatten(1).amin(1)
        room = self.cell.room(u, sample)
        return lowest if room is None else torch.minimum(lowest, room.flatten(1).amin(1))
