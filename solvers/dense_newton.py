"""Newton's method for one implicit step of any small law, with its dense Jacobian from autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import (
    ImplicitSolve,
    is_followed,
    once_differentiable_only,
    per_state,
)

MAX_ITERATIONS = 20


def solve_implicit_dense(
    rate: Callable[[Tensor], Tensor],
    base: Tensor,
    step: Tensor,
    guess: Tensor,
    scale: Tensor,
) -> ImplicitSolve:
    r"""Solves :math:`u - h f(u) = b` for states of n numbers.

    A Jacobian takes n backward passes, so a sample keeps the one at its guess as long as every
    correction is a fifth of the one before or less. The gradient is the implicit function
    theorem's; first derivatives only.

    Args:
        rate: f, from ``(B, *state)`` to the same shape, each sample by itself.
        base: b, shape ``(B, *state)``.
        step: h, shape ``(B,)``.
        guess: where to begin, shape ``(B, *state)``.
        scale: the last correction must be below this in the mean square, shape ``(B, *state)``.

    Returns:
        The states, which samples converged, and the iterations of each.
    """
    h = per_state(step, base)
    u = guess.detach()
    iterations = torch.zeros(len(u), dtype=torch.long, device=u.device)
    converged = torch.zeros_like(iterations, dtype=torch.bool)
    going = ~converged
    last = torch.full_like(step.detach(), torch.inf)
    jacobian = _jacobian(rate, u)
    for _ in range(MAX_ITERATIONS):
        with torch.no_grad():
            correction = _correct(jacobian, step, u - h * rate(u) - base)
            size = (correction / scale).square().flatten(1).mean(1).sqrt()
            u = torch.where(per_state(going & size.isfinite(), u), u - correction, u)
            iterations += going
            converged |= going & (size <= 1)
            going &= size.isfinite() & ~converged
            slow = going & (size > 0.2 * last)
            last = torch.where(slow, torch.inf, size)
        if not going.any():
            break
        if slow.any():
            jacobian = torch.where(slow[:, None, None], _jacobian(rate, u), jacobian)
    if torch.is_grad_enabled():
        residual = u - h * rate(u) - base
        if is_followed(residual):
            u = once_differentiable_only(u - _correct(_jacobian(rate, u), step, residual))
    return ImplicitSolve(u, converged, iterations)


def _jacobian(rate: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
    """The Jacobian of f at u, ``(B, n, n)``, detached."""
    with torch.enable_grad():
        at = u.detach().requires_grad_()
        value = rate(at)
        if not value.requires_grad:  # a rate that does not depend on the state
            return value.new_zeros(*value.flatten(1).shape, value.flatten(1).shape[1])
        rows = [
            torch.autograd.grad(component.sum(), at, retain_graph=True, materialize_grads=True)[
                0
            ].flatten(1)
            for component in value.flatten(1).unbind(1)
        ]
    return torch.stack(rows, 1)


def _correct(jacobian: Tensor, step: Tensor, residual: Tensor) -> Tensor:
    identity = torch.eye(jacobian.shape[-1], dtype=residual.dtype, device=residual.device)
    matrix = identity - step[:, None, None] * jacobian
    solved: Tensor = torch.linalg.solve_ex(matrix, residual.flatten(1).unsqueeze(-1))[0]
    return solved.squeeze(-1).reshape(residual.shape)
