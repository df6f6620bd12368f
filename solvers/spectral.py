r"""Ions by Fourier and cosine series: :math:`\partial_t c = -\nabla\cdot J` on its modes.

For constant diffusivities and permittivity in boxes whose axes repeat or end at walls that insulate
and let nothing through. The error falls faster than any power of the number of cells once the
fields are resolved, and the mass of every species is exact. What a series cannot promise is
positivity: a state that the cells do not resolve may go below zero. Look at the smallest
concentration of a run, and take more cells or finite volumes where it is negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.bases import Basis, frequencies, insulating_bases
from pnpfusion.solvers.boundary import Wall, Walls, check_walls
from pnpfusion.solvers.field import Parameter, check_above_zero, spread
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.implicit_solve import is_followed
from pnpfusion.solvers.low_modes import LowModes
from pnpfusion.solvers.neutrality import check_neutral
from pnpfusion.solvers.species import per_species
from pnpfusion.solvers.spectral_derivative import axis_derivative
from pnpfusion.solvers.steppers.base import Semilinear
from pnpfusion.solvers.transforms import from_modes, laplacian_symbols, sum_over_axes, to_modes


@dataclass(frozen=True, eq=False)
class SpectralElectrolyte:
    r"""A cell's parameters spread over a batch of B samples, S species in D dimensions.

    The drift of each species is that which its mean concentration :math:`\bar c_i` would have,
    linear in the modes, and the rest, whose products are formed at the cell centres:

    .. math:: \partial_t c_i = D_i \nabla^2 c_i - \frac{D_i z_i \bar c_i}{\varepsilon} \rho
              + D_i z_i \nabla\cdot\big( (c_i - \bar c_i) \nabla\phi \big).

    Concentrations are values at the cell centres, ``(B, S, *grid.shape)``. The potential has zero
    mean; what net charge a state has is left out of it, so :meth:`check_neutral` comes first.
    """

    grid: Grid
    bases: tuple[Basis, ...]  #: Fourier on periodic axes, cosines between walls
    permittivity: Tensor  #: eps, (B|1, 1, ...)
    valence: Tensor  #: z, (B|1, S, 1, ...)
    diffusivity: Tensor  #: D, (B|1, S, 1, ...)
    fixed_charge: Tensor  #: (B|1, *grid.shape)
    fixed_modes: Tensor  #: its modes
    charged: bool  #: whether there is a fixed charge, or a derivative by it
    symbol: Tensor  #: k² of each mode, grid.shape
    inverse_symbol: Tensor  #: 1 / k², and 0 for the mean
    moving: Tensor  #: 1, and 0 for the mean
    mean_mode: Tensor  #: the modes of the constant 1
    resolved: tuple[int, ...]  #: how many modes of each axis take part in products

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
        batch: tuple[int, ...],
        like: Tensor,
        dealias: bool = True,
    ) -> SpectralElectrolyte:
        """Check the parameters and spread them over the batch; dtype and device are ``like``'s.

        Args:
            grid: equal cells along each axis.
            names: one per species, for messages.
            valences: z of each species.
            diffusivities: D of each species; a number, or one per sample.
            permittivity: a number, or one per sample.
            walls: may be named, but must insulate and block.
            fixed_charge: may be a :class:`Field`.
            batch: the batch axes of the state.
            like: a tensor of the state's dtype and device.
            dealias: leave the upper third of the frequencies out of products, so that no product
                of two is taken for a lower frequency [CHQZ06, 3.3].

        Raises:
            ValueError: a wall with a condition, a graded axis, or a bad parameter.
        """
        for side, (wall, *more) in check_walls(grid, walls).items():
            if more or repr(wall) != repr(Wall()):
                raise ValueError(
                    f"`walls[{side!r}]` is {wall}, but a cosine series needs walls that insulate "
                    f"and block; use a finite-volume scheme, or in 1-D a ChebyshevGrid."
                )
        bases = insulating_bases(grid)
        symbol = sum_over_axes(laplacian_symbols(grid, bases, spectral=True)).to(like)

        epsilon = spread("permittivity", permittivity, grid.shape, batch, like, may_vary=False)
        diffusivity = per_species("diffusivity", names, diffusivities, grid.shape, batch, like)
        check_above_zero("permittivity", epsilon)
        check_above_zero("diffusivity", diffusivity)
        charge = spread("fixed_charge", fixed_charge, grid.shape, batch, like).expand(
            -1, *grid.shape
        )
        mean_mode = torch.zeros_like(symbol)
        mean_mode.view(-1)[0] = math.sqrt(symbol.numel())
        inverse_symbol = torch.where(mean_mode > 0, 0, 1 / (symbol + mean_mode))
        resolved = _lower_two_thirds(grid, bases) if dealias else grid.shape
        return cls(
            grid=grid,
            bases=bases,
            permittivity=epsilon,
            valence=per_species("valence", names, valences, grid.shape, batch, like),
            diffusivity=diffusivity,
            fixed_charge=charge,
            fixed_modes=to_modes(charge, bases),
            charged=is_followed(charge) or bool((charge != 0).any()),
            symbol=symbol,
            inverse_symbol=inverse_symbol,
            moving=(mean_mode == 0).to(like),
            mean_mode=mean_mode,
            resolved=resolved,
        )

    @property
    def closed(self) -> tuple[bool, ...]:
        """Per species, whether no wall lets it in or out: always."""
        return (True,) * self.valence.shape[1]

    def charge(self, c: Tensor) -> Tensor:
        """Charge density ``(B, *grid.shape)`` of concentrations, in F c_ref."""
        return (self.valence * c).sum(1) + self.fixed_charge

    def net_charge(self, c: Tensor) -> Tensor:
        """The charge of the whole cell, ``(B,)``."""
        return self._cell_volume * self.charge(c).flatten(1).sum(1)

    def check_neutral(self, name: str, c: Tensor) -> None:
        """Raise ValueError if a sample of ``c``, called ``name``, has a net charge."""
        with torch.no_grad():
            scale = (self.valence.abs() * c).sum(1).flatten(1).mean(1)
            allowed = torch.finfo(c.dtype).eps * (256 * self.symbol.numel() ** 0.5 * scale + 10)
            check_neutral(
                name, self.net_charge(c), allowed * math.prod(self.grid.lengths), instead=""
            )

    def potential(self, c: Tensor) -> Tensor:
        """The potential ``(B, *grid.shape)`` of concentrations, in kT/e; of zero mean."""
        return from_modes(self._potential_modes(to_modes(self.charge(c), self.bases)), self.bases)

    def flux_across(self, c: Tensor, axis: int) -> Tensor:
        """Fluxes J along ``axis`` at the cell centres, like ``c``, in D_ref c_ref / L.

        Nothing is left out of the product here, unlike in :meth:`rate`.
        """
        slope_c = self._slope(to_modes(c, self.bases), axis)
        field = self.displacement_of(self.charge(c), axis) / self.permittivity
        return -self.diffusivity * (slope_c - self.valence * c * field.unsqueeze(1))

    def displacement_of(self, rho: Tensor, axis: int) -> Tensor:
        """The displacement at the cell centres that a charge density makes, like ``rho``."""
        phi = self._potential_modes(to_modes(rho, self.bases))
        return -self.permittivity * self._slope(phi, axis)

    def field_across(self, c: Tensor, axis: int) -> Tensor:
        """The electric field along ``axis`` at the cell centres, ``(B, *grid.shape)``."""
        return self.displacement_of(self.charge(c), axis) / self.permittivity

    def gauss_error(self, c: Tensor) -> Tensor:
        """How far slopes of the displacement are from the charge, against all charges, (B,)."""
        modes = to_modes(self.charge(c), self.bases) * self.moving
        back = self.permittivity * self.symbol * self._potential_modes(modes)
        wrong = from_modes(back - modes, self.bases).flatten(1).abs().amax(1)
        present = (self.valence * c).abs().sum(1).flatten(1).amax(1)
        return wrong / present.clamp_min(torch.finfo(c.dtype).tiny)

    def electrode_charge(self, c: Tensor, axis: int, end: int) -> Tensor:
        """The charge on a wall: walls here carry none."""
        return torch.zeros_like(self.net_charge(c))

    def osmotic_energy(self, c: Tensor) -> Tensor:
        r""":math:`\int \sum_i c_i (\ln c_i - 1)`, ``(B,)``; NaN where c is negative."""
        return self._cell_volume * (torch.xlogy(c, c) - c).flatten(1).sum(1)

    def electric_energy(self, c: Tensor) -> Tensor:
        r""":math:`\tfrac12 \int \varepsilon |\nabla\phi|^2`, ``(B,)``."""
        rho = to_modes(self.charge(c), self.bases)
        return self._cell_volume * (rho * self._potential_modes(rho)).flatten(1).sum(1) / 2

    def room(self, c: Tensor, sample: Tensor | None = None) -> None:
        """What crowding leaves free; there is none."""

    def _slope(self, modes: Tensor, axis: int) -> Tensor:
        """The derivative along ``axis`` at the cell centres."""
        d = axis_derivative(self.grid, self.bases, axis, self.grid.shape[axis], modes)
        return from_modes(d.slope(modes), d.bases)

    def rate(self, c: Tensor) -> Tensor:
        """dc/dt ``(B, S, *grid.shape)``, the potential following the charge at once."""
        modes, mean = to_modes(c, self.bases), self._mean(c)
        diffusion = -self.diffusivity * self.symbol * modes
        rho = (self.valence * modes).sum(1, keepdim=True)
        linear = diffusion - self._pull(mean) * rho * self.moving
        rest, _ = self._in_all_modes(c, mean).remainder(modes)
        return from_modes(linear + rest, self.bases)

    def semilinear(self, c: Tensor) -> Semilinear:
        """The rate in modes, split about the mean concentrations of ``c``."""
        return self._in_all_modes(c, self._mean(c)).semilinear()

    def quickest(self, c: Tensor) -> Tensor:
        """The shortest relaxation time of charge beside that of the mean concentrations, (B,)."""
        with torch.no_grad():
            excess = (self.valence.square() * self.diffusivity * (c - self._mean(c))).sum(1)
            largest = excess.abs().flatten(1).amax(1).clamp_min(torch.finfo(c.dtype).tiny)
            return self.permittivity.flatten() / largest

    def _in_all_modes(self, c: Tensor, mean: Tensor) -> LowModes:
        return LowModes.of(self, mean, self.quickest(c), self.grid.shape)

    def _mean(self, c: Tensor) -> Tensor:
        return c.flatten(2).mean(2).reshape(*c.shape[:2], *(1,) * self.grid.ndim)

    def _pull(self, mean: Tensor) -> Tensor:
        """How fast species of these mean concentrations follow the charge, (B, S, 1, ...)."""
        return self.diffusivity * self.valence * mean / self.permittivity.unsqueeze(1)

    def _potential_modes(self, rho: Tensor) -> Tensor:
        return rho * self.inverse_symbol / self.permittivity

    @property
    def _cell_volume(self) -> float:
        return math.prod(self.grid.lengths) / self.symbol.numel()


def _lower_two_thirds(grid: Grid, bases: tuple[Basis, ...]) -> tuple[int, ...]:
    """How many modes of each axis are below two thirds of its highest frequency."""
    limit = 2 / 3 * math.pi * (1 - 1e-12)
    axes = zip(bases, grid.shape, strict=True)
    return tuple(int((frequencies(basis, n) < limit).sum()) for basis, n in axes)
