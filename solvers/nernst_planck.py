r"""Drift and diffusion of charged species: :math:`\partial_t c = -\nabla\cdot J + R`.

Every face has one flux, which leaves one cell and enters the next, so the mass of a closed cell
changes by round-off only, whatever the scheme and the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_known
from pnpfusion.solvers.boundary import Walls, check_walls
from pnpfusion.solvers.dielectric import Dielectric, ElectricLine
from pnpfusion.solvers.field import Parameter, check_above_zero, spread
from pnpfusion.solvers.fluxes import FaceScheme
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.ion_lines import Faces, IonLine, ion_line
from pnpfusion.solvers.lines import (
    along,
    back,
    edge_columns,
    face_resistances,
    some_samples,
    with_ends,
)
from pnpfusion.solvers.neutrality import check_closed
from pnpfusion.solvers.reactions import MassAction, Reaction
from pnpfusion.solvers.species import per_species
from pnpfusion.solvers.wall_values import WallPair


@dataclass(frozen=True, eq=False)
class Electrolyte:
    """A cell's parameters spread over a batch of B samples: ions, permittivity, walls.

    Faces are numbered as in :class:`ElectricLine`. Functions here check nothing.
    """

    dielectric: Dielectric
    scheme: FaceScheme  #: how a face weighs its two neighbours
    valence: Tensor  #: z, (B|1, S, *1)
    lines: tuple[IonLine, ...]  #: one for each axis
    fixed_charge: Tensor  #: (B|1, *grid.shape|1)
    crowding: Tensor | None  #: a^3, the volume of a particle times c_ref; (B|1, *1)
    reactions: MassAction | None
    closed: tuple[bool, ...]  #: per species, whether no wall lets it in or out

    @classmethod
    def build(
        cls,
        grid: Grid,
        names: Sequence[str],
        valences: Sequence[float | Tensor],
        diffusivities: Sequence[Parameter],
        *,
        permittivity: Parameter,
        walls: Walls | None,
        fixed_charge: Parameter,
        scheme: FaceScheme,
        steric: Parameter | None,
        reactions: Sequence[Reaction],
        batch: tuple[int, ...],
        like: Tensor,
        t: Tensor | None = None,
    ) -> Electrolyte:
        """Check the parameters and spread them over the batch; dtype and device are ``like``'s."""
        dielectric = Dielectric.build(grid, permittivity, walls, batch, like, t)
        parts = check_walls(grid, walls)
        for side, conditions in parts.items():
            for what in ("concentration", "flux"):
                given = sorted({name for wall in conditions for name in getattr(wall, what) or ()})
                check_known(f"walls[{side!r}].{what}", given, names, "species")
        space = grid.shape, batch, like
        diffusivity = per_species("diffusivity", names, diffusivities, *space, may_vary=True)
        check_above_zero("diffusivity", diffusivity)
        pairs = [WallPair(grid, axis, parts, batch, like, t) for axis in range(grid.ndim)]
        lines, crossed = [], torch.zeros(len(names), dtype=torch.bool, device=like.device)
        for electric, pair in zip(dielectric.lines, pairs, strict=True):
            line, crosses = ion_line(diffusivity, electric, pair, names)
            lines.append(line)
            crossed = crossed | crosses
        if dielectric.floating:
            check_closed(crossed)
        crowding = None
        if steric is not None:
            crowding = spread("steric", steric, *space, may_vary=False)
            check_above_zero("steric", crowding, "; None is for no crowding")
            for ions in lines:
                if (crowding.detach() * ions.reservoir.detach().sum(1) >= 1).any():
                    raise ValueError(
                        "the `concentration`s at a wall leave no room: their sum must be below "
                        "1 / steric."
                    )
        cell = cls(
            dielectric=dielectric,
            scheme=scheme,
            valence=per_species("valence", names, valences, *space),
            lines=tuple(lines),
            fixed_charge=spread("fixed_charge", fixed_charge, *space),
            crowding=crowding,
            reactions=MassAction.build(reactions, names, *space),
            closed=tuple((~crossed).tolist()),
        )
        if cell.reactions is not None:
            cell.reactions.check_charge(cell.valence, reactions)
        return cell

    def samples(self, part: slice) -> Electrolyte:
        """The cell of a part of the batch."""
        names = "transmissivity", "reservoir", "held", "imposed"
        return replace(
            some_samples(self, part, "valence", "fixed_charge", "crowding"),
            dielectric=self.dielectric.samples(part),
            lines=tuple(some_samples(line, part, *names) for line in self.lines),
            reactions=None if self.reactions is None else self.reactions.samples(part),
        )

    def charge(self, c: Tensor) -> Tensor:
        """Charge density ``(B, *grid.shape)`` of concentrations ``(B, S, *grid.shape)``."""
        return (self.valence * c).sum(1) + self.fixed_charge

    def net_charge(self, c: Tensor) -> Tensor:
        """The charge of the whole cell, ``(B,)``."""
        return self.dielectric.total(self.charge(c))

    def check_neutral(self, name: str, c: Tensor) -> None:
        """Raise ValueError if the potential floats and a sample of ``c`` has a net charge."""
        if not self.dielectric.floating:
            return
        size = (self.valence.abs() * c).sum(1)
        self.dielectric.check_neutral(name, self.charge(c), size)

    def potential(self, c: Tensor) -> Tensor:
        """The potential ``(B, *grid.shape)`` of concentrations, in kT/e."""
        return self.dielectric.potential(self.charge(c))

    def room(self, c: Tensor, sample: Tensor | None = None) -> Tensor | None:
        """What crowding leaves free, 1/a^3 - sum c, ``(B, *grid.shape)``; None without crowding."""
        crowding = self.crowding
        if crowding is not None and sample is not None and len(crowding) > 1:
            crowding = crowding[sample]
        return None if crowding is None else 1 / crowding - c.sum(1)

    def screening(self, c: Tensor) -> Tensor:
        r"""A sample's mean :math:`\sum z^2 c / \varepsilon`, ``(B,)``, detached.

        That is 1 over the square of its Debye length.
        """
        share, strength = self._screening
        return ((c.detach().flatten(2) @ share) * strength).sum(1)

    @cached_property
    def _screening(self) -> tuple[Tensor, Tensor]:
        """Shares of the volume, of every cell, and z^2 over the mean permittivity, (B|1, S)."""
        medium = self.dielectric
        epsilon = medium.permittivity.detach().flatten(1).mean(1, keepdim=True)
        share = (medium.volumes / medium.volumes.sum()).flatten()
        return share, self.valence.detach().flatten(1).square() / epsilon

    @cached_property
    def crossing(self) -> float:
        """About the time that diffusion across the smallest cell takes at most, L²/D_ref."""
        grid, fastest = self.dielectric.grid, 1e-300
        smallest = [float(grid.widths(axis).min()) for axis in range(grid.ndim)]
        for width, electric, ions in zip(smallest, self.dielectric.lines, self.lines, strict=True):
            passing = ions.transmissivity.detach().max() / electric.areas.max()
            fastest = max(fastest, width * float(passing))
        return min(smallest) ** 2 / (2 * grid.ndim) / fastest

    def faces(self, c: Tensor, phi: Tensor) -> tuple[Faces, ...]:
        """What the fluxes across each axis are made of, from ``c`` and the potential."""
        return tuple(
            self._faces(electric, ions, c, phi)
            for electric, ions in zip(self.dielectric.lines, self.lines, strict=True)
        )

    def _faces(self, electric: ElectricLine, ions: IonLine, c: Tensor, phi: Tensor) -> Faces:
        cells = along(c, self.dielectric.grid, electric.axis)
        ends = cells[..., [-1, 0]] if electric.periodic else ions.reservoir
        if not electric.periodic and self.crowding is not None:
            ends = torch.where(ions.held > 0, ends, edge_columns(cells))
        beside = with_ends(cells, ends)
        rise = self.dielectric.with_walls(phi, electric).diff(dim=-1)
        u = self.valence * rise.unsqueeze(1)
        if self.crowding is not None:
            u = u - torch.log1p(-self.crowding * beside.sum(1)).diff(dim=-1).unsqueeze(1)
        return Faces(u, *self.scheme.weights(u), beside[..., :-1], beside[..., 1:])

    def fluxes(self, faces: Sequence[Faces]) -> tuple[Tensor, ...]:
        """What goes through the faces across each axis, ``(B, S, *others, N+1)``."""
        return tuple(
            ions.transmissivity * (face.ahead * face.before - face.back * face.after) + ions.imposed
            for ions, face in zip(self.lines, faces, strict=True)
        )

    def flux_slopes(self, faces: Sequence[Faces]) -> tuple[Tensor, ...]:
        """Derivatives of the fluxes by u; negative for monotone schemes."""
        slopes = []
        for ions, face in zip(self.lines, faces, strict=True):
            ahead, back = self.scheme.slopes(face.u, (face.ahead, face.back))
            slopes.append(ions.transmissivity * (ahead * face.before - back * face.after))
        return tuple(slopes)

    def rate(self, c: Tensor) -> Tensor:
        """dc/dt like ``c``, the potential following the charge at once."""
        medium = self.dielectric
        leaving = medium.leaving(self.fluxes(self.faces(c, self.potential(c))))
        rate = -leaving / medium.volumes
        return rate if self.reactions is None else rate + self.reactions.sources(c)

    def gauss_error(self, c: Tensor) -> Tensor:
        """What Gauss' law is wrong by in the worst cell, against all charges, ``(B,)``."""
        medium = self.dielectric
        through = medium.displacement(self.potential(c))
        load = medium.volumes * self.charge(c)
        present = medium.volumes * (self.valence * c).abs().sum(1)
        size = torch.stack([one.flatten(1).abs().amax(1) for one in (present, *through)]).amax(0)
        wrong = medium.leaving(through) - load
        if medium.floating:  # what net charge round-off has left is not in the potential
            net = medium.total(wrong / medium.volumes) / medium.volumes.sum()
            wrong = wrong - medium.volumes * net.reshape(-1, *(1,) * medium.grid.ndim)
        wrong = wrong.flatten(1).abs().amax(1)
        return wrong / size.clamp_min(torch.finfo(c.dtype).tiny)

    # ---- what users ask, per area of a face where it lives on faces

    def flux_across(self, c: Tensor, axis: int) -> Tensor:
        """Fluxes J through the faces across ``axis``, N + 1 along it, in D_ref c_ref / L."""
        return self._per_area(self.fluxes(self.faces(c, self.potential(c)))[axis], axis)

    def displacement_of(self, rho: Tensor, axis: int) -> Tensor:
        """The displacement through the faces that a charge density and the walls make."""
        medium = self.dielectric
        return self._per_area(medium.displacement(medium.potential(rho))[axis], axis)

    def field_across(self, c: Tensor, axis: int) -> Tensor:
        """The electric field at the faces across ``axis``."""
        grid, line = self.dielectric.grid, self.dielectric.lines[axis]
        widths = grid.widths(axis).to(c)
        lengths = face_resistances(widths, torch.ones_like(widths), periodic=line.periodic)
        values = along(self.dielectric.permittivity, grid, axis)
        mean = lengths / face_resistances(widths, values, periodic=line.periodic)
        return self.displacement_of(self.charge(c), axis) / back(mean, grid, axis)

    def electrode_charge(self, c: Tensor, axis: int, end: int) -> Tensor:
        """The charge on the wall before (``end`` 0) or after (1) the cells, ``(B,)``."""
        through = self.dielectric.displacement(self.potential(c))[axis]
        at_wall = through[..., 0] if end == 0 else -through[..., -1]
        return at_wall.reshape(len(at_wall), -1).sum(1)

    def osmotic_energy(self, c: Tensor) -> Tensor:
        r"""Mixing, crowding and reactions, ``(B,)``; NaN where a concentration is negative.

        .. math:: \int \sum_i c_i (\ln c_i - 1 + \mu_i^0) + \tfrac{s}{a^3} (\ln s - 1), \quad
                  s = 1 - a^3 \sum_i c_i.
        """
        density = (torch.xlogy(c, c) - c).sum(1)
        if self.crowding is not None:
            free = 1 - self.crowding * c.sum(1)
            density = density + (torch.xlogy(free, free) - free) / self.crowding
        if self.reactions is not None:
            density = density + (self.reactions.standard_potentials() * c).sum(1)
        return self.dielectric.total(density)

    def electric_energy(self, c: Tensor) -> Tensor:
        r""":math:`\tfrac12 \int (\rho + \rho_f) (\phi + \phi_w)`, ``(B,)``.

        Where no wall fixes the potential, :math:`\tfrac12 \int \varepsilon |\nabla\phi|^2`.
        """
        medium, charge = self.dielectric, self.charge(c)
        phi = medium.potential(charge)
        if not medium.floating:
            alone = medium.potential(torch.zeros_like(charge))
            return medium.total(charge * (phi + alone)) / 2
        energy = torch.zeros(len(c), dtype=c.dtype, device=c.device)
        for line, through in zip(medium.lines, medium.displacement(phi), strict=True):
            inner = slice(1, None) if line.periodic else slice(1, -1)
            part = through[..., inner].square() / line.conductance[..., inner]
            energy = energy + part.flatten(1).sum(1) / 2
        return energy

    def _per_area(self, through: Tensor, axis: int) -> Tensor:
        """What goes through faces, per area, in the order of the grid's axes."""
        line = self.dielectric.lines[axis]
        return back(through / line.areas[..., None], self.dielectric.grid, axis)
