"""Poisson-Nernst-Planck: charged species that diffuse and drift in the field of all charges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from pnpfusion.dynamics.at_rest import AtRest
from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.pnp_arguments import Scheme, check_kinds, check_scheme, series_or_faces
from pnpfusion.dynamics.pnp_binding import bound_once, is_fit_to_start
from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.dynamics.pnp_choice import choose
from pnpfusion.dynamics.pnp_description import arguments_of, describe_cell
from pnpfusion.dynamics.pnp_equilibrium import at_rest
from pnpfusion.dynamics.pnp_ingredients import Ingredients
from pnpfusion.dynamics.pnp_invariants import invariants
from pnpfusion.dynamics.pnp_ledger import keep_ledger
from pnpfusion.dynamics.pnp_memory import Memory
from pnpfusion.dynamics.pnp_observables import CellObservables, Time
from pnpfusion.dynamics.pnp_values import register, values_by_name, words_of
from pnpfusion.dynamics.resolution import warn_if_long
from pnpfusion.dynamics.species import Species
from pnpfusion.ledger import Ledger
from pnpfusion.solvers.boundary import Walls, check_walls
from pnpfusion.solvers.cell import Cell
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.field import Field, Parameter
from pnpfusion.solvers.fixed_point.base import FixedPointSolver, Tolerance
from pnpfusion.solvers.fixed_point.gradient import Gradient
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.implicit_solve import Rest
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.reactions import Reaction
from pnpfusion.solvers.steppers.base import Law, Stepper
from pnpfusion.solvers.steppers.explicit import ExplicitRK


class PNP(CellObservables):
    r"""The Poisson-Nernst-Planck equations in a box, by finite volumes.

    .. math::
        \partial_t c_i = \nabla\cdot D_i c_i \nabla\mu_i + R_i, \quad
        \mu_i = \ln c_i + z_i\phi - \ln(1 - a^3 \textstyle\sum_j c_j), \quad
        -\nabla\cdot(\varepsilon\nabla\phi) = \sum_i z_i c_i + \rho_f.

    Dimensionless: length L, concentration c_ref, time L²/D_ref, potential kT/e; for a 1:1 salt of
    concentration c_ref, :math:`\varepsilon = 2(\lambda_D/L)^2`. A state is
    ``(*batch, species, *grid.shape)``. Every parameter may be a number, a tensor of the batch's
    shape, or (where it says so) a :class:`Field`, and may require grad.

    Args:
        grid: the box; one, two or three axes.
        species: at least one.
        permittivity: :math:`\varepsilon > 0`; may be a Field.
        walls: what holds at ``"x-"``, ``"x+"``, ``"y-"``, ...: a :class:`Wall` each, or several
            with masks. A wall that is not named insulates and lets nothing through.
        fixed_charge: :math:`\rho_f`; may be a Field.
        scheme: how space is discretised. Finite volumes, by how faces weigh their neighbours:
            ``"scharfetter-gummel"`` and ``"harmonic"`` keep concentrations positive at any field
            and Boltzmann equilibria exactly; ``"central"`` promises neither, and should not be used
            where a cell's potential step is above 2. ``"spectral"``: Fourier and cosine series in
            boxes of equal cells whose walls insulate and block, or polynomials on a
            :class:`ChebyshevGrid`; far more accurate where the state is smooth, positive only
            where it is resolved. ``"auto"``: spectral where series will do, else
            Scharfetter-Gummel.
        steric: :math:`a^3`, the volume that a particle takes times c_ref (Bikerman's crowding
            [KBA07]); the sum of all concentrations then stays below :math:`1/a^3`. None: points.
        reactions: mass action between the species, see :class:`Reaction`.

    An input ``x`` maps ``"fixed_charge"``, ``"potential:x-"`` or ``"surface_charge:x-"`` (any side)
    to what takes the place of the cell's own value.

    Raises:
        ValueError: any parameter out of its range, of a wrong shape, or naming an unknown species
            or wall; a reaction that makes charge. What depends on the batch is checked when a run
            starts.

    References: [BTA04] for the cell, [SG69] for the flux.
    """

    warns: bool = True  #: whether cells too coarse for the state are warned of

    def __init__(
        self,
        grid: Grid,
        species: Sequence[Species],
        *,
        permittivity: Parameter,
        walls: Walls | None = None,
        fixed_charge: Parameter | None = None,
        scheme: Scheme = "scharfetter-gummel",
        steric: Parameter | None = None,
        reactions: Sequence[Reaction] = (),
    ) -> None:
        super().__init__()
        check_kinds(grid, species, reactions, scheme)
        species = tuple(species)
        self.names = tuple(one.name for one in species)
        self.grid, self.species, self._memory = grid, species, Memory()
        self.walls = {
            side: parts[0] if len(parts) == 1 else parts
            for side, parts in check_walls(grid, walls).items()
        }
        self.permittivity, self.steric, self.reactions = permittivity, steric, tuple(reactions)
        self.fixed_charge = 0.0 if fixed_charge is None else fixed_charge
        uniform = [permittivity, *(one.diffusivity for one in species)]
        plain = steric is None and not self.reactions
        if scheme == "auto":
            scheme = series_or_faces(grid, self.walls, uniform) if plain else "scharfetter-gummel"
        self.scheme = scheme
        check_scheme(grid, self.scheme, steric, self.reactions)
        self.state_ndim = 1 + grid.ndim
        values = values_by_name(self)
        register(self, values)
        self._driven = any(callable(value) for value in values.values())
        if not self._driven and not any(isinstance(v, Tensor | Field) for v in values.values()):
            self.electrolyte((), torch.zeros((), dtype=torch.float64), None)  # checks the numbers

    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        """dc/dt, like ``u``; the potential follows the charge at once."""
        return self._flat(u, x, t, lambda cell, c: cell.rate(c))

    def conserved(self, u: Tensor) -> Tensor | None:
        """What neither walls nor reactions change in ``u``: sums of masses, ``(*batch, K)``."""
        rows = invariants(self.species, self.walls.values(), self.reactions).to(u)
        return self.mass(u) @ rows.mT if len(rows) else None

    def check_state(self, name: str, u: Tensor, x: Input = None, t: float = 0.0) -> None:
        """Raise ValueError unless ``u`` holds concentrations this cell can start from."""
        law = self._checked_law(name, u, x, t)
        if not (law.plain or self._driven):
            self._memory.lend(law.made.facts(), law)  # the same call will bind once more

    def bind_checked(self, name: str, u0: Tensor, x: Input = None, t: float = 0.0) -> Law:
        """See :meth:`Dynamics.bind_checked`; what the cell is made of is looked up once.

        Not where a subclass has a :meth:`check_state` or :meth:`bind` of its own, which is asked.
        """
        own = type(self)
        if own.check_state is PNP.check_state and own.bind is PNP.bind:
            return self._checked_law(name, u0, x, t)
        return super().bind_checked(name, u0, x, t)

    def _checked_law(self, name: str, u0: Tensor, x: Input, t: float) -> BoundPNP:
        """The cell bound to ``u0``, once it is known that it may start from there."""
        self.check_shape(name, u0)
        self._memory.take_back()
        made = self._ingredients(u0, x, t)
        facts, values = made.facts(), u0.detach()
        known = self._memory.recall(facts)
        if known is not None and self._memory.is_fit(known, values):
            return bound_once(self._memory, made, facts, known, u0.numel(), self._driven)
        super().check_state(name, u0, x, t)
        lowest = float(values.min()) if values.numel() else 0.0
        if lowest < 0:
            raise ValueError(
                f"`{name}` holds concentrations and must be >= 0, got {lowest:.3g} "
                f"{Faq.BAD_NUMBERS}."
            )
        law = bound_once(self._memory, made, facts, known, u0.numel(), self._driven)
        if is_fit_to_start(law, name, values, self.state_ndim, warns=self.warns):
            self._memory.found_fit(facts, values)
        return law

    def bind(self, u0: Tensor, x: Input = None, t: float = 0.0) -> BoundPNP:
        """See :meth:`Dynamics.bind`; the last one is remembered, see :class:`Memory`."""
        made = self._ingredients(u0, x, t)
        facts = made.facts()
        lent = self._memory.borrow(facts)
        if lent is not None:
            return lent
        known = self._memory.recall(facts)
        return bound_once(self._memory, made, facts, known, u0.numel(), self._driven)

    def _ingredients(self, u0: Tensor, x: Input, t: Time) -> Ingredients:
        """What a cell for a run from ``u0`` is made of."""
        batch = tuple(u0.shape[: u0.ndim - self.state_ndim])
        return self._made(self.walls, batch, u0.detach(), x, t)

    @property
    def state_shape(self) -> tuple[int, ...]:
        """See :attr:`Dynamics.state_shape`."""
        return (len(self.species), *self.grid.shape)

    def check_rest(self, u0: Tensor, x: Input) -> None:
        """See :meth:`Dynamics.check_rest`; here where a wall changes with time."""
        if self._driven:
            raise ValueError(
                "a cell whose walls change with time has no equilibrium; give their values at one "
                f"time as numbers {Faq.NOT_CONVERGED}."
            )

    def rest(self, u0: Tensor, x: Input, tolerance: float) -> Rest:
        """Where ``u0`` comes to rest and the potential there, over a flat batch, unchecked.

        Args:
            u0: concentrations to begin with, which pass :meth:`check_state`.
            x: the input.
            tolerance: how far from rest relative to the size of its terms.
        """
        return self.bind(u0, x).rest(u0.reshape(-1, *u0.shape[-self.state_ndim :]), tolerance)

    def solve_equilibrium(
        self,
        u0: Tensor,
        x: Input,
        tolerance: Tolerance | float,
        solver: FixedPointSolver | None = None,
        gradient: Gradient | None = None,
    ) -> AtRest:
        """See :meth:`Dynamics.solve_equilibrium`; NaN where the cell's own way finds no answer."""
        if solver is not None:
            return super().solve_equilibrium(u0, x, tolerance, solver, gradient)
        flat = u0.reshape(-1, *u0.shape[-self.state_ndim :])
        return at_rest(self.bind(u0, x), flat, Tolerance.of(tolerance).relative, gradient)

    def choose_stepper(
        self, law: Law, u0: Tensor, rtol: float | None, atol: float | None
    ) -> tuple[Stepper, str]:
        """See :meth:`Dynamics.choose_stepper` and :func:`choose`."""
        return choose(cast(BoundPNP, law), u0, rtol, atol)

    def check_run(self, stepper: Stepper, u0: Tensor, times: Tensor, x: Input) -> None:
        """See :meth:`Dynamics.check_run`: explicit steps too long, walls that charge a box."""
        if not (self._driven or isinstance(stepper, ExplicitRK)):
            return
        flat = u0.detach().reshape(-1, *u0.shape[-self.state_ndim :])
        if self._driven:
            law = self.bind(u0, x, float(times[0]))
            for t in times[1:]:
                law.at(t.to(u0).expand(len(flat))).check_neutral(f"u0 at t = {float(t):.4g}", flat)
        if isinstance(stepper, ExplicitRK) and u0.numel():
            cell = self.bind(u0, x, float(times[0])).cell
            if isinstance(cell, Electrolyte):
                warn_if_long(cell, flat, stepper.dt, stepper.reach)

    def ledger(
        self, times: Tensor, states: Tensor, lowest: Tensor | None, x: Input = None
    ) -> Ledger:
        """See :class:`pnpfusion.Ledger`."""
        exact = states.detach().double()
        law = self.bind(exact[0], x, float(times[0]))
        return keep_ledger(law, times.detach().double(), exact, lowest)

    def description(
        self, times: Tensor | None = None, batch: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        """See :meth:`Dynamics.description`."""
        return describe_cell(self, times, batch)

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> PNP:
        """See :meth:`Dynamics.from_description`."""
        return cls(**arguments_of(description))

    def electrolyte(
        self,
        batch: tuple[int, ...],
        like: Tensor,
        x: Input,
        t: Time = None,
        walls: Walls | None = None,
    ) -> Cell:
        """See :class:`CellObservables`."""
        return self._made(self.walls if walls is None else walls, batch, like, x, t).build()

    def _made(
        self, walls: Walls, batch: tuple[int, ...], like: Tensor, x: Input, t: Time
    ) -> Ingredients:
        return Ingredients(
            grid=self.grid,
            scheme=self.scheme,
            species=self.species,
            walls=walls,
            permittivity=self.permittivity,
            fixed_charge=self.fixed_charge,
            steric=self.steric,
            reactions=self.reactions,
            x=x,
            batch=batch,
            like=like,
            t=t,
        )

    def extra_repr(self) -> str:
        """What the cell holds, for ``print(cell)``."""
        return words_of(self)
