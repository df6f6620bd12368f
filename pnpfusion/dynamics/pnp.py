"""Poisson-Nernst-Planck: charged species that diffuse and drift in the field of all charges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.base import Dynamics, Input
from pnpfusion.dynamics.resolution import warn_if_coarse
from pnpfusion.dynamics.species import Species
from pnpfusion.ledger import Ledger
from pnpfusion.solvers.asymptotic_preserving import asymptotic_preserving_step
from pnpfusion.solvers.boundary import Wall, check_walls
from pnpfusion.solvers.coupled_newton import solve_implicit
from pnpfusion.solvers.field import Field, Parameter
from pnpfusion.solvers.fluxes import FACE_SCHEMES
from pnpfusion.solvers.free_energy import free_energy
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.steppers.base import ImplicitSolve, Stepper
from pnpfusion.solvers.steppers.implicit import KenCarp4

Scheme = Literal["scharfetter-gummel", "central", "harmonic"]


class PNP(Dynamics):
    r"""The Poisson-Nernst-Planck equations in a box, by finite volumes.

    .. math::
        \partial_t c_i = \nabla\cdot D_i(\nabla c_i + z_i c_i \nabla\phi), \qquad
        -\nabla\cdot(\varepsilon\nabla\phi) = \textstyle\sum_i z_i c_i + \rho_f.

    Dimensionless: length L, concentration c_ref, time L²/D_ref, potential kT/e; for a 1:1 salt of
    concentration c_ref, :math:`\varepsilon = 2(\lambda_D/L)^2`. A state is
    ``(*batch, species, N)``. Every parameter may be a number, a tensor of the batch's shape, or
    (where it says so) a :class:`Field`, and may require grad.

    Args:
        grid: the box; one axis.
        species: at least one.
        permittivity: :math:`\varepsilon > 0`; may be a Field.
        walls: what holds at ``"x-"`` and ``"x+"``; a wall that is not named insulates and lets
            nothing through.
        fixed_charge: :math:`\rho_f`; may be a Field.
        scheme: how faces weigh their neighbours. ``"scharfetter-gummel"`` and ``"harmonic"`` keep
            concentrations positive at any field and Boltzmann equilibria exactly; ``"central"``
            promises neither, and should not be used where a cell's potential step is above 2.
        steric: crowding; not available yet.
        reactions: mass action; not available yet.

    Raises:
        ValueError: any parameter out of its range, of a wrong shape, or naming an unknown species
            or wall. What depends on the batch is checked when a run starts.

    References: [BTA04] for the cell, [SG69] for the flux.
    """

    def __init__(
        self,
        grid: Grid,
        species: Sequence[Species],
        *,
        permittivity: Parameter,
        walls: Mapping[str, Wall] | None = None,
        fixed_charge: Parameter | None = None,
        scheme: Scheme = "scharfetter-gummel",
        steric: Parameter | None = None,
        reactions: Sequence[object] = (),
    ) -> None:
        super().__init__()
        if not isinstance(grid, Grid):
            raise ValueError(f"`grid` must be a Grid, got {type(grid).__name__}.")
        if grid.ndim != 1:
            raise ValueError(f"`grid` must have one axis for now, got shape {grid.shape}.")
        species = tuple(species)
        if not species or not all(isinstance(one, Species) for one in species):
            raise ValueError(f"`species` must be one or more Species, got {species!r}.")
        self.names = tuple(one.name for one in species)
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"`species` must have different names, got {self.names}.")
        if scheme not in FACE_SCHEMES:
            raise ValueError(f"`scheme` must be one of {list(get_args(Scheme))}, got {scheme!r}.")
        if steric is not None or reactions:
            raise ValueError("`steric` and `reactions` are not available yet; leave them out.")
        self.grid, self.species, self.scheme = grid, species, scheme
        self.walls = check_walls(grid, walls)
        self.permittivity = permittivity
        self.fixed_charge: Parameter = 0.0 if fixed_charge is None else fixed_charge
        self.state_ndim = 1 + grid.ndim
        for name, value in self._values().items():
            held = value.values if isinstance(value, Field) else value
            known = any(held is parameter for parameter in self.parameters())
            if isinstance(held, nn.Parameter) and not known:
                self.register_parameter(name, held)
        if not any(isinstance(value, Tensor | Field) for value in self._values().values()):
            self._electrolyte((), torch.zeros((), dtype=torch.float64), None)  # checks the numbers

    def _values(self) -> dict[str, Parameter]:
        """Every parameter by a flat name, as optimisers and `state_dict` see the learnt ones."""
        values = {"permittivity_value": self.permittivity, "fixed_charge_value": self.fixed_charge}
        for one in self.species:
            values[f"valence:{one.name}"] = one.valence
            values[f"diffusivity:{one.name}"] = one.diffusivity
        for side, wall in self.walls.items():
            for what in ("potential", "surface_charge", "stern"):
                values[f"{what}:{side}"] = getattr(wall, what)
            for what in ("concentration", "flux"):
                given = getattr(wall, what) or {}
                values |= {f"{what}:{side}:{name}": value for name, value in given.items()}
        return {name.replace(".", "_"): v for name, v in values.items() if v is not None}

    # ---- what users ask of a state; every method takes c of shape (*batch, species, N)

    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        """dc/dt, like ``u``; the potential follows the charge at once, whatever ``t`` is."""
        return self._flat(u, x, lambda cell, c: cell.rate(c))

    def potential(self, c: Tensor, x: Input = None) -> Tensor:
        """The potential, ``(*batch, N)``, in kT/e; of zero mean where no wall fixes it.

        There a net charge, which a run would refuse to start with, counts as neutralised evenly.
        """
        return self._flat(c, x, lambda cell, flat: cell.potential(flat))

    def charge(self, c: Tensor, x: Input = None) -> Tensor:
        """The charge density with the fixed charge, ``(*batch, N)``, in F c_ref."""
        return self._flat(c, x, lambda cell, flat: cell.charge(flat))

    def flux(self, c: Tensor, x: Input = None) -> Tensor:
        """Fluxes along +x through the N + 1 cell faces, ``(*batch, species, N + 1)``.

        In D_ref c_ref / L. The faces stand at ``grid.faces(0)``; on a ring the first is the last.
        """
        return self._flat(
            c, x, lambda cell, flat: cell.fluxes(cell.faces(flat, cell.potential(flat)))
        )

    def energy(self, c: Tensor, x: Input = None) -> Tensor:
        """The free energy, ``(*batch,)``, in R T c_ref L; see :func:`free_energy`."""
        return self._flat(c, x, free_energy)

    def mass(self, c: Tensor) -> Tensor:
        """The amount of each species, ``(*batch, species)``, in c_ref L."""
        return (self.grid.weights.to(c) * c).sum(-1)

    def conserved(self, u: Tensor) -> Tensor:
        """The masses; see :meth:`mass`."""
        return self.mass(u)

    # ---- what the verbs ask

    def check_state(self, name: str, u: Tensor, x: Input = None) -> None:
        """Raise ValueError unless ``u`` holds concentrations this cell can start from."""
        self.grid.check(name, u)
        if u.ndim < 2 or u.shape[-2] != len(self.species):
            raise ValueError(
                f"`{name}` must be (*batch, species, cells) = (*batch, {len(self.species)}, "
                f"{self.grid.shape[0]}), got {tuple(u.shape)}."
            )
        super().check_state(name, u, x)
        values = u.detach()
        if (values < 0).any():
            raise ValueError(
                f"`{name}` holds concentrations and must be >= 0, got {float(values.min()):.3g}."
            )
        law = self.bind(u, x)
        flat = values.reshape(-1, *u.shape[-2:])
        cell = law.cell
        cell.check_neutral(name, flat)
        if len(flat):
            warn_if_coarse(self.grid, cell, flat)

    def bind(self, u0: Tensor, x: Input = None) -> BoundPNP:
        """See :meth:`Dynamics.bind`."""
        batch = tuple(u0.shape[: u0.ndim - self.state_ndim])
        return BoundPNP(self._electrolyte(batch, u0, x))

    def default_stepper(self, rtol: float | None, atol: float | None) -> Stepper:
        """KenCarp4: stiff, order 4, with steps chosen per sample."""
        return KenCarp4(rtol=rtol, atol=atol)

    def ledger(
        self, times: Tensor, states: Tensor, lowest: Tensor | None, x: Input = None
    ) -> Ledger:
        """See :class:`pnpfusion.Ledger`."""
        with torch.no_grad():
            exact = states.detach().double()
            cell, batch = self.bind(exact[0], x).cell, exact.shape[1:-2]
            rows = [c.reshape(-1, *c.shape[-2:]) for c in exact]
            smallest = exact.flatten(-2).amin(-1)
            return Ledger(
                times=times.detach().double(),
                mass=self.mass(exact),
                charge=torch.stack([cell.net_charge(c) for c in rows]).reshape(len(rows), *batch),
                free_energy=torch.stack([free_energy(cell, c) for c in rows]).reshape(
                    len(rows), *batch
                ),
                smallest=smallest if lowest is None else torch.minimum(smallest, lowest.double()),
                closed=cell.closed,
                species=self.names,
            )

    def description(self) -> dict[str, Any]:
        """See :meth:`Dynamics.description`."""
        return {
            "grid": {f.name: getattr(self.grid, f.name) for f in fields(Grid) if f.name != "_"},
            "species": [
                {f.name: getattr(one, f.name) for f in fields(Species)} for one in self.species
            ],
            "walls": {
                side: {f.name: v for f in fields(Wall) if (v := getattr(wall, f.name)) is not None}
                for side, wall in self.walls.items()
            },
            "permittivity": self.permittivity,
            "fixed_charge": self.fixed_charge,
            "scheme": self.scheme,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> PNP:
        """See :meth:`Dynamics.from_description`."""
        given = dict(description)
        grid, species, walls = given.pop("grid"), given.pop("species"), given.pop("walls")
        return cls(
            Grid(**grid),
            [Species(**one) for one in species],
            walls={side: Wall(**wall) for side, wall in walls.items()},
            **given,
        )

    def _electrolyte(self, batch: tuple[int, ...], like: Tensor, x: Input) -> Electrolyte:
        walls, fixed_charge = dict(self.walls), self.fixed_charge
        if x is not None and not isinstance(x, Mapping):
            raise ValueError(
                f'`x` of a PNP cell must map names to values, e.g. {{"fixed_charge": ...}}, '
                f"got {type(x).__name__}."
            )
        for key, value in (x or {}).items():
            what, _, side = key.partition(":")
            if key == "fixed_charge":
                fixed_charge = value
            elif what in ("potential", "surface_charge") and side in walls:
                if isinstance(value, Field):
                    raise ValueError(f"`x[{key!r}]` must be a number per sample, got a Field.")
                wall = walls[side]
                if what == "potential":
                    walls[side] = replace(wall, potential=value)
                else:
                    walls[side] = replace(wall, surface_charge=value)
            else:
                valid = ["fixed_charge"] + [
                    f"{what}:{side}" for side in walls for what in ("potential", "surface_charge")
                ]
                raise ValueError(f"`x` has an unknown key {key!r}; a PNP cell reads {valid}.")
        return Electrolyte.build(
            self.grid,
            self.names,
            [one.valence for one in self.species],
            [one.diffusivity for one in self.species],
            permittivity=self.permittivity,
            walls=walls,
            fixed_charge=fixed_charge,
            scheme=FACE_SCHEMES[self.scheme],
            batch=batch,
            like=like,
        )

    def _flat(
        self, c: Tensor, x: Input, function: Callable[[Electrolyte, Tensor], Tensor]
    ) -> Tensor:
        """``function`` of the cell and ``c`` with the batch axes made one, and back again."""
        self.grid.check("c", c)
        if c.ndim < 2 or c.shape[-2] != len(self.species):
            raise ValueError(
                f"`c` must be (*batch, {len(self.species)}, {self.grid.shape[0]}), "
                f"got {tuple(c.shape)}."
            )
        batch, flat = tuple(c.shape[:-2]), c.reshape(-1, *c.shape[-2:])
        cell = self._electrolyte(batch, c, x)
        result = function(cell, flat)
        return result.reshape((*batch, *result.shape[1:]))

    def extra_repr(self) -> str:
        """What the cell holds, for ``print(cell)``."""
        ions = ", ".join(f"{one.name} (z = {one.valence})" for one in self.species)
        return f"{ions}, scheme={self.scheme!r}, walls={self.walls}, {self.grid}"


@dataclass(frozen=True, eq=False)
class BoundPNP:
    """A PNP cell on a flat batch, as steppers see it."""

    cell: Electrolyte

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """See :class:`Law`."""
        return self.cell.rate(u)

    def solve_implicit(
        self, t: Tensor, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor
    ) -> ImplicitSolve:
        """See :class:`Law`."""
        return solve_implicit(self.cell, base, step, guess, scale)

    def robust_step(self, t: Tensor, dt: Tensor, u: Tensor) -> Tensor:
        """See :class:`Law`."""
        return asymptotic_preserving_step(self.cell, u, dt)

    def lowest(self, u: Tensor) -> Tensor:
        """See :class:`Law`."""
        return u.flatten(1).amin(1)
