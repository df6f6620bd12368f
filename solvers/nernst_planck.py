r"""Drift and diffusion of charged species: :math:`\partial_t c = -\nabla\cdot J`.

Every face has one flux, which leaves one cell and enters the next, so the mass of a closed cell
changes by round-off only, whatever the scheme and the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.boundary import Wall, check_walls
from pnpfusion.solvers.field import Parameter, spread
from pnpfusion.solvers.fluxes import FaceScheme
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.poisson import Dielectric, face_resistances, on_edges, with_ends


@dataclass(frozen=True, eq=False)
class Faces:
    """The two sides of every face, seen from it; each tensor is ``(B, S, N+1)``."""

    u: Tensor  #: z times the rise of the potential across the face
    ahead: Tensor  #: weight a(u) of the concentration before the face
    back: Tensor  #: weight b(u) of the concentration after it
    before: Tensor  #: concentrations before the face, in c_ref
    after: Tensor  #: concentrations after it


@dataclass(frozen=True, eq=False)
class Electrolyte:
    """A cell's parameters spread over a batch of B samples: ions, permittivity, walls.

    Faces are numbered as in :class:`Dielectric`. Functions here check nothing.
    """

    dielectric: Dielectric
    scheme: FaceScheme  #: how a face weighs its two neighbours
    valence: Tensor  #: z, (B|1, S, 1)
    transmissivity: Tensor  #: D / distance at faces, 0 where a species cannot pass; (B|1, S, N+1)
    reservoir: Tensor  #: concentrations behind the two walls; (B|1, S, 2)
    imposed: Tensor  #: fluxes that the walls prescribe beside that; (B|1, S, N+1)
    fixed_charge: Tensor  #: (B|1, N|1)
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
        walls: Mapping[str, Wall] | None,
        fixed_charge: Parameter,
        scheme: FaceScheme,
        batch: tuple[int, ...],
        like: Tensor,
    ) -> Electrolyte:
        """Check the parameters and spread them over the batch; dtype and device are ``like``'s."""
        dielectric = Dielectric.build(grid, permittivity, walls, batch, like)
        checked = check_walls(grid, walls)

        def stacked(what: str, values: Sequence[Parameter], *, may_vary: bool = False) -> Tensor:
            """One row per species, (B|1, S, N|1)."""
            rows = [
                spread(f"{what} of {name!r}", value, grid, batch, like, may_vary=may_vary)
                for name, value in zip(names, values, strict=True)
            ]
            return torch.stack(torch.broadcast_tensors(*rows), 1)

        diffusivity = stacked("diffusivity", diffusivities, may_vary=True)
        if not (diffusivity.detach() > 0).all():
            raise ValueError(
                f"`diffusivity` must be > 0, got {float(diffusivity.detach().min()):g}."
            )
        conduction = 1 / face_resistances(
            dielectric.widths, diffusivity, periodic=dielectric.periodic
        )

        def at_walls(kind: str) -> tuple[Tensor, Tensor]:
            """What both walls say of each species, (B|1, S, 2), and whether they do, (S, 2)."""
            columns = [diffusivity.new_zeros(1, len(names), 1)] * (0 if checked else 2)
            said = torch.zeros(len(names), 2, dtype=torch.bool)
            for end, (side, wall) in enumerate(checked.items()):
                given = getattr(wall, kind) or {}
                if unknown := set(given) - set(names):
                    raise ValueError(
                        f"`walls[{side!r}].{kind}` names {sorted(unknown)}, but the species are "
                        f"{list(names)}."
                    )
                columns.append(
                    stacked(f"`walls[{side!r}].{kind}`", [given.get(n, 0.0) for n in names])
                )
                said[:, end] = torch.tensor([name in given for name in names])
            return torch.cat(torch.broadcast_tensors(*columns), -1), said

        reservoir, held = at_walls("concentration")
        influx, fed = at_walls("flux")
        if (reservoir.detach() < 0).any():
            raise ValueError(
                f"a wall's `concentration` must be >= 0, got {float(reservoir.detach().min()):g}."
            )
        if dielectric.floating and (held | fed).any():
            raise ValueError(
                "a cell whose species cross a wall needs a `potential` at one wall: without it the "
                "cell's charge, and so its potential, has nothing to refer to."
            )
        if not dielectric.periodic:
            inner = held.new_ones(len(names), len(dielectric.widths) - 1)
            passable = torch.cat([held[:, :1], inner, held[:, 1:]], -1)
            conduction = conduction * passable.to(conduction)
        return cls(
            dielectric=dielectric,
            scheme=scheme,
            valence=stacked("valence", valences),
            transmissivity=conduction,
            reservoir=reservoir,
            imposed=on_edges(influx * influx.new_tensor([1.0, -1.0]), conduction.shape[-1]),
            fixed_charge=spread("fixed_charge", fixed_charge, grid, batch, like),
            closed=tuple((~(held | fed).any(1)).tolist()),
        )

    def charge(self, c: Tensor) -> Tensor:
        """Charge density ``(B, N)`` of concentrations ``(B, S, N)``."""
        return (self.valence * c).sum(1) + self.fixed_charge

    def net_charge(self, c: Tensor) -> Tensor:
        """The charge of the whole cell, ``(B,)``."""
        return (self.dielectric.widths * self.charge(c)).sum(-1)

    def check_neutral(self, name: str, c: Tensor) -> None:
        """Raise ValueError if the potential floats and a sample of ``c`` has a net charge."""
        size = (self.valence.abs() * c).sum(1)
        self.dielectric.check_neutral(name, self.charge(c), size)

    def potential(self, c: Tensor) -> Tensor:
        """The potential ``(B, N)`` of concentrations ``(B, S, N)``, in kT/e."""
        return self.dielectric.potential(self.charge(c))

    def faces(self, c: Tensor, phi: Tensor) -> Faces:
        """What the fluxes are made of, from ``c`` ``(B, S, N)`` and ``phi`` ``(B, N)``."""
        ends = c[..., [-1, 0]] if self.dielectric.periodic else self.reservoir
        beside = with_ends(c, ends)
        u = self.valence * self.dielectric.with_walls(phi).diff(dim=-1).unsqueeze(1)
        return Faces(u, *self.scheme.weights(u), beside[..., :-1], beside[..., 1:])

    def fluxes(self, faces: Faces) -> Tensor:
        """Fluxes ``(B, S, N+1)`` along +x through the faces, in D_ref c_ref / L."""
        net = faces.ahead * faces.before - faces.back * faces.after
        return self.transmissivity * net + self.imposed

    def flux_slopes(self, faces: Faces) -> Tensor:
        """Derivatives of the fluxes by u, ``(B, S, N+1)``; negative for monotone schemes."""
        ahead, back = self.scheme.slopes(faces.u, (faces.ahead, faces.back))
        return self.transmissivity * (ahead * faces.before - back * faces.after)

    def rate(self, c: Tensor) -> Tensor:
        """dc/dt ``(B, S, N)``, the potential following the charge at once."""
        fluxes = self.fluxes(self.faces(c, self.potential(c)))
        return -fluxes.diff(dim=-1) / self.dielectric.widths
