"""Newton's method with GMRES for its linear systems."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pnpfusion.solvers.fixed_point.base import FixedPointSolver, Residual, per_row
from pnpfusion.solvers.krylov import gmres

LOWEST_SHARE = 2.0**-20  #: of a Newton step that the line search tries


@dataclass(frozen=True)
class NewtonKrylov(FixedPointSolver):
    r"""Newton's method for f(u) = 0; :math:`f'(u)\,s = -f(u)` by GMRES [KK04].

    Products with the Jacobian are exact forward derivatives, one evaluation each. A step that does
    not make the residual smaller is halved until it does. It needs neither a contraction nor a
    scale: the choice for laws of which nothing is known.
    """

    max_evaluations: int = 2000  #: of f and of products with its Jacobian, of each sample
    linear_tolerance: float = 1e-3  #: of GMRES, against f

    def begin(self, u0: Tensor) -> _Newton:
        """See :class:`FixedPointSolver`."""
        return _Newton(self, u0)


class _Newton:
    """The last accepted iterate of each row, its Newton step, and the share of it on trial."""

    def __init__(self, method: NewtonKrylov, u0: Tensor) -> None:
        self.method = method
        self.u = self.step = torch.zeros_like(u0)
        self.size = u0.new_full((len(u0),), torch.inf)
        self.share = u0.new_ones(len(u0))

    def propose(
        self, u: Tensor, f: Tensor, size: Tensor, residual: Residual, which: Tensor
    ) -> tuple[Tensor, Tensor | int]:
        accepted = size <= (1 - 1e-4 * self.share) * self.size
        spent = torch.zeros_like(which)
        self.share = torch.where(accepted, 1.0, self.share / 2)
        if bool(accepted.any()):
            rows = which[accepted]
            step, products = self._newton_step(u[accepted], f[accepted], residual, rows)
            self.u = torch.where(per_row(accepted, u), u, self.u)
            self.size = torch.where(accepted, size, self.size)
            self.step = self.step.index_copy(0, accepted.nonzero().squeeze(1), step)
            spent[accepted] = products
        share = torch.where(self.share >= LOWEST_SHARE, self.share, torch.nan)  # ends the row
        return self.u + per_row(share, u) * self.step, spent

    def _newton_step(
        self, u: Tensor, f: Tensor, residual: Residual, which: Tensor
    ) -> tuple[Tensor, Tensor]:
        def product(v: Tensor) -> Tensor:
            with forward_ad.dual_level():
                try:
                    value = residual(forward_ad.make_dual(u, v), which)
                except NotImplementedError as error:
                    raise NotImplementedError(
                        "NewtonKrylov differentiates the law forward, which one of its operations "
                        f"does not offer ({error}); use Anderson() or Broyden()."
                    ) from error
                tangent = forward_ad.unpack_dual(value).tangent
            return torch.zeros_like(v) if tangent is None else tangent

        step, products, _ = gmres(product, -f, lambda v: v, self.method.linear_tolerance)
        return step, products

    def restart(self, lost: Tensor) -> bool:
        """The line search has its own way back."""
        return False

    def keep(self, going: Tensor) -> None:
        for name in ("u", "step", "size", "share"):
            setattr(self, name, getattr(self, name)[going])
