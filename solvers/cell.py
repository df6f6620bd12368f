"""What every discretisation of a cell offers, whatever its unknowns stand for."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Cell(Protocol):
    """A cell's parameters spread over a batch of B samples; functions check nothing.

    Concentrations ``c`` are ``(B, S, *grid.shape)``. What lives on faces has N + 1 entries along
    its axis in finite volumes; spectral cells give it at their points.
    """

    @property
    def closed(self) -> tuple[bool, ...]:
        """Per species, whether no wall lets it in or out."""

    @property
    def valence(self) -> Tensor:
        """z, ``(B|1, S, 1, ...)``."""

    def charge(self, c: Tensor) -> Tensor:
        """Charge density with the fixed charge, ``(B, *grid.shape)``."""

    def net_charge(self, c: Tensor) -> Tensor:
        """The charge of the whole cell, ``(B,)``."""

    def check_neutral(self, name: str, c: Tensor) -> None:
        """Raise ValueError if the potential floats and a sample of ``c`` has a net charge."""

    def potential(self, c: Tensor) -> Tensor:
        """The potential, ``(B, *grid.shape)``, in kT/e."""

    def gauss_error(self, c: Tensor) -> Tensor:
        """What Gauss' law is wrong by in the worst cell, against all charges, ``(B,)``."""

    def rate(self, c: Tensor) -> Tensor:
        """dc/dt, like ``c``."""

    def room(self, c: Tensor, sample: Tensor | None = None) -> Tensor | None:
        """What crowding leaves free, ``(B, *grid.shape)``; None without crowding.

        With ``sample``, ``c`` holds states of these samples of the batch, by index.
        """

    def flux_across(self, c: Tensor, axis: int) -> Tensor:
        """Fluxes J along ``axis``."""

    def displacement_of(self, rho: Tensor, axis: int) -> Tensor:
        """The displacement along ``axis`` that a charge density and the walls make."""

    def field_across(self, c: Tensor, axis: int) -> Tensor:
        """The electric field along ``axis``."""

    def electrode_charge(self, c: Tensor, axis: int, end: int) -> Tensor:
        """The charge on the wall before (``end`` 0) or after (1) the cells, ``(B,)``."""

    def osmotic_energy(self, c: Tensor) -> Tensor:
        """The part of the free energy that is there without charge, ``(B,)``."""

    def electric_energy(self, c: Tensor) -> Tensor:
        """The part of the free energy that is due to charge, ``(B,)``."""


def free_energy(cell: Cell, c: Tensor) -> Tensor:
    r"""What a closed cell loses as it relaxes: mixing entropy and electric energy, ``(B,)``.

    .. math:: F[c] = \int \sum_i c_i (\ln c_i - 1 + \mu_i^0)
              + \tfrac{s}{a^3} (\ln s - 1) + \tfrac12 (\rho + \rho_f)(\phi + \phi_w),

    with :math:`\phi_w` the potential of the walls alone (electrodes held at fixed U); where no wall
    fixes the potential, the electric part is :math:`\tfrac12 \int \varepsilon |\nabla\phi|^2`. The
    term with the free share of the volume :math:`s = 1 - a^3 \sum c` counts crowding [KBA07]; the
    standard potentials :math:`\mu^0` count reactions in detailed balance. Then
    :math:`\delta F / \delta c_i = \ln c_i + \mu_i^0 - \ln s + z_i \phi`, and F never rises in a
    closed cell. In R T c_ref L^d; NaN where a concentration is negative.
    """
    return cell.osmotic_energy(c) + cell.electric_energy(c)
