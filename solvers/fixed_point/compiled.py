"""The compiled way through Anderson's and Picard's iterations."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.fixed_point.base import GROWTH, TINY, FixedPoint, Residual, Tolerance

if TYPE_CHECKING:
    from pnpfusion.solvers.fixed_point.anderson import Anderson
    from pnpfusion.solvers.fixed_point.picard import Picard


@cache
def anderson_kernels() -> Any:
    """The module of compiled kernels; None where Numba is not installed."""
    try:
        from pnpfusion.solvers.kernels import anderson
    except ImportError:
        return None
    return anderson


def is_compiled(u: Tensor) -> bool:
    """Whether the kernels know such states: on the CPU, in single or double precision."""
    known = u.device.type == "cpu" and u.dtype in (torch.float32, torch.float64)
    return known and type(u) is Tensor and u.numel() > 0 and anderson_kernels() is not None


@torch.no_grad()
def iterate(
    method: Anderson | Picard,
    memory: int,
    ridge: float,
    residual: Residual,
    u0: Tensor,
    goal: Tolerance,
) -> FixedPoint:
    """What :meth:`FixedPointSolver.solve` does, with all that is not f in one kernel a round.

    ``memory`` is 0 for Picard's iteration, which is not sent back to its best iterate either.
    """
    kernels = anderson_kernels()
    u = u0.detach().flatten(1).contiguous()
    batch, n = u.shape
    rows = torch.arange(batch)
    state = [u.clone(), torch.zeros_like(u)]
    numbers = [torch.full_like(u[:, 0], torch.inf) for _ in range(3)]
    evaluations = torch.zeros(batch, dtype=torch.long)
    converged = torch.zeros(batch, dtype=torch.bool)
    best = kernels.Best(*map(_array, (*state, *numbers, evaluations, converged)))
    kept = batch if memory else 0
    past = kernels.Past(
        *(np.empty((kept, n), best.u.dtype) for _ in range(2)),
        *(np.empty((kept, memory, n), best.u.dtype) for _ in range(2)),
        np.zeros((kept, memory, memory), best.u.dtype),
        np.full(batch, -1),
        np.full(batch, method.damping, best.u.dtype),
    )
    rule = kernels.Rule(
        goal.relative,
        goal.absolute / goal.relative,
        TINY,
        GROWTH,
        method.max_evaluations,
        ridge,
        memory > 0,
    )
    history: list[Tensor] = []
    while len(rows):
        which = None if len(rows) == batch else rows
        f = residual(u.reshape(len(rows), *u0.shape[1:]), which).reshape(len(rows), n).to(u.dtype)
        history.append(torch.full((batch,), torch.nan, dtype=u.dtype))
        after, going = torch.empty_like(u), torch.empty(len(rows), dtype=torch.bool)
        kernels.anderson_round(
            rule, *map(_array, (rows, u, f)), best, past, *map(_array, (history[-1], after, going))
        )
        u = after
        if not bool(going.all()):
            u, rows = u[going], rows[going]
    return FixedPoint(
        u=state[0].reshape(u0.shape),
        converged=converged,
        evaluations=evaluations,
        residuals=numbers[2],
        rates=numbers[1],
        history=torch.stack(history),
    )


def _array(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().contiguous().numpy()
    return array
