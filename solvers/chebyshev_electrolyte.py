r"""Ions between two walls by polynomials: :math:`\partial_t c = -\partial_x J` at Chebyshev points.

The error falls faster than any power of the number of points, the thin layers at electrodes
included. The mass of every species is exact. A polynomial cannot promise positivity: a state that
the points do not resolve may go below zero. Look at the smallest concentration of a run, and take
more points or finite volumes where it is negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_known
from pnpfusion.solvers.boundary import Walls, check_walls
from pnpfusion.solvers.chebyshev import ChebyshevGrid
from pnpfusion.solvers.field import Drive, Parameter, at_time, check_above_zero, spread
from pnpfusion.solvers.neutrality import check_closed, check_neutral
from pnpfusion.solvers.species import per_species


@dataclass(frozen=True, eq=False)
class ChebyshevElectrolyte:
    r"""A cell's parameters spread over a batch of B samples; n points, the walls among them.

    .. math:: \phi = \phi_w + G \rho, \qquad J_i = -D_i (\partial_x c_i + z_i c_i \partial_x \phi),

    the flux taken from the walls at the two ends [Tre00, 13]. Functions here check nothing.
    """

    derivative: Tensor  #: the matrix of slopes, (n, n)
    widths: Tensor  #: weights in integrals, (n,)
    floating: bool  #: whether no wall fixes the potential
    permittivity: Tensor  #: eps, (B|1, 1)
    green: Tensor  #: G, the potential of a charge between walls at 0, (B|1, n, n)
    wall_potential: Tensor  #: phi_w, what the walls make alone, (B|1, n)
    wall_charge: Tensor  #: surface charge at the two walls, (B|1, 2)
    valence: Tensor  #: z, (B|1, S, 1)
    diffusivity: Tensor  #: D, (B|1, S, n|1)
    imposed: Tensor  #: fluxes along +x at the two walls, (B|1, S, 2)
    fixed_charge: Tensor  #: (B|1, n|1)
    closed: tuple[bool, ...]  #: per species, whether no wall lets it in or out

    @classmethod
    def build(
        cls,
        grid: ChebyshevGrid,
        names: Sequence[str],
        valences: Sequence[float | Tensor],
        diffusivities: Sequence[Parameter],
        *,
        permittivity: Parameter,
        walls: Walls | None,
        fixed_charge: Parameter,
        batch: tuple[int, ...],
        like: Tensor,
        t: Tensor | None = None,
    ) -> ChebyshevElectrolyte:
        """Check the parameters and spread them over the batch; dtype and device are ``like``'s.

        Args:
            grid: the points.
            names: one per species, for messages.
            valences: z of each species.
            diffusivities: D of each species; may be a :class:`Field`.
            permittivity: a number, or one per sample.
            walls: electrodes, with or without Stern layer, surface charges, prescribed fluxes.
            fixed_charge: may be a :class:`Field`.
            batch: the batch axes of the state.
            like: a tensor of the state's dtype and device.
            t: the time, ``(*batch,)``, for conditions that are functions of it.

        Raises:
            ValueError: a reservoir, a permittivity that varies in space, or a bad parameter.
        """
        sides = {side: parts[0] for side, parts in check_walls(grid, walls).items()}

        def now(name: str, value: Drive) -> Parameter:
            found = at_time(name, value, t)
            return 0.0 if found is None else found

        def number(name: str, value: Drive) -> Tensor:
            return spread(name, now(name, value), grid.shape, batch, like, may_vary=False)

        def stacked(what: str, values: Sequence[Drive], *, may_vary: bool = False) -> Tensor:
            found = [now(what, value) for value in values]
            return per_species(what, names, found, grid.shape, batch, like, may_vary=may_vary)

        def at_walls(name: str) -> Tensor:
            values = ((side, getattr(wall, name)) for side, wall in sides.items())
            columns = [number(f"walls[{s!r}].{name}", 0.0 if v is None else v) for s, v in values]
            return torch.cat(torch.broadcast_tensors(*columns), 1)

        fluxes = []
        for side, wall in sides.items():
            if wall.concentration:
                raise ValueError(
                    f"`walls[{side!r}]` is a reservoir, which Chebyshev points do not offer; use a "
                    f"Grid and a finite-volume scheme."
                )
            given = wall.flux or {}
            check_known(f"walls[{side!r}].flux", given, names, "species")
            fluxes.append(stacked(f"`walls[{side!r}].flux`", [given.get(n, 0.0) for n in names]))
        fed = {name for wall in sides.values() for name in wall.flux or ()}
        is_electrode = [wall.potential is not None for wall in sides.values()]
        if not any(is_electrode):
            check_closed(bool(fed))
        epsilon, stern = number("permittivity", permittivity), at_walls("stern")
        diffusivity = stacked("diffusivity", diffusivities, may_vary=True)
        check_above_zero("permittivity", epsilon)
        check_above_zero("diffusivity", diffusivity)
        if (stern.detach() < 0).any():
            raise ValueError(f"`stern` must be >= 0, got {float(stern.detach().min()):g}.")
        charge = at_walls("surface_charge")
        inverse = _inverse_laplacian(grid, is_electrode, stern.double())
        at_ends = torch.where(
            torch.tensor(is_electrode, device=like.device),
            at_walls("potential"),
            charge / epsilon,
        )
        green = inverse[:, :, 1:-1] / epsilon.double().unsqueeze(2)
        ends = inverse[:, :, [0, -1]] * at_ends.double().unsqueeze(1)
        inflow = torch.cat(torch.broadcast_tensors(*fluxes), 2)
        return cls(
            derivative=grid.derivative.to(like),
            widths=grid.widths().to(like),
            floating=not any(is_electrode),
            permittivity=epsilon,
            green=torch.nn.functional.pad(green, (1, 1)).to(like),
            wall_potential=ends.sum(2).to(like),
            wall_charge=charge,
            valence=stacked("valence", valences),
            diffusivity=diffusivity,
            imposed=inflow * inflow.new_tensor([1.0, -1.0]),
            fixed_charge=spread("fixed_charge", fixed_charge, grid.shape, batch, like),
            closed=tuple(name not in fed for name in names),
        )

    def charge(self, c: Tensor) -> Tensor:
        """Charge density ``(B, n)`` of concentrations ``(B, S, n)``, in F c_ref."""
        return (self.valence * c).sum(1) + self.fixed_charge

    def net_charge(self, c: Tensor) -> Tensor:
        """The charge of the whole cell, ``(B,)``."""
        return (self.widths * self.charge(c)).sum(-1)

    def check_neutral(self, name: str, c: Tensor) -> None:
        """Raise ValueError if the potential floats and a sample has a net charge, walls included.

        What polynomials make of a neutral state that they do not resolve counts as neutral up to
        1e-6 of the charge of either sign.
        """
        if not self.floating:
            return
        with torch.no_grad():
            net = self.net_charge(c) + self.wall_charge.sum(-1)
            size = (self.widths * (self.valence.abs() * c).sum(1)).sum(-1)
            allowed = 1e-6 * size + 1e3 * torch.finfo(c.dtype).eps * self.widths.sum()
            check_neutral(name, net, allowed)

    def potential(self, c: Tensor) -> Tensor:
        """The potential ``(B, n)`` of concentrations, in kT/e; of zero mean where it floats."""
        return self._of_charge(self.charge(c)) + self.wall_potential

    def flux_across(self, c: Tensor, axis: int = 0) -> Tensor:
        """Fluxes along +x at the points, ``(B, S, n)``, in D_ref c_ref / L."""
        field = self._slope(self.potential(c)).unsqueeze(1)
        inner = -self.diffusivity * (self._slope(c) + self.valence * c * field)
        left, right = self.imposed.expand(len(c), -1, -1).split(1, -1)
        return torch.cat([left, inner[..., 1:-1], right], -1)

    def rate(self, c: Tensor) -> Tensor:
        """dc/dt ``(B, S, n)``, the potential following the charge at once."""
        return -self._slope(self.flux_across(c))

    def jacobian(self, c: Tensor) -> Tensor:
        """Derivatives of the rates by the concentrations, ``(B, S, n, S, n)``."""
        batch, species, n = c.shape
        inside = torch.ones_like(self.widths)
        inside[0] = inside[-1] = 0
        # The rate is derivative @ (inside * D * (c' + z c phi')).
        divergence = self.derivative * (inside * self.diffusivity).unsqueeze(2)
        field = self.valence * self._slope(self.potential(c)).unsqueeze(1)
        own = divergence @ self.derivative + divergence * field.unsqueeze(2)
        charged = divergence * (self.valence * c).unsqueeze(2)
        drift = charged @ (self.derivative @ self.green).unsqueeze(1)
        others = drift.unsqueeze(3) * self.valence.reshape(-1, 1, 1, species, 1)
        eye = torch.eye(species).to(c).reshape(1, species, 1, species, 1)
        return (others + eye * own.unsqueeze(3)).expand(batch, species, n, species, n)

    def displacement_of(self, rho: Tensor, axis: int = 0) -> Tensor:
        """The displacement at the points that a charge density and the walls make, ``(B, n)``."""
        return -self.permittivity * self._slope(self._of_charge(rho) + self.wall_potential)

    def field_across(self, c: Tensor, axis: int = 0) -> Tensor:
        """The electric field at the points, ``(B, n)``."""
        return self.displacement_of(self.charge(c)) / self.permittivity

    def gauss_error(self, c: Tensor) -> Tensor:
        """How far slopes of the displacement are from the charge, against all charges, (B,)."""
        charge = self.charge(c)
        wrong = (self._slope(self.displacement_of(charge)) - charge)[:, 1:-1].abs().amax(1)
        present = (self.valence * c).abs().sum(1).amax(1)
        return wrong / present.clamp_min(torch.finfo(c.dtype).tiny)

    def electrode_charge(self, c: Tensor, axis: int, end: int) -> Tensor:
        """The charge on a wall, ``(B,)``."""
        through = self.displacement_of(self.charge(c))
        return through[:, 0] if end == 0 else -through[:, -1]

    def room(self, c: Tensor, sample: Tensor | None = None) -> None:
        """What crowding leaves free; there is none."""

    def osmotic_energy(self, c: Tensor) -> Tensor:
        r""":math:`\int \sum_i c_i (\ln c_i - 1)`, ``(B,)``; NaN where c is negative."""
        return (self.widths * (torch.xlogy(c, c) - c)).sum((1, 2))

    def electric_energy(self, c: Tensor) -> Tensor:
        r""":math:`\tfrac12 \int (\rho + \rho_f) (\phi + \phi_w)`, ``(B,)``.

        Where no wall fixes the potential, :math:`\tfrac12 \int \varepsilon |\partial_x\phi|^2`.
        """
        phi = self.potential(c)
        if self.floating:
            electric = self.permittivity * self._slope(phi).square()
        else:
            electric = self.charge(c) * (phi + self.wall_potential)
        return (self.widths * electric).sum(-1) / 2

    def _of_charge(self, rho: Tensor) -> Tensor:
        return (self.green @ rho.unsqueeze(-1)).squeeze(-1)

    def _slope(self, values: Tensor) -> Tensor:
        return values @ self.derivative.mT


def _inverse_laplacian(grid: ChebyshevGrid, is_electrode: list[bool], stern: Tensor) -> Tensor:
    r"""From :math:`-\phi''` at inner points and the walls' conditions to phi, ``(B|1, n, n)``.

    A wall's condition is :math:`\phi + s \partial_n\phi` for an electrode, else
    :math:`\partial_n\phi`. Where no wall is one, the mean of phi is zero, and what a load has too
    much for that is taken evenly from its inner points.
    """
    slope = grid.derivative.to(stern.device)
    n = len(slope)
    normal = torch.stack([-slope[0], slope[-1]])
    ends = torch.eye(n, dtype=slope.dtype, device=slope.device)[[0, -1]]
    holds = torch.tensor(is_electrode, device=slope.device)[:, None]
    walls = torch.where(holds, ends + stern.unsqueeze(2) * normal, normal)
    inner = -(slope @ slope)[1:-1].expand(len(walls), -1, -1)
    matrix = torch.cat([walls[:, :1], inner, walls[:, 1:]], 1)
    if any(is_electrode):
        return torch.stack([torch.linalg.inv(one) for one in matrix])
    excess = torch.ones(len(matrix), n, 1).to(slope)
    excess[:, [0, -1]] = 0
    mean = torch.nn.functional.pad(grid.widths().to(slope), (0, 1)).expand(len(matrix), 1, -1)
    bordered = torch.cat([torch.cat([matrix, excess], 2), mean], 1)
    return torch.stack([torch.linalg.inv(one)[:n, :n] for one in bordered])
