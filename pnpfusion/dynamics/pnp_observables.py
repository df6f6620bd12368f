"""What users ask of a PNP state: potential, field, fluxes, currents, charges, energies."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.pnp_arguments import Scheme
from pnpfusion.dynamics.pnp_input import walls_under
from pnpfusion.dynamics.species import Species
from pnpfusion.solvers.arguments import check_choice
from pnpfusion.solvers.boundary import Wall, Walls
from pnpfusion.solvers.cell import Cell, free_energy
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.field import Drive, Field, Parameter
from pnpfusion.solvers.grid import AXIS_NAMES, Grid
from pnpfusion.solvers.reactions import Reaction

Time = float | Tensor | None


class CellObservables(Dynamics):
    """Functions of a state ``c`` ``(*batch, species, *grid.shape)`` of a cell.

    All take ``x`` (see :class:`PNP`) and ``t``, the time, which counts only where a condition at a
    wall is a function of it. What lives on faces is given for one ``axis``: that axis of the grid
    then has N + 1 entries, at ``grid.faces(axis)``; on a periodic axis the first is the last.
    Spectral cells have no faces and give it where the concentrations are. All is differentiable.

    Raises:
        ValueError: ``c`` has not the shape of a state, or there is no such axis or wall.
    """

    grid: Grid
    species: tuple[Species, ...]
    walls: dict[str, Wall | tuple[Wall, ...]]  #: of every side, or of its parts
    permittivity: Parameter
    fixed_charge: Parameter
    scheme: Scheme
    steric: Parameter | None
    reactions: tuple[Reaction, ...]

    @abstractmethod
    def electrolyte(
        self,
        batch: tuple[int, ...],
        like: Tensor,
        x: Input,
        t: Time = None,
        walls: Walls | None = None,
    ) -> Cell:
        """The cell's parameters spread over ``batch``, at ``t``, of the dtype of ``like``.

        With ``walls``, it has these conditions in the place of its own.
        """

    def electrolyte_of(self, walls: Walls, batch: tuple[int, ...], like: Tensor, t: Time) -> Cell:
        """The same, of the dtype of ``like``, with other conditions at the ``walls``."""
        return self.electrolyte(batch, like, None, t, walls)

    def check_shape(self, name: str, c: Tensor) -> None:
        """Raise ValueError, in which ``c`` is ``name``, unless it has the shape of a state."""
        self.grid.check(name, c)
        if c.ndim < self.state_ndim or c.shape[-self.state_ndim] != len(self.species):
            wanted = ", ".join(str(n) for n in (len(self.species), *self.grid.shape))
            raise ValueError(
                f"`{name}` must be (*batch, species, cells) = (*batch, {wanted}), "
                f"got {tuple(c.shape)} {Faq.WRONG_SHAPE}."
            )

    def walls_under(self, x: Input) -> dict[str, tuple[Wall, ...]]:
        """The conditions of every side under the input ``x``."""
        return walls_under(self.grid, self.walls, x)

    def _flat(
        self, c: Tensor, x: Input, t: Time, function: Callable[[Cell, Tensor], Tensor]
    ) -> Tensor:
        """``function`` of the cell and ``c`` with the batch axes made one, and back again."""
        self.check_shape("c", c)
        batch = tuple(c.shape[: c.ndim - self.state_ndim])
        flat = c.reshape(-1, *c.shape[len(batch) :])
        result = function(self.electrolyte(batch, c, x, t), flat)
        return result.reshape((*batch, *result.shape[1:]))

    def _checked(self, axis: int) -> int:
        if axis not in range(self.grid.ndim):
            raise ValueError(f"`axis` must be 0 to {self.grid.ndim - 1}, got {axis!r}.")
        return axis

    def potential(self, c: Tensor, x: Input = None, *, t: Time = None) -> Tensor:
        """The potential, ``(*batch, *grid.shape)``, in kT/e; of zero mean where no wall fixes it.

        There a net charge, which a run would refuse to start with, counts as neutralised evenly.
        """
        return self._flat(c, x, t, lambda cell, flat: cell.potential(flat))

    def charge(self, c: Tensor, x: Input = None, *, t: Time = None) -> Tensor:
        """The charge density with the fixed charge, ``(*batch, *grid.shape)``, in F c_ref."""
        return self._flat(c, x, t, lambda cell, flat: cell.charge(flat))

    def flux(self, c: Tensor, x: Input = None, *, axis: int = 0, t: Time = None) -> Tensor:
        """Fluxes across ``axis``, positive along it, ``(*batch, species, ...)``.

        In D_ref c_ref / L.
        """
        self._checked(axis)
        return self._flat(c, x, t, lambda cell, flat: cell.flux_across(flat, axis))

    def current(self, c: Tensor, x: Input = None, *, axis: int = 0, t: Time = None) -> Tensor:
        r"""The ionic current density :math:`\sum_i z_i J_i`, in F D_ref c_ref / L."""
        self._checked(axis)
        return self._flat(
            c, x, t, lambda cell, flat: (cell.valence * cell.flux_across(flat, axis)).sum(1)
        )

    def displacement_current(
        self, c: Tensor, x: Input = None, *, axis: int = 0, t: Time = None
    ) -> Tensor:
        r"""The displacement current :math:`-\varepsilon\,\partial_t\partial_n\phi`, per area.

        In F D_ref c_ref / L. Together with :meth:`current` it has no divergence: the same total
        current passes every cross-section of a cell between two walls.

        Raises:
            ValueError: a Stern layer that is a function of time.
        """
        self._checked(axis)
        self.check_shape("c", c)
        if any(callable(wall.stern) for side in self.walls_under(x).values() for wall in side):
            raise ValueError(
                "`displacement_current` does not count Stern layers that change with time; give "
                "`stern` as a number."
            )
        batch = tuple(c.shape[: c.ndim - self.state_ndim])
        change = self._flat(c, x, t, lambda cell, flat: cell.rate(flat))
        walls = _rates_of_change(self.walls_under(x), t, batch, c)
        moving = self.electrolyte_of(walls, batch, c, t)
        rho = (moving.valence * change.reshape(-1, *c.shape[len(batch) :])).sum(1)
        found = moving.displacement_of(rho, axis)
        return found.reshape(*batch, *found.shape[1:])

    def displacement(self, c: Tensor, x: Input = None, *, axis: int = 0, t: Time = None) -> Tensor:
        r"""The displacement :math:`-\varepsilon\,\partial_n\phi`, in F c_ref L."""
        self._checked(axis)
        return self._flat(c, x, t, lambda cell, u: cell.displacement_of(cell.charge(u), axis))

    def field(self, c: Tensor, x: Input = None, *, axis: int = 0, t: Time = None) -> Tensor:
        r"""The electric field :math:`-\partial_n\phi`, in kT/(e L)."""
        self._checked(axis)
        return self._flat(c, x, t, lambda cell, flat: cell.field_across(flat, axis))

    def electrode_charge(self, c: Tensor, side: str, x: Input = None, *, t: Time = None) -> Tensor:
        r"""The charge on wall ``side``, :math:`\int \varepsilon\,\partial_n\phi`, ``(*batch,)``.

        In F c_ref L^d; on one axis, per area of the wall. The derivative by the wall's potential of
        its value at equilibrium is the differential capacitance (autograd gives it).

        Raises:
            ValueError: there is no such wall.
        """
        check_choice("side", side, self.grid.sides)
        axis, end = AXIS_NAMES.index(side[0]), "-+".index(side[1])
        return self._flat(c, x, t, lambda cell, flat: cell.electrode_charge(flat, axis, end))

    def energy(self, c: Tensor, x: Input = None, *, t: Time = None) -> Tensor:
        """The free energy, ``(*batch,)``, in R T c_ref L^d; see :func:`free_energy`."""
        return self._flat(c, x, t, free_energy)

    def osmotic_energy(self, c: Tensor, x: Input = None, *, t: Time = None) -> Tensor:
        """The part of :meth:`energy` due to mixing, crowding and reactions, ``(*batch,)``."""
        return self._flat(c, x, t, lambda cell, flat: cell.osmotic_energy(flat))

    def electric_energy(self, c: Tensor, x: Input = None, *, t: Time = None) -> Tensor:
        """The part of :meth:`energy` due to charge, ``(*batch,)``."""
        return self._flat(c, x, t, lambda cell, flat: cell.electric_energy(flat))

    def mass(self, c: Tensor) -> Tensor:
        """The amount of each species, ``(*batch, species)``, in c_ref L^d."""
        weights = self.grid.weights.to(c)
        return (weights * c).sum(tuple(range(-self.grid.ndim, 0)))


def _rates_of_change(
    walls: dict[str, tuple[Wall, ...]], t: Time, batch: tuple[int, ...], like: Tensor
) -> dict[str, tuple[Wall, ...]]:
    """The walls with d/dt of their potentials and surface charges in the place of these."""

    def slope(value: Drive | None) -> Drive | None:
        if value is None:
            return None
        if not callable(value):
            return 0.0
        at = torch.as_tensor(0.0 if t is None else t).to(like).expand(batch).clone()
        with warnings.catch_warnings(), forward_ad.dual_level():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, at its first use
            reached = value(forward_ad.make_dual(at, torch.ones_like(at)))
            values = reached.values if isinstance(reached, Field) else reached
            change = forward_ad.unpack_dual(values).tangent if isinstance(values, Tensor) else None
        if change is None:
            return 0.0
        return Field(change) if isinstance(reached, Field) else change

    return {
        side: tuple(
            replace(w, potential=slope(w.potential), surface_charge=slope(w.surface_charge))
            for w in parts
        )
        for side, parts in walls.items()
    }
