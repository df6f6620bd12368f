"""The compiled way through iterations with a memory of vectors, or with none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pnpfusion.solvers.arrays import as_array
from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.fixed_point.base import GROWTH, TINY, FixedPoint, Residual, Tolerance


@dataclass(frozen=True)
class Rounds:
    """What a method does with an iterate."""

    kernel: Literal["anderson", "broyden"]
    memory: int  #: pairs of vectors
    damping: float
    most: int  #: evaluations
    ridge: float = 0.0  #: of Anderson's method


def is_compiled(u: Tensor) -> bool:
    """Whether the kernels take such states."""
    return backend(u) == "numba" and u.numel() > 0


@torch.no_grad()
def iterate(
    method: Rounds, residual: Residual, u0: Tensor, tolerance: Tolerance | float
) -> FixedPoint:
    """What :meth:`FixedPointSolver.solve` does, with all that is not f in one kernel a round.

    A method without memory is not sent back to its best iterate.
    """
    from pnpfusion.solvers.kernels.fixed_point.anderson import anderson_round
    from pnpfusion.solvers.kernels.fixed_point.broyden import broyden_round
    from pnpfusion.solvers.kernels.fixed_point.rounds import Best, Past, Rule

    goal, memory = Tolerance.of(tolerance), method.memory
    u = u0.detach().flatten(1).contiguous()
    batch, n = u.shape
    rows = torch.arange(batch)
    state = [u.clone(), torch.zeros_like(u)]
    numbers = [torch.full_like(u[:, 0], torch.inf) for _ in range(3)]
    evaluations = torch.zeros(batch, dtype=torch.long)
    converged = torch.zeros(batch, dtype=torch.bool)
    best = Best(*map(as_array, (*state, *numbers, evaluations, converged)))
    kept = batch if memory else 0
    last_u, last_f = np.empty((2, kept, n), best.u.dtype)
    one, other = np.empty((2, kept, memory, n), best.u.dtype)
    past = Past(
        last_u,
        last_f,
        one,
        other,
        np.zeros((kept, memory, memory) if method.ridge else (0, 0, 0), best.u.dtype),
        np.full(batch, -1),
        np.full(batch, method.damping, best.u.dtype),
    )
    rule = Rule(
        goal.relative,
        goal.absolute / goal.relative,
        TINY,
        GROWTH,
        method.most,
        method.ridge,
        memory > 0,
    )
    advance = {"anderson": anderson_round, "broyden": broyden_round}[method.kernel]
    history = list[Tensor]()
    while len(rows):
        which = None if len(rows) == batch else rows
        f = residual(u.reshape(len(rows), *u0.shape[1:]), which).reshape(len(rows), n).to(u.dtype)
        history.append(torch.full((batch,), torch.nan, dtype=u.dtype))
        after, going = torch.empty_like(u), np.empty(len(rows), np.bool_)
        own = rows.numpy(), u.numpy(), as_array(f)
        advance(rule, *own, best, past, history[-1].numpy(), after.numpy(), going)
        u = after
        if not going.all():
            left = torch.from_numpy(going)
            u, rows = u[left], rows[left]
    return FixedPoint(
        u=state[0].reshape(u0.shape),
        converged=converged,
        evaluations=evaluations,
        residuals=numbers[2],
        rates=numbers[1],
        history=torch.stack(history),
    )
