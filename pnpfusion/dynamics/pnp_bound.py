"""A PNP cell bound to one run: what steppers see of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp_ingredients import Ingredients, tensors_of
from pnpfusion.dynamics.pnp_invariants import invariants
from pnpfusion.solvers import chebyshev_newton, coupled_newton
from pnpfusion.solvers.cell import Cell
from pnpfusion.solvers.chebyshev_electrolyte import ChebyshevElectrolyte
from pnpfusion.solvers.compiled.cell import compiled_cell, is_compiled
from pnpfusion.solvers.compiled.implicit import CompiledImplicit
from pnpfusion.solvers.compiled.origin import Origin, Parameter
from pnpfusion.solvers.compiled.rates import compiled_rates
from pnpfusion.solvers.compiled.run import CompiledRun
from pnpfusion.solvers.compiled.semi_implicit import CompiledSemiImplicit, semi_implicit_step
from pnpfusion.solvers.detached import detached
from pnpfusion.solvers.device.run import DeviceRun
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.implicit_solve import ImplicitSolve, Rest, is_transformed
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Method, PlainSteps, Schedule
from pnpfusion.solvers.rest import cell_at_rest, rest_constants
from pnpfusion.solvers.spectral import SpectralElectrolyte
from pnpfusion.solvers.steppers.base import Semilinear

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.cell import Cell as CompiledCell

#: What a total loses in a step is given back above so many units in its last place, and below a
#: hundredth of a species: more is no round-off.
LEAST_LOSS, LARGEST_LOSS = 16, 0.01


@dataclass(frozen=True, eq=False)
class BoundPNP:
    """A PNP cell on a flat batch, whichever its discretisation."""

    made: Ingredients  #: of what
    driven: bool  #: whether a condition at a wall is a function of time
    plain: bool = False  #: whether no derivative is taken by what the cell is made of
    known: BoundPNP | None = None  #: the plain cell of the same values, where one is remembered
    shadow: bool = False  #: whether it is plain, of one axis, and made for runs with gradient

    @cached_property
    def cell(self) -> Cell:
        """The cell when the run begins."""
        if self.shadow:
            return detached(self._on_leaves[1])
        # Beside one that is remembered it is built late, maybe where nothing is recorded.
        with torch.set_grad_enabled(self.known is not None or torch.is_grad_enabled()):
            return self.made.build()

    @property
    def values(self) -> Cell:
        """The cell where no derivative is taken by what it is made of."""
        return self.cell if self.known is None else self.known.cell

    def at(self, t: Tensor) -> Cell:
        """The cell at the times ``t`` ``(B,)``."""
        return self.made.at(t).build() if self.driven else self.cell

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """See :class:`Law`."""
        arrays = self.arrays(u)
        return self.at(t).rate(u) if arrays is None else compiled_rates(arrays, u)[0]

    def arrays(self, u: Tensor) -> CompiledCell | None:
        """:attr:`compiled`, where no derivative is taken of what follows from it and ``u``."""
        followed = torch.is_grad_enabled() and (u.requires_grad or not self.plain)
        return None if followed or is_transformed() else self.compiled

    @property
    def compiled(self) -> CompiledCell | None:
        """The cell as the kernels of doubles read it, where they know it."""
        if self.known is not None:
            return self.known.compiled
        return self._arrays if self.is_compiled else None

    @property
    def is_compiled(self) -> bool:
        """Whether the kernels of doubles know the cell."""
        cell = self.cell
        if self.driven or not isinstance(cell, Electrolyte):
            return False
        return cell.valence.dtype == torch.float64 and is_compiled(cell, cell.valence)

    @cached_property
    def _arrays(self) -> CompiledCell:
        return compiled_cell(cast(Electrolyte, self.cell))

    def steepest(self, u: Tensor) -> float:
        """The largest rise of z phi, and of the crowding, across a face of any sample."""
        arrays = self.arrays(u)
        if arrays is not None:
            return float(compiled_rates(arrays, u)[1].max())
        cell = cast(Electrolyte, self.values)
        return max(float(face.u.abs().max()) for face in cell.faces(u, cell.potential(u)))

    def solve_implicit(
        self, t: Tensor, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor
    ) -> ImplicitSolve:
        """See :class:`Law`."""
        cell = self.at(t)
        if isinstance(cell, SpectralElectrolyte):
            raise ValueError(
                "cells in series have no implicit steps, which would couple all modes; use an "
                "exponential stepper, e.g. ETDRK4(dt=...), or a finite-volume scheme"
                f" {Faq.WHICH_STEPPER}."
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
        found = self.robust_step_again(t, dt, u, ())
        return None if found is None else found[0]

    def robust_step_again(
        self, t: Tensor, dt: Tensor, u: Tensor, stages: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]] | None:
        """The same, and what it need not find again if it is given that as ``stages``."""
        cell = self.at(t + dt)
        return semi_implicit_step(cell, u, dt, stages) if isinstance(cell, Electrolyte) else None

    def conserve(self, before: Tensor, after: Tensor) -> Tensor:
        r"""See :class:`ConservativeLaw`: a factor for each species gives back what is conserved.

        The factors are :math:`1 + W^T \lambda` with :math:`W \,\mathrm{diag}(m)\, W^T \lambda =
        W (m_0 - m)`, for rows W of what is conserved and masses :math:`m_0` before and m after.
        """
        cell, rows = self.values, self._conserved.to(after)
        if not isinstance(cell, Electrolyte) or not len(rows):
            return after
        limits, mass = torch.finfo(after.dtype), cell.dielectric.total(after)
        lost = (cell.dielectric.total(before) - mass) @ rows.mT
        felt = lost.abs() > LEAST_LOSS * limits.eps * (mass.abs() @ rows.abs().mT)
        normal = (rows * mass.unsqueeze(1)) @ rows.mT
        # A total of species that are not there at all has lost nothing.
        some = limits.eps * normal.diagonal(dim1=1, dim2=2) + limits.tiny
        lost = torch.where(felt, lost, 0.0).unsqueeze(2)
        share, _ = torch.linalg.solve_ex(normal + some.diag_embed(), lost)
        factor: Tensor = 1 + share.squeeze(2) @ rows
        round_off = (factor - 1).abs().amax(1, keepdim=True) < LARGEST_LOSS
        factor = torch.where(round_off, factor, 1.0)
        return after * factor.reshape(*factor.shape, *(1 for _ in after.shape[2:]))

    def plain_steps(self, method: Method, times: Tensor) -> PlainSteps | None:
        """Steps by ``method`` in compiled code, where it knows this cell; else None."""
        cell = self.values
        if self.driven or not isinstance(cell, Electrolyte):
            return None
        compiled = self.compiled
        if compiled is None:
            return DeviceRun.of(cell, method, times)
        return CompiledImplicit(CompiledRun.of(cell, compiled, method, times), self._origin)

    @property
    def _origin(self) -> Origin:
        if self.plain:
            return Origin((), ())
        if self.known is None:
            return Origin.of(cast(Electrolyte, self.cell))
        leaves, _, parts = self.known._on_leaves
        pairs = zip(tensors_of(self.made.facts()), leaves, strict=True)
        followed = [(tensor, leaf) for tensor, leaf in pairs if tensor.requires_grad]
        tensors, among = zip(*followed, strict=True)
        return Origin(tensors, parts, among)

    @cached_property
    def _on_leaves(self) -> tuple[list[Tensor], Electrolyte, Sequence[Parameter]]:
        """A leaf in the place of every tensor that the cell is made of, and the cell of them.

        Beside them, what of the cell has a gradient in the leaves.
        """

        def leaf(values: Tensor) -> Tensor:
            return values.detach().requires_grad_(values.is_floating_point())

        made = self.made.mapped(leaf)
        with torch.enable_grad():
            cell = cast(Electrolyte, made.build())
        return tensors_of(made.facts()), cell, Origin.of(cell).parts

    def semi_implicit_steps(self, schedule: Schedule) -> PlainSteps | None:
        """Robust steps in compiled code, where it knows this cell; else None."""
        if self.driven or not isinstance(self.cell, Electrolyte):
            return None
        return CompiledSemiImplicit.of(self.cell, schedule, self.rate)

    def rest(self, u: Tensor, tolerance: float) -> Rest:
        """Where ``u`` comes to rest; see :func:`cell_at_rest`."""
        if not isinstance(self.cell, Electrolyte):
            raise ValueError(
                "`equilibrium` needs a finite-volume scheme; a spectral cell can be simulated to a "
                f"long time instead {Faq.NOT_CONVERGED}."
            )
        constants = self._rest_constants if self.plain else rest_constants(self.cell)
        return cell_at_rest(self.cell, u, self.invariants, constants, tolerance)

    @cached_property
    def _conserved(self) -> Tensor:
        """What is conserved on the way, in orthonormal rows, (K, S)."""
        made = self.made
        return invariants(made.species, made.walls.values(), made.reactions)

    @cached_property
    def invariants(self) -> Tensor:
        """What is conserved at rest, in orthonormal rows, (K, S)."""
        made = self.made
        return invariants(made.species, made.walls.values(), made.reactions, at_rest=True)

    @cached_property
    def _rest_constants(self) -> Tensor | None:
        return rest_constants(cast(Electrolyte, self.cell))

    def lowest(self, u: Tensor, sample: Tensor | None = None) -> Tensor:
        """See :class:`Law`; with crowding, the room that it leaves must stay positive too."""
        lowest = u.flatten(1).amin(1)
        room = self.values.room(u, sample)
        return lowest if room is None else torch.minimum(lowest, room.flatten(1).amin(1))
