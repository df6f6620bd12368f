"""A box's permittivity and the electric conditions at its walls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pnpfusion.solvers.bases import Basis, wall_bases
from pnpfusion.solvers.boundary import Walls, check_walls
from pnpfusion.solvers.elliptic import solve_elliptic
from pnpfusion.solvers.field import Field, Parameter, check_above_zero, spread
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.lines import (
    along,
    back,
    edge_columns,
    face_areas,
    face_resistances,
    on_edges,
    some_samples,
    with_ends,
)
from pnpfusion.solvers.neutrality import check_neutral
from pnpfusion.solvers.transforms import solve_by_transform
from pnpfusion.solvers.wall_values import WallPair


@dataclass(frozen=True, eq=False)
class ElectricLine:
    """The faces across one axis; every tensor has that axis last.

    Face i lies before cell i; faces 0 and N are the walls (on a periodic axis, one face twice).
    """

    axis: int
    periodic: bool
    areas: Tensor  #: of the faces, (*others)
    conductance: Tensor
    """eps * area / distance, 0 at walls without electrode; (B|1, *others|1, N+1)"""
    electrode: Tensor  #: potentials U behind the two walls, 0 without; (B|1, *others|1, 2)
    surface_charge: Tensor  #: on the two walls, times the area; (B|1, *others|1, 2)
    pull: Tensor  #: share of U in the wall's potential: 1 electrode, < 1 Stern, 0; like electrode
    rise: Tensor  #: from the edge cell's potential to the wall's, by surface charge; like electrode


@dataclass(frozen=True, eq=False)
class Dielectric:
    r"""Permittivity and electric wall conditions of a cell, for a batch of B samples.

    The displacement through a face is ``conductance * (phi_before - phi_after)``, plus what a
    surface charge imposes at a wall.
    """

    grid: Grid
    volumes: Tensor  #: of the cells, (*grid.shape)
    floating: bool  #: whether no wall fixes the potential
    permittivity: Tensor  #: eps, (B|1, *grid.shape|1)
    lines: tuple[ElectricLine, ...]  #: one for each axis
    bases: tuple[Basis, ...] | None
    """Of each axis, where the operator is diagonal in them: nothing in it varies in space."""

    @classmethod
    def build(
        cls,
        grid: Grid,
        permittivity: Parameter,
        walls: Walls | None,
        batch: tuple[int, ...],
        like: Tensor,
        t: Tensor | None = None,
    ) -> Dielectric:
        """Check the parameters and spread them over the batch; dtype and device are ``like``'s."""
        parts = check_walls(grid, walls)
        epsilon = spread("permittivity", permittivity, grid.shape, batch, like)
        of_salt = "; for a 1:1 salt it is 2 (Debye length / L)^2"
        check_above_zero("permittivity", epsilon, of_salt)
        pairs = [WallPair(grid, axis, parts, batch, like, t) for axis in range(grid.ndim)]
        lines = tuple(_line(epsilon, pair) for pair in pairs)
        return cls(
            grid=grid,
            volumes=grid.weights.to(like),
            floating=all(wall.potential is None for side in parts.values() for wall in side),
            permittivity=epsilon,
            lines=lines,
            bases=None if isinstance(permittivity, Field) else _bases(grid, lines),
        )

    def samples(self, part: slice) -> Dielectric:
        """That of a part of the batch."""
        names = "conductance", "electrode", "surface_charge", "pull", "rise"
        lines = tuple(some_samples(line, part, *names) for line in self.lines)
        return replace(some_samples(self, part, "permittivity"), lines=lines)

    def load(self, rho: Tensor) -> Tensor:
        """What a charge density and the walls put on Poisson's equation, like ``rho``."""
        load = self.volumes * rho
        for line in self.lines:
            if not line.periodic:
                ends = edge_columns(line.conductance) * line.electrode + line.surface_charge
                load = load + back(on_edges(ends, self.grid.shape[line.axis]), self.grid, line.axis)
        return load

    def potential(self, rho: Tensor) -> Tensor:
        """The potential of ``rho`` ``(B, *grid.shape)``; a floating one is neutralised unasked."""
        load = self.load(rho)
        if self.bases is not None and self.grid.ndim > 1:
            return self.transformed(load)
        return self.solve(tuple(line.conductance for line in self.lines), load)

    def transformed(self, load: Tensor, screening: float | Tensor = 0.0) -> Tensor:
        """The potential by transforms, where :attr:`bases` has them."""
        bases, epsilon = self.bases, self.permittivity.flatten()
        if bases is None:
            raise ValueError(
                "transforms need a constant permittivity, equal cells and whole walls."
            )
        return solve_by_transform(load / self.volumes, self.grid, bases, epsilon, screening)

    def solve(
        self,
        conductances: tuple[Tensor, ...],
        load: Tensor,
        mass: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """The potential at which each cell loses ``load``; behind walls it is 0.

        ``known``: this potential where it was found before; then only derivatives are taken.
        """
        singular = self.floating and mass is None
        return solve_elliptic(self.grid, conductances, mass, load, singular=singular, known=known)

    @property
    def grounding(self) -> Tensor:
        """A conductance, (B|1,), that may ground the first cell of a floating box.

        What flows through it is the net charge, which is zero: it only picks one of the potentials
        that differ by a constant.
        """
        mean = self.lines[0].conductance.detach().flatten(1).mean(1)
        return torch.where(mean > 0, mean, 1.0)

    @cached_property
    def widest(self) -> tuple[float, int]:
        """The widest cell at a wall, or anywhere along a periodic axis, and its axis."""
        widest, axis = 0.0, 0
        for line in self.lines:
            widths = self.grid.widths(line.axis)
            found = float((widths if line.periodic else widths[[0, -1]]).max())
            if found > widest:
                widest, axis = found, line.axis
        return widest, axis

    def displacement(self, phi: Tensor) -> tuple[Tensor, ...]:
        r"""The displacement :math:`-\varepsilon\,\partial_n\phi` times the area, for each axis.

        Args:
            phi: the potential, ``(B, *grid.shape)``.

        Returns:
            One tensor ``(B, *others, N+1)`` for each axis, along it.
        """
        through = []
        for line in self.lines:
            cells = along(phi, self.grid, line.axis)
            ends = cells[..., [-1, 0]] if line.periodic else line.electrode
            faces = line.conductance * -with_ends(cells, ends).diff(dim=-1)
            if not line.periodic:
                sign = faces.new_tensor([1.0, -1.0])
                faces = faces + on_edges(sign * line.surface_charge, faces.shape[-1])
            through.append(faces)
        return tuple(through)

    def leaving(self, through: Sequence[Tensor]) -> Tensor:
        """What leaves each cell, from what goes through the faces across each axis."""
        parts = [back(faces.diff(dim=-1), self.grid, axis) for axis, faces in enumerate(through)]
        return sum(parts[1:], parts[0])

    def with_walls(self, phi: Tensor, line: ElectricLine) -> Tensor:
        """``phi`` along ``line`` with the walls' own potentials at both ends, ``(..., N+2)``."""
        cells = along(phi, self.grid, line.axis)
        if line.periodic:
            return with_ends(cells, cells[..., [-1, 0]])
        edge = edge_columns(cells)
        return with_ends(cells, edge + line.pull * (line.electrode - edge) + line.rise)

    def total(self, values: Tensor) -> Tensor:
        """The integral over the box of ``values`` ``(B, ..., *grid.shape)``."""
        return (self.volumes * values).sum(tuple(range(-self.grid.ndim, 0)))

    def check_neutral(self, name: str, rho: Tensor, size: Tensor) -> None:
        """Raise ValueError if the potential floats and a sample has a net charge.

        Args:
            name: what carries the charge, for the message.
            rho: charge density, ``(B, *grid.shape)``.
            size: what a net charge is small against, like ``rho``: the sum of abs(z) c.
        """
        if not self.floating:
            return
        with torch.no_grad():
            net = self.total(rho)
            for line in self.lines:
                charges = line.surface_charge * torch.ones_like(line.areas)[..., None]
                net = net + charges.flatten(1).sum(1)
            precision = torch.finfo(rho.dtype).eps
            cells = self.volumes.numel()
            room = 256 * cells**0.5 * self.total(size) + 10 * self.volumes.sum()
            check_neutral(name, net, precision * room)


def _line(epsilon: Tensor, pair: WallPair) -> ElectricLine:
    """The faces across the axis of ``pair``."""
    grid, axis = pair.grid, pair.axis
    areas = face_areas(grid, axis).to(epsilon)
    epsilon = along(epsilon, grid, axis)
    widths = pair.widths
    area = areas[..., None]
    if epsilon.shape[-1] == 1:  # the same everywhere along the axis
        lengths = face_resistances(widths, torch.ones_like(widths), periodic=pair.periodic)
        conductance = epsilon * (area / lengths)
    else:
        conductance = area / face_resistances(widths, epsilon, periodic=pair.periodic)
    if pair.periodic:
        none = epsilon.new_zeros((1,) * grid.ndim + (2,))
        return ElectricLine(axis, True, areas, conductance, none, none, none, none)
    potential, is_electrode = pair.values("potential")
    stern, _ = pair.values("stern")
    if (stern.detach() < 0).any():
        raise ValueError(f"`stern` must be >= 0, got {float(stern.detach().min()):g}.")
    surface_charge, _ = pair.values("surface_charge")
    half, beside = edge_columns(widths) / 2, edge_columns(epsilon)
    through = half + stern
    return ElectricLine(
        axis=axis,
        periodic=False,
        areas=areas,
        conductance=with_ends(conductance[..., 1:-1], area * is_electrode / through * beside),
        electrode=potential,
        surface_charge=area * surface_charge,
        pull=is_electrode * (half / through),
        rise=surface_charge * half / beside,
    )


def _bases(grid: Grid, lines: tuple[ElectricLine, ...]) -> tuple[Basis, ...] | None:
    """The bases that fit equal cells between walls that are electrodes or none, all over."""
    if grid.edges is not None and any(edges is not None for edges in grid.edges):
        return None
    grounded = []
    for line in lines:
        pull = line.pull.detach()
        held = [bool((pull[..., end] == 1).all()) for end in (0, 1)]
        if any(not held[end] and bool((pull[..., end] != 0).any()) for end in (0, 1)):
            return None
        grounded.append((held[0], held[1]))
    return wall_bases(grid, grounded)
