r"""Where a cell without currents rests: the minimum of a convex function of few unknowns.

At rest every electrochemical potential is constant, so concentrations follow from the potential,

.. math:: c_i = \frac{a_i}{1 + a^3 \sum_j a_j}, \qquad a_i = e^{\lambda_i - \mu_i^0 - z_i \phi},

and :math:`\phi` with the constants :math:`\lambda` minimises the dual of the free energy,

.. math:: D = \tfrac12 \phi L \phi - \phi b + \sum V p - \lambda \cdot m, \qquad
          p = \sum_i a_i \text{ or } a^{-3} \ln(1 + a^3 \textstyle\sum_i a_i),

jointly convex in both: one minimum, reached from anywhere by Newton's method with a line search.
The free constants are those of what is conserved; reservoirs fix the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.compiled.rest import compiled_rest, knows_rest
from pnpfusion.solvers.elliptic import apply_elliptic
from pnpfusion.solvers.implicit_solve import Rest, is_followed, once_differentiable_only, per_state
from pnpfusion.solvers.nernst_planck import Electrolyte

LARGEST_STEP = 4.0  #: of the potential in one iteration, in kT/e


def convex_equilibrium(
    cell: Electrolyte,
    totals: Tensor,
    invariants: Tensor,
    constants: Tensor,
    *,
    tolerance: float,
    max_iterations: int = 200,
) -> Rest:
    r"""The state of rest with the given totals; differentiable, first derivatives only.

    Args:
        cell: a cell whose faces keep Boltzmann equilibria (its scheme is well balanced).
        totals: m, of each invariant, ``(B, K)``.
        invariants: the combinations of species that are conserved, ``(K, S)``, orthonormal rows.
        constants: :math:`\lambda_i` as far as reservoirs fix them, ``(B|1, S)``.
        tolerance: of the last correction of :math:`\phi` and :math:`\lambda`, in kT/e.
        max_iterations: when to give up.
    """
    dual = _Dual(cell, invariants.to(totals), constants, cell.dielectric.load(cell.fixed_charge))
    space = cell.dielectric.grid.shape
    way = "the minimum of the convex dual of the free energy, since nothing flows at rest"
    if knows_rest(cell, totals):
        limits = tolerance, LARGEST_STEP, max_iterations
        found = compiled_rest(cell, dual.load, totals, dual.invariants, constants, limits)
        return Rest(*found, way)
    with torch.no_grad():
        volume = cell.dielectric.volumes.sum()
        phi = totals.new_zeros(len(totals), *space)
        eta = dual.first_guess(totals, volume)
        converged = torch.zeros(len(totals), dtype=torch.bool, device=totals.device)
        iterations = torch.zeros_like(converged, dtype=torch.long)
        going = ~converged
        for _ in range(max_iterations):
            by_phi, by_eta = dual.gradient(phi, eta, totals)
            step_phi, step_eta = dual.newton_step(phi, eta, by_phi, by_eta)
            size = torch.maximum(_largest(step_phi), _largest(step_eta))
            share = (LARGEST_STEP / size).clamp_max(1)
            downhill = (by_phi * step_phi).flatten(1).sum(1) + (by_eta * step_eta).sum(1)
            share = dual.line_search(phi, eta, totals, step_phi, step_eta, share, downhill, size)
            share = torch.where(going & size.isfinite(), share, 0.0)
            phi = phi - torch.where(share > 0, share, 0).reshape(-1, *(1,) * len(space)) * (
                step_phi.nan_to_num()
            )
            eta = eta - share.unsqueeze(1) * step_eta.nan_to_num()
            iterations += going
            converged |= going & (size <= tolerance)
            going = going & size.isfinite() & ~converged & (share > 0)
            if not going.any():
                break
    if torch.is_grad_enabled():
        # What was not solved may not be finite, where not even a gradient of zero would pass:
        phi = torch.where(per_state(converged, phi), phi, 0.0)
        eta = torch.where(converged[:, None], eta, 0.0)
        by_phi, by_eta = dual.gradient(phi, eta, totals)
        if is_followed(by_phi, by_eta):
            step_phi, step_eta = dual.newton_step(phi, eta, by_phi, by_eta)
            phi = once_differentiable_only(phi - step_phi)
            eta = once_differentiable_only(eta - step_eta)
    return Rest(dual.concentrations(phi, eta), phi, converged, iterations, way)


def _largest(values: Tensor) -> Tensor:
    flat = values.abs().flatten(1)
    return flat.amax(1) if flat.shape[1] else flat.sum(1)


@dataclass(frozen=True, eq=False)
class _Dual:
    """The function D of the module's text, and its Newton steps."""

    cell: Electrolyte
    invariants: Tensor
    constants: Tensor
    load: Tensor

    def first_guess(self, totals: Tensor, volume: Tensor) -> Tensor:
        """The free constants of an even spread, (B, K)."""
        mean = (totals @ self.invariants / volume).clamp_min(1e-30)
        eta: Tensor = mean.log() @ self.invariants.mT
        return eta

    def activities(self, phi: Tensor, eta: Tensor) -> Tensor:
        """a_i, (B, S, *grid.shape)."""
        space = (1,) * (phi.ndim - 1)
        exponent = (self.constants + eta @ self.invariants).reshape(len(eta), -1, *space)
        exponent = exponent - self.cell.valence * phi.unsqueeze(1)
        if self.cell.reactions is not None:
            exponent = exponent - self.cell.reactions.standard_potentials()
        return exponent.exp()

    def concentrations(self, phi: Tensor, eta: Tensor) -> Tensor:
        a = self.activities(phi, eta)
        if self.cell.crowding is None:
            return a
        return a / (1 + self.cell.crowding * a.sum(1)).unsqueeze(1)

    def value(self, phi: Tensor, eta: Tensor, totals: Tensor) -> Tensor:
        """D, (B,)."""
        medium, a = self.cell.dielectric, self.activities(phi, eta).sum(1)
        nu = self.cell.crowding
        pressure = a if nu is None else torch.log1p(nu * a) / nu
        field = -0.5 * phi * self._flow(phi) - phi * self.load
        return (field + medium.volumes * pressure).flatten(1).sum(1) - (eta * totals).sum(1)

    def _flow(self, phi: Tensor) -> Tensor:
        """- L phi, what flows into each cell from its neighbours and grounded walls."""
        medium = self.cell.dielectric
        return -apply_elliptic(medium.grid, self._conductances(), None, phi)

    def _conductances(self) -> tuple[Tensor, ...]:
        return tuple(line.conductance for line in self.cell.dielectric.lines)

    def gradient(self, phi: Tensor, eta: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of D by phi, (B, *grid.shape), and by the free constants, (B, K)."""
        medium, c = self.cell.dielectric, self.concentrations(phi, eta)
        charge = (self.cell.valence * c).sum(1)
        by_phi = -self._flow(phi) - self.load - medium.volumes * charge
        return by_phi, medium.total(c) @ self.invariants.mT - totals

    def newton_step(
        self, phi: Tensor, eta: Tensor, by_phi: Tensor, by_eta: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The Hessian's inverse times the gradient; the Hessian is held fixed."""
        medium, k = self.cell.dielectric, len(self.invariants)
        with torch.no_grad():
            c, z = self.concentrations(phi, eta), self.cell.valence
            volumes, nu = medium.volumes, self.cell.crowding
            charge = (z * c).sum(1)
            mixed = torch.einsum("ks,bs...->bk...", self.invariants, c)  # sums of each invariant
            screening = (z.square() * c).sum(1)
            coupling = torch.einsum("ks,bs...->bk...", self.invariants, z * c)
            own = torch.einsum("ks,ls,bs->bkl", self.invariants, self.invariants, medium.total(c))
            if nu is not None:
                screening = screening - nu * charge.square()
                coupling = coupling - (nu * charge).unsqueeze(1) * mixed
                own = own - torch.einsum(
                    "bk...,bl...->bkl", volumes * nu.unsqueeze(1) * mixed, mixed
                )
            mass = volumes * screening
            if medium.floating:  # without any charge only differences of the potential count
                uncharged = screening.flatten(1).amax(1).reshape(-1, *(1,) * (phi.ndim - 1)) == 0
                mass = mass + torch.where(uncharged, 1e-10 * volumes / volumes.sum(), 0.0)
            conductances = tuple(g.detach() for g in self._conductances())
            # One column of the border for each invariant, all solved at once:
            batch = len(phi)
            border = -(volumes * coupling)

            def spread(values: Tensor) -> Tensor:
                wide = values.expand(batch, *values.shape[1:])
                return wide.repeat_interleave(k, 0) if len(values) > 1 or batch > 1 else values

            columns = border
            if k:
                solved = medium.solve(
                    tuple(g if len(g) == 1 else spread(g) for g in conductances),
                    border.flatten(0, 1),
                    spread(mass),
                )
                columns = solved.reshape(border.shape)
            flat = border.flatten(2)
            schur = own - flat @ columns.flatten(2).mT
            if medium.floating and k:  # phi + s and lambda + z s are the same state
                valence = z.detach().flatten(1)[:, : self.invariants.shape[1]]
                same = valence.expand(batch, -1) @ self.invariants.mT
                size = schur.diagonal(dim1=-2, dim2=-1).amax(-1)[:, None, None]
                norm = same.square().sum(1).clamp_min(1e-30)[:, None, None]
                schur = schur + size * same[:, :, None] * same[:, None, :] / norm
        inside = medium.solve(conductances, by_phi, mass)
        if medium.floating:
            volume = medium.volumes.sum()
            mean = (medium.total(inside) / volume).reshape(-1, *(1,) * (phi.ndim - 1))
            inside = inside - torch.where(uncharged, mean, 0.0)
        if not k:
            return inside, by_eta
        left = by_eta - (flat @ inside.flatten(1).unsqueeze(-1)).squeeze(-1)
        step_eta = torch.linalg.solve_ex(schur, left.unsqueeze(-1))[0].squeeze(-1)
        step_phi = inside - torch.einsum("bk...,bk->b...", columns, step_eta)
        return step_phi, step_eta

    def line_search(
        self,
        phi: Tensor,
        eta: Tensor,
        totals: Tensor,
        step_phi: Tensor,
        step_eta: Tensor,
        share: Tensor,
        downhill: Tensor,
        size: Tensor,
    ) -> Tensor:
        """Halve ``share`` until D falls enough; small steps are taken whole."""
        before = self.value(phi, eta, totals)
        slack = 1e-12 * before.abs()
        wide = (-1, *(1,) * (phi.ndim - 1))
        for _ in range(40):
            after = self.value(
                phi - share.reshape(wide) * step_phi, eta - share.unsqueeze(1) * step_eta, totals
            )
            good = (after <= before - 1e-4 * share * downhill + slack) | (size < 1e-3)
            if good.all():
                break
            share = torch.where(good, share, share / 2)
        return share
