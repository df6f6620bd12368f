r"""The potential of a charge density: :math:`-\nabla\cdot(\varepsilon\nabla\phi) = \rho`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.banded import solve_tridiagonal
from pnpfusion.solvers.boundary import Wall, check_walls
from pnpfusion.solvers.field import Parameter, spread
from pnpfusion.solvers.grid import Grid


def solve_poisson(
    rho: Tensor,
    grid: Grid,
    *,
    permittivity: Parameter = 1.0,
    walls: Mapping[str, Wall] | None = None,
) -> Tensor:
    r"""The potential of a charge density; of zero mean where no wall fixes it.

    Solves :math:`-\partial_x(\varepsilon\,\partial_x\phi) = \rho` by cell-centred finite volumes of
    order 2 and one tridiagonal solve, O(N). Gauss' law holds in every cell to round-off. The map is
    self-adjoint in ``rho`` and differentiable to any order in ``rho``, ``permittivity`` and the
    walls.

    Args:
        rho: charge density, shape ``(*batch, *grid.shape)``, in F c_ref; float32 or float64.
        grid: the box (one axis).
        permittivity: :math:`\varepsilon = 2\lambda_D^2/L^2` for a 1:1 salt; a number, shape
            ``(*batch,)``, or a :class:`Field`.
        walls: what holds at ``"x-"`` and ``"x+"``; a wall that is not named insulates.

    Returns:
        The potential, of the shape of ``rho``, in kT/e.

    Raises:
        ValueError: a bad shape or parameter; or no wall fixes the potential and a sample carries a
            net charge, walls included.
    """
    grid.check("rho", rho)
    batch = tuple(rho.shape[: -grid.ndim])
    flat = rho.reshape(-1, *grid.shape)
    medium = Dielectric.build(grid, permittivity, walls, batch, flat)
    medium.check_neutral("rho", flat, flat.abs())
    return medium.potential(flat).reshape(rho.shape)


@dataclass(frozen=True, eq=False)
class Dielectric:
    r"""Permittivity and electric wall conditions of a cell, for a batch of B samples.

    Face i lies before cell i; faces 0 and N are the walls (on a ring, the same face twice). The
    displacement through a face is ``conductance * (phi_before - phi_after)``, plus what a surface
    charge imposes at a wall.
    """

    widths: Tensor  #: cell widths, (N,)
    periodic: bool  #: whether the cells form a ring
    floating: bool  #: whether no wall fixes the potential
    permittivity: Tensor  #: eps, (B|1, N|1)
    conductance: Tensor  #: eps / distance at the faces, 0 at a wall without electrode; (B|1, N+1)
    electrode: Tensor  #: potentials U behind the two walls, 0 without; (B|1, 2)
    surface_charge: Tensor  #: at the two walls; (B|1, 2)
    pull: Tensor  #: share of U in the wall's own potential: 1 electrode, < 1 Stern, 0; (B|1, 2)
    rise: Tensor  #: from the edge cell's potential to the wall's, by surface charge; (B|1, 2)

    @classmethod
    def build(
        cls,
        grid: Grid,
        permittivity: Parameter,
        walls: Mapping[str, Wall] | None,
        batch: tuple[int, ...],
        like: Tensor,
    ) -> Dielectric:
        """Check the parameters and spread them over the batch; dtype and device are ``like``'s."""
        if grid.ndim != 1:
            raise ValueError(f"Poisson is solved on grids of one axis, got shape {grid.shape}.")
        checked = check_walls(grid, walls)
        epsilon = spread("permittivity", permittivity, grid, batch, like)
        if not (epsilon.detach() > 0).all():
            raise ValueError(
                f"`permittivity` must be > 0, got {float(epsilon.detach().min()):g}; for a 1:1 "
                f"salt it is 2 (Debye length / L)^2."
            )
        widths = grid.widths().to(like)
        resistance = face_resistances(widths, epsilon, periodic=not checked)
        sides = [checked[side] for side in grid.sides]

        def at_walls(name: str, default: float) -> Tensor:
            """The condition ``name`` at both walls, (B|1, 2)."""
            values = [getattr(wall, name) for wall in sides]
            columns = [
                spread(
                    f"walls[{side!r}].{name}",
                    default if v is None else v,
                    grid,
                    batch,
                    like,
                    may_vary=False,
                )
                for side, v in zip(grid.sides, values, strict=True)
            ]
            return torch.cat(torch.broadcast_tensors(*columns), 1)

        if not sides:
            zero = torch.zeros(1, 2).to(like)
            return cls(widths, True, True, epsilon, 1 / resistance, zero, zero, zero, zero)
        is_electrode = torch.tensor([[wall.potential is not None for wall in sides]]).to(like)
        stern = at_walls("stern", 0.0)
        if (stern.detach() < 0).any():
            raise ValueError(f"`stern` must be >= 0, got {float(stern.detach().min()):g}.")
        surface_charge = at_walls("surface_charge", 0.0)
        epsilon_at_wall = epsilon[:, [0, -1]]
        half = resistance[:, [0, -1]]
        behind = is_electrode / (half + stern / epsilon_at_wall)
        left, right = behind.split(1, 1)
        inner = 1 / resistance[:, 1:-1]
        lead = torch.broadcast_shapes(left.shape[:1], inner.shape[:1])
        conductance = torch.cat([part.expand(*lead, -1) for part in (left, inner, right)], 1)
        return cls(
            widths=widths,
            periodic=False,
            floating=all(wall.potential is None for wall in sides),
            permittivity=epsilon,
            conductance=conductance,
            electrode=at_walls("potential", 0.0),
            surface_charge=surface_charge,
            pull=behind * half,
            rise=surface_charge * half,
        )

    @property
    def grounding(self) -> Tensor:
        """The conductance, (B|1,), through which the first cell of a floating box is grounded.

        What flows through it is the net charge, which is zero: it only picks one of the potentials
        that differ by a constant.
        """
        return (self.permittivity.detach() / self.widths).mean(-1)

    def potential(self, rho: Tensor) -> Tensor:
        """The potential of ``rho`` ``(B, N)``; a floating sample is neutralised, unchecked."""
        load = self.widths * rho
        if not self.periodic:
            ends = self.conductance[:, [0, -1]] * self.electrode + self.surface_charge
            load = load + on_edges(ends, len(self.widths))
        return self.solve(self.conductance, load)

    def solve(self, conductance: Tensor, load: Tensor) -> Tensor:
        """The potential at which each cell loses ``load`` ``(B, N)`` through its faces.

        Behind walls the potential is 0; ``conductance`` is ``(B|1, N+1)``.
        """
        diagonal = conductance[:, :-1] + conductance[:, 1:]
        if self.floating:
            load = load - self.widths * (load.sum(-1, keepdim=True) / self.widths.sum())
            pin = torch.zeros_like(diagonal[:1])
            pin[0, 0] = 1
            diagonal = diagonal + pin * self.grounding.unsqueeze(-1)
        phi = solve_tridiagonal(
            -conductance[:, :-1], diagonal, -conductance[:, 1:], load, periodic=self.periodic
        )
        if self.floating:
            phi = phi - (self.widths * phi).sum(-1, keepdim=True) / self.widths.sum()
        return phi

    def displacement(self, phi: Tensor) -> Tensor:
        r"""The displacement :math:`-\varepsilon\,\partial_x\phi` at the faces, ``(B, N+1)``.

        Args:
            phi: the potential, ``(B, N)``.
        """
        ends = phi[:, [-1, 0]] if self.periodic else self.electrode
        faces = self.conductance * -with_ends(phi, ends).diff(dim=-1)
        if self.periodic:
            return faces
        sign = faces.new_tensor([1.0, -1.0])
        return faces + on_edges(sign * self.surface_charge, faces.shape[-1])

    def with_walls(self, phi: Tensor) -> Tensor:
        """``phi`` ``(B, N)`` with the walls' own potentials before and behind it, ``(B, N+2)``."""
        if self.periodic:
            return with_ends(phi, phi[:, [-1, 0]])
        edge = phi[:, [0, -1]]
        return with_ends(phi, edge + self.pull * (self.electrode - edge) + self.rise)

    def check_neutral(self, name: str, rho: Tensor, size: Tensor) -> None:
        """Raise ValueError if the potential floats and a sample has a net charge.

        Args:
            name: what carries the charge, for the message.
            rho: charge density, ``(B, N)``.
            size: what a net charge is small against, ``(B, N)``: the sum of abs(z) c.
        """
        if not self.floating:
            return
        with torch.no_grad():
            net = (self.widths * rho).sum(-1) + self.surface_charge.sum(-1)
            scale = (self.widths * size).sum(-1)
            precision = torch.finfo(rho.dtype).eps
            allowed = precision * (256 * len(self.widths) ** 0.5 * scale + 10 * self.widths.sum())
            if (net.abs() > allowed).any():
                worst = int((net.abs() - allowed).argmax())
                raise ValueError(
                    f"`{name}` carries a net charge of {float(net[worst]):.3g} (sample {worst}), "
                    f"but no wall fixes the potential, so it must be neutral; balance it, e.g. "
                    f"with `fixed_charge`, or give a wall a `potential`."
                )


def face_resistances(widths: Tensor, values: Tensor, *, periodic: bool) -> Tensor:
    """Distance over value between neighbours, in series (harmonic mean); half a cell at walls.

    ``values`` ``(..., N or 1)`` per cell; returns ``(..., N+1)``.
    """
    half = widths / 2 / values
    if periodic:
        return with_ends(half, half[..., [-1, 0]]).unfold(-1, 2, 1).sum(-1)
    return torch.cat([half[..., :1], half[..., 1:] + half[..., :-1], half[..., -1:]], -1)


def with_ends(cells: Tensor, ends: Tensor) -> Tensor:
    """``cells`` ``(..., N)`` between the two columns of ``ends`` ``(..., 2)``; ``(..., N+2)``."""
    ends = ends.expand(*cells.shape[:-1], 2)
    return torch.cat([ends[..., :1], cells, ends[..., 1:]], -1)


def on_edges(ends: Tensor, n: int) -> Tensor:
    """Zeros ``(..., n)`` with the two columns of ``ends`` added to the first and last entry."""
    zeros = ends.new_zeros(*ends.shape[:-1], n - 1)
    return torch.cat([ends[..., :1], zeros], -1) + torch.cat([zeros, ends[..., 1:]], -1)
