"""What solving an implicit equation returns, and how derivatives go through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pnpfusion.solvers.faq import Faq


@dataclass(frozen=True, eq=False)
class ImplicitSolve:
    """The solution of one implicit equation u - h f(u) = b, per sample."""

    u: Tensor  #: shape (B, *state); carries the gradient
    converged: Tensor  #: bool, (B,)
    iterations: Tensor  #: Newton iterations, (B,)


@dataclass(frozen=True, eq=False)
class Rest:
    """A cell at rest, or as far as the iteration came."""

    c: Tensor  #: concentrations, (B, S, *grid.shape)
    phi: Tensor  #: the potential, (B, *grid.shape)
    converged: Tensor  #: bool, (B,)
    iterations: Tensor  #: of Newton's method, (B,)
    way: str  #: how it was found


def is_followed(*values: Tensor) -> bool:
    """Whether a derivative is taken through one of ``values``, backward or forward."""
    if any(v.requires_grad for v in values):
        return True
    return runs_forward() and any(forward_ad.unpack_dual(v).tangent is not None for v in values)


def runs_forward() -> bool:
    """Whether derivatives are taken forward just now: then tensors have no memory to hand out."""
    return forward_ad._current_level >= 0


def is_transformed() -> bool:
    """Whether tensors stand for others just now: inside torch.func, dual numbers or a compiler."""
    inside = torch._C._functorch.peek_interpreter_stack() is not None
    return inside or runs_forward() or torch.compiler.is_compiling()


def per_state(values: Tensor, u: Tensor) -> Tensor:
    """``values`` ``(B,)`` with axes added to multiply a state ``u`` ``(B, *state)``."""
    return values.reshape(-1, *(1 for _ in u.shape[1:]))


def once_differentiable_only(values: Tensor) -> Tensor:
    """The identity; a second derivative through it is an error instead of a wrong number."""
    same: Tensor = _OnceDifferentiable.apply(values)  # type: ignore[no-untyped-call]
    return same


def without_derivative(grad: Tensor, *behind: Tensor) -> Tensor:
    """``grad``, of a backward pass; where that pass is recorded, an error to differentiate again.

    ``behind`` is what it depends on.
    """
    if not torch.is_grad_enabled():
        return grad
    refused: Tensor = _Refused.apply(grad, *behind)  # type: ignore[no-untyped-call]
    return refused


class _Refused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, *behind: Tensor) -> Tensor:
        return grad.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        raise RuntimeError(
            "what an implicit solve returns is only once_differentiable; second derivatives go "
            f"through explicit steppers, `unroll`, and `solve_poisson` {Faq.SECOND_DERIVATIVES}."
        )


class _OnceDifferentiable(torch.autograd.Function):
    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)  # which is kept anyway

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return without_derivative(grad, *ctx.saved_tensors)
