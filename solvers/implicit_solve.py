"""What solving an implicit equation returns; below the steppers and the Newton iterations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.autograd import forward_ad


@dataclass(frozen=True, eq=False)
class ImplicitSolve:
    """The solution of one implicit equation u - h f(u) = b, per sample."""

    u: Tensor  #: shape (B, *state); carries the gradient
    converged: Tensor  #: bool, (B,)
    iterations: Tensor  #: Newton iterations, (B,)


def is_followed(*values: Tensor) -> bool:
    """Whether a derivative is taken through one of ``values``, backward or forward."""
    return any(v.requires_grad or forward_ad.unpack_dual(v).tangent is not None for v in values)


def runs_forward() -> bool:
    """Whether derivatives are taken forward just now: then tensors have no memory to hand out."""
    return forward_ad._current_level >= 0


def per_state(values: Tensor, u: Tensor) -> Tensor:
    """``values`` ``(B,)`` with axes added to multiply a state ``u`` ``(B, *state)``."""
    return values.reshape(-1, *(1 for _ in u.shape[1:]))
