"""Newton's method with GMRES for its linear systems."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pnpfusion.solvers.arguments import check_positive
from pnpfusion.solvers.fixed_point.base import (
    FixedPointSolver,
    Iterates,
    Memory,
    Proposal,
    Residual,
    Tolerance,
    rms,
)
from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.krylov import gmres

LOWEST_SHARE = 2.0**-20  #: of a Newton step that the line search tries


@dataclass(frozen=True)
class NewtonKrylov(FixedPointSolver):
    r"""Newton's method for f(u) = 0; :math:`f'(u)\,s = -f(u)` by GMRES [KK04].

    Products with the Jacobian are exact forward derivatives, one evaluation each. A step that does
    not make the residual smaller is halved until it does. A sample has converged when the next step
    would be within the tolerance, whatever the unit of f: the method needs neither a contraction
    nor a scale, and suits laws of which nothing is known.
    """

    max_evaluations: int = 2000  #: of f and of products with its Jacobian, of each sample
    linear_tolerance: float = 1e-3  #: of GMRES, against f

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("linear_tolerance", self.linear_tolerance)

    def begin(self, u0: Tensor, tolerance: Tolerance) -> _Newton:
        """See :class:`FixedPointSolver`."""
        return _Newton(self, u0, tolerance)


class _Newton(Memory):
    """The last accepted iterate of each row, its Newton step, and the share of it on trial."""

    by_residual = False
    by_row = ("u", "step", "size", "share")

    def __init__(self, method: NewtonKrylov, u0: Tensor, tolerance: Tolerance) -> None:
        self.method, self.tolerance = method, tolerance
        self.u, self.step = u0, torch.zeros_like(u0)
        self.size = u0.new_full((len(u0),), torch.inf)
        self.share = u0.new_ones(len(u0))

    def propose(self, at: Iterates, residual: Residual) -> Proposal:
        accepted = at.size <= (1 - 1e-4 * self.share) * self.size
        spent = torch.zeros_like(at.rows)
        converged = torch.zeros_like(accepted)
        self.share = torch.where(accepted, 1.0, self.share / 2)
        if bool(accepted.any()):
            taken = at.of(accepted)
            step, products, solved = self._newton_step(taken, residual)
            error = self.tolerance.measure(rms(step), rms(taken.u))
            where = accepted.nonzero().squeeze(1)
            self.u = self.u.index_copy(0, where, taken.u)
            self.size = self.size.index_copy(0, where, taken.size)
            self.step = self.step.index_copy(0, where, step)
            spent = spent.index_copy(0, where, products)
            within = solved & (error <= self.tolerance.relative)
            converged = converged.index_copy(0, where, within)
        share = torch.where(self.share >= LOWEST_SHARE, self.share, torch.nan)  # ends the row
        return Proposal(self.u + per_state(share, self.u) * self.step, spent, converged)

    def _newton_step(self, at: Iterates, residual: Residual) -> tuple[Tensor, Tensor, Tensor]:
        def product(v: Tensor) -> Tensor:
            # In inference mode torch would leave out derivatives without a word.
            with torch.inference_mode(False), torch.no_grad(), forward_ad.dual_level():
                try:
                    value = residual(forward_ad.make_dual(at.u.clone(), v.clone()), at.rows)
                except NotImplementedError as error:
                    raise NotImplementedError(
                        "NewtonKrylov differentiates the law forward, which one of its operations "
                        f"does not offer ({error}); use Anderson() or Broyden()."
                    ) from error
                tangent = forward_ad.unpack_dual(value).tangent
            return torch.zeros_like(v) if tangent is None else tangent

        step, products, left = gmres(
            product,
            -at.f,
            lambda v: v,
            self.method.linear_tolerance,
            restart=100,
            max_iterations=min(at.left, 400),
            verify=False,
        )
        return step, products, left <= self.method.linear_tolerance
