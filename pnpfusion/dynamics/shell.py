"""The shell on which what a law conserves is as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.fixed_point.base import Residual


@dataclass(frozen=True, eq=False)
class Shell:
    r"""States u with C u = C u0, for the K linear invariants C of a law.

    Where something is conserved the Jacobian J of the rate is singular (C J = 0), and so is the
    bordered system's plain part. The rate

    .. math:: \tilde f(u) = f(u) - C^+ C (u - u_0), \qquad C^+ = C^T (C C^T)^{-1},

    vanishes just where f does on the shell, and its Jacobian :math:`J - C^+ C` is the bordered
    matrix with the border eliminated: for every load r, :math:`(J - C^+ C)\,s = r - C^+ m` and

    .. math:: \begin{pmatrix} J & C^+ \\ C & 0 \end{pmatrix}
              \begin{pmatrix} s \\ \lambda \end{pmatrix} = \begin{pmatrix} r \\ m \end{pmatrix}

    have the same s where C r = 0. So any solver and the implicit gradient, that to u0 included,
    work on it unchanged.
    """

    rows: Tensor | None  #: C of each sample, (B, K, n); None where nothing is conserved
    u0: Tensor  #: (B, *state)

    @classmethod
    def of(cls, conserved: Callable[[Tensor], Tensor | None], u0: Tensor, batch: int) -> Shell:
        """The shell through ``u0`` of what ``conserved`` returns; ``batch`` axes come first."""
        flat = u0.reshape(-1, *u0.shape[batch:])
        with torch.inference_mode(False), torch.enable_grad():
            at = torch.zeros(u0.shape, dtype=u0.dtype, device=u0.device, requires_grad=True)
            totals = conserved(at)  # linear, so it does not matter where
            if totals is None:
                return cls(None, flat)
            rows = [
                torch.autograd.grad(total.sum(), at, retain_graph=True)[0].reshape(flat.shape)
                for total in totals.unbind(-1)
            ]
        return cls(torch.stack(rows, 1).flatten(2), flat)

    def hold(self, rate: Residual) -> Residual:
        """``rate`` with what pulls back to the shell."""
        if self.rows is None:
            return rate
        conserved = self.rows
        inverse = torch.linalg.pinv(conserved).mT  # rows may say the same twice

        def held(u: Tensor, which: Tensor | None) -> Tensor:
            start, rows, back = self.u0, conserved, inverse
            if which is not None:
                start, rows, back = start[which], rows[which], back[which]
            off = rows @ (u - start).flatten(1).unsqueeze(2)
            pull: Tensor = (back.mT @ off).reshape(u.shape)
            return rate(u, which) - pull

        return held
