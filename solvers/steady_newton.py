r"""Newton's method for the steady state of any cell, with currents or without.

What is conserved makes the plain Jacobian singular, so its first cell is pinned for each invariant
and the pins are then undone by the null vectors, such that the totals come out right: the solution
of the bordered system. Where Newton's method does not get there at once, the potentials, charges
and fluxes at the walls are raised in steps; where that fails too, it begins anew from the state
that is neutral everywhere, fixed charge and all, and then from where long implicit time steps lead.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pnpfusion.solvers.asymptotic_preserving import asymptotic_preserving_step
from pnpfusion.solvers.coupled_newton import jacobian, residual, solve_implicit
from pnpfusion.solvers.implicit_solve import Rest, is_followed, once_differentiable_only
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.stencil import Stencil

MAX_ITERATIONS, ITERATIONS_PER_ATTEMPT = 400, 40
SMALLEST_RAISE = 1e-3
LARGEST_STEP = 5.0  # of the potential in one iteration, in kT/e


def steady_state(
    cell: Electrolyte,
    guess: Tensor,
    totals: Tensor,
    invariants: Tensor,
    *,
    tolerance: float,
) -> Rest:
    """The state in which nothing changes, with the given totals; first derivatives only.

    Args:
        cell: the cell.
        guess: where to begin, ``(B, S, *grid.shape)``, > 0.
        totals: of each invariant, ``(B, K)``.
        invariants: the combinations of species that are conserved, ``(K, S)``, orthonormal rows.
        tolerance: of the last correction: of the potential in kT/e, of concentrations relative.
    """
    invariants = invariants.to(guess)
    with torch.no_grad():
        batch = len(guess)
        c, phi = guess.clone(), guess.new_zeros(batch, *guess.shape[2:])
        reached = guess.new_full((batch,), -1.0)  # share of the drive that is solved for
        target, stride = torch.ones_like(reached), torch.ones_like(reached)
        going = torch.ones(batch, dtype=torch.bool, device=guess.device)
        iterations = torch.zeros_like(going, dtype=torch.long)
        wide = (-1, *(1,) * (guess.ndim - 1))
        while going.any() and int(iterations.max()) < MAX_ITERATIONS:
            new_c, new_phi, solved, took = _newton(
                _driven(cell, target), c, totals, invariants, tolerance, going
            )
            iterations += took
            good, lost = going & solved, going & ~solved
            c = torch.where(good.reshape(wide), new_c, c)
            phi = torch.where(good.reshape(wide)[:, 0], new_phi, phi)
            from_start = lost & (reached < 0)  # then without drive first, and up from there
            going = going & ~(lost & ((stride < SMALLEST_RAISE) | (from_start & (target == 0))))
            reached = torch.where(good, target, reached)
            going = going & (reached < 1)
            stride = torch.where(good, 2 * stride, torch.where(from_start, 0.125, stride / 2))
            target = torch.where(from_start, 0.0, (reached + stride).clamp_max(1))
        converged = reached == 1
        begin = guess
        for lead in (_neutral, _relaxed):
            if converged.all():
                break
            begin = lead(cell, begin)
            new_c, new_phi, solved, took = _newton(
                cell, begin, totals, invariants, tolerance, ~converged
            )
            iterations += took
            c = torch.where(converged.reshape(wide), c, new_c)
            phi = torch.where(converged.reshape(wide)[:, 0], phi, new_phi)
            converged = converged | solved
    if torch.is_grad_enabled():
        # What was not solved may not be finite, where not even a gradient of zero would pass:
        c = torch.where(converged.reshape(wide), c, guess)
        phi = torch.where(converged.reshape(wide)[:, 0], phi, 0.0)
        c, phi = _attach_gradient(cell, c, phi, totals, invariants)
    way = "Newton's method on the steady equations"
    return Rest(c, phi, converged, iterations, way)


def _neutral(cell: Electrolyte, c: Tensor) -> Tensor:
    r"""The state that a potential of its own in each cell makes neutral there (Donnan's).

    .. math:: \sum_i z_i c_i e^{-z_i \psi} + \rho_f = 0

    falls in :math:`\psi`, so halving finds its root; where no ions can make up for the fixed
    charge, the state stays as it is.
    """
    low, high = torch.full_like(c[:, :1], -50.0), torch.full_like(c[:, :1], 50.0)

    def moved(psi: Tensor) -> Tensor:
        return c * (-cell.valence * psi).exp()

    def charge(psi: Tensor) -> Tensor:
        return cell.charge(moved(psi)).unsqueeze(1)

    possible = (charge(low) > 0) & (charge(high) < 0)
    for _ in range(50):
        middle = (low + high) / 2
        positive = charge(middle) > 0
        low, high = torch.where(positive, middle, low), torch.where(positive, high, middle)
    return torch.where(possible, moved(low), c)


def _relaxed(cell: Electrolyte, c: Tensor) -> Tensor:
    """The state after ever longer implicit steps, semi-implicit ones where these are not solved."""
    wide = (-1, *(1,) * (c.ndim - 1))
    for exponent in range(-6, 9):
        step = c.new_full((len(c),), 4.0**exponent)
        scale = 1e-6 * (c + c.flatten(1).mean(1).reshape(wide))
        solve = solve_implicit(cell, c, step, c, scale, max_iterations=20)
        good = solve.converged & (solve.u.flatten(1).amin(1) > 0)
        c = torch.where(good.reshape(wide), solve.u, asymptotic_preserving_step(cell, c, step))
    return c


def _driven(cell: Electrolyte, share: Tensor) -> Electrolyte:
    """The cell with a share of the potentials, charges and fluxes at its walls."""
    medium = cell.dielectric
    electric = share.reshape(-1, *(1,) * medium.grid.ndim)
    lines = tuple(
        replace(
            line,
            electrode=electric * line.electrode,
            surface_charge=electric * line.surface_charge,
            rise=electric * line.rise,
        )
        for line in medium.lines
    )
    ions = tuple(replace(i, imposed=electric.unsqueeze(1) * i.imposed) for i in cell.lines)
    return replace(cell, dielectric=replace(medium, lines=lines), lines=ions)


def _newton(
    cell: Electrolyte,
    c: Tensor,
    totals: Tensor,
    invariants: Tensor,
    tolerance: float,
    going: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Damped Newton steps: each concentration loses nine tenths at most, potentials move little.

    Each concentration is held back by itself, so rare carriers do not hold back the others; only
    where crowding leaves little room a sample's whole step is shortened.
    """
    phi = cell.potential(c)
    converged = torch.zeros_like(going)
    iterations = torch.zeros(len(c), dtype=torch.long, device=c.device)
    wide = (-1, *(1,) * (c.ndim - 1))
    empty = ((totals == 0).to(c) @ invariants.abs() > 0).reshape(*c.shape[:2], *wide[2:])
    unseen = torch.where(empty, 1e-13 * _largest(c).reshape(wide), 0.0)
    for _ in range(ITERATIONS_PER_ATTEMPT):
        by_phi, by_c = _correction(cell, c, phi, totals, invariants)
        size = torch.maximum(_largest(by_phi), _largest(by_c / (c + unseen)))
        share, room = (LARGEST_STEP / _largest(by_phi)).clamp_max(1), cell.room(c)
        if room is not None:
            taken = (-by_c.sum(1) / room).flatten(1).amax(1)
            share = torch.where(taken > 0.9, torch.minimum(share, 0.9 / taken), share)
        cut = share.reshape(wide) if room is not None else 1.0
        moving = going & size.isfinite()
        c = torch.where(moving.reshape(wide), torch.maximum(c - cut * by_c, 0.1 * c), c)
        phi = torch.where(moving.reshape(wide)[:, 0], phi - share.reshape(wide)[:, 0] * by_phi, phi)
        iterations += going
        converged |= moving & (size <= tolerance)
        going = moving & ~converged & (share > 1e-8)
        if not going.any():
            break
    return c, phi, converged, iterations


def _largest(values: Tensor) -> Tensor:
    return values.abs().flatten(1).amax(1)


def _correction(
    cell: Electrolyte, c: Tensor, phi: Tensor, totals: Tensor, invariants: Tensor
) -> tuple[Tensor, Tensor]:
    """Newton's correction of the potential and the concentrations, the matrix held fixed."""
    faces = cell.faces(c, phi)
    one = c.new_ones(len(c))
    wrong = residual(cell, faces, c, phi, c, one)
    excess = cell.dielectric.total(c) @ invariants.mT - totals
    with torch.no_grad():
        matrix, null = _pinned(cell, jacobian(cell, faces, c, one, steady=True), invariants)
    solved = matrix.solve(wrong)
    inside = cell.dielectric.total(solved[..., 1:].movedim(-1, 1)) @ invariants.mT  # (B, K)
    if len(invariants):
        held = torch.stack(
            [cell.dielectric.total(n[..., 1:].movedim(-1, 1)) @ invariants.mT for n in null], -1
        )
        weights = torch.linalg.solve_ex(held, (excess - inside).unsqueeze(-1))[0].squeeze(-1)
        for k, vector in enumerate(null):
            solved = solved + weights[:, k].reshape(-1, *(1,) * (solved.ndim - 1)) * vector
    return solved[..., 0], solved[..., 1:].movedim(-1, 1)


def _pinned(
    cell: Electrolyte, matrix: Stencil, invariants: Tensor
) -> tuple[Stencil, tuple[Tensor, ...]]:
    """The matrix with a pin in its first cell for each invariant, and what the pins respond."""
    if not len(invariants):
        return matrix, ()
    diagonal = matrix.diagonal.clone()
    first = diagonal.flatten(1, cell.dielectric.grid.ndim)[:, 0, 1:, 1:]
    own = first.diagonal(dim1=-2, dim2=-1).amax(-1)
    own = torch.where(own > 0, own, 1.0)
    first += own[:, None, None] * (invariants.mT @ invariants)
    pinned = replace(matrix, diagonal=diagonal)
    responses = []
    for row in invariants:
        pull = torch.zeros_like(diagonal[..., 0])
        pull.flatten(1, cell.dielectric.grid.ndim)[:, 0, 1:] = row * own[:, None]
        responses.append(pinned.solve(pull))
    return pinned, tuple(responses)


def _attach_gradient(
    cell: Electrolyte, c: Tensor, phi: Tensor, totals: Tensor, invariants: Tensor
) -> tuple[Tensor, Tensor]:
    """One more Newton step with the matrix held fixed: its derivative is the implicit one."""
    by_phi, by_c = _correction(cell, c, phi, totals, invariants)
    if not is_followed(by_c):
        return c, phi
    return once_differentiable_only(c - by_c), once_differentiable_only(phi - by_phi)
