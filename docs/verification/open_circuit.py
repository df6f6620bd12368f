"""The voltage at which a cell carries no current, found as a user would."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import pnpfusion as pf


def open_circuit_voltage(
    cell: Callable[[Tensor], pf.PNP], c0: Tensor, *, iterations: int = 30
) -> Tensor:
    """The potentials of the left wall, one per sample, at which the steady current is 0.

    Newton's method; its slope dI/dv comes from autograd through the equilibrium. The last states
    are where the next search for a state of rest starts.

    Args:
        cell: the cell whose left wall is at the given potentials, shape ``(batch,)``.
        c0: where to start from, shape ``(batch, species, *cells)``.
        iterations: at most so many.
    """
    v = torch.zeros(len(c0), dtype=c0.dtype)
    for _ in range(iterations):
        v = v.detach().requires_grad_()
        held = cell(v)
        rest = pf.equilibrium(held, c0).require_success().final
        current = held.current(rest).mean(-1)  # the same at every face
        (slope,) = torch.autograd.grad(current.sum(), v)
        step = (current / slope).detach()
        v, c0 = v.detach() - step, rest.detach()
        if step.abs().max() < 1e-10:
            break
    return v
