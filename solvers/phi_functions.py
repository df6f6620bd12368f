r"""The functions that exponential time steps are made of, for a small matrix per mode."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

TERMS = 17  # of the Taylor series about 0, for matrices of norm <= 1
AT_ONCE = 4096  # modes; their matrices stay in the cache, and each group is doubled as it needs


def phi_functions(matrices: Tensor, count: int) -> tuple[Tensor, ...]:
    r""":math:`\varphi_0(X) = e^X` and :math:`\varphi_1 \dots \varphi_n`, of one matrix per mode.

    .. math:: \varphi_{k}(X) = \sum_{m \ge 0} \frac{X^m}{(m + k)!}, \qquad
              \varphi_{k}(X) = \frac{1}{k!} + X \varphi_{k+1}(X).

    By Taylor's series at :math:`X / 2^s` and s doublings [KT05 shows what the plain quotients
    lose]. Nothing cancels where X decays, whatever its size; a vanishing X is answered exactly.
    Differentiable to any order.

    Args:
        matrices: X, shape ``(B, S, S, *modes)``.
        count: n >= 1.

    Returns:
        n + 1 tensors of the shape of ``matrices``.
    """
    modes = matrices.shape[3:]
    flat = matrices.reshape(*matrices.shape[:3], -1)
    parts = [_phi_functions(part, count) for part in flat.split(AT_ONCE, -1)]
    joined = (torch.cat(part, -1) for part in zip(*parts, strict=True))
    return tuple(phi.reshape(*phi.shape[:3], *modes) for phi in joined)


def _phi_functions(matrices: Tensor, count: int) -> tuple[Tensor, ...]:
    norm = float(matrices.detach().abs().sum(2).max()) if matrices.numel() else 0.0
    doublings = max(0, math.ceil(math.log2(norm))) if 0 < norm < math.inf else 0
    x = matrices * 2.0**-doublings
    identity = identity_like(x)
    phi = identity / math.factorial(count + TERMS)
    for m in reversed(range(TERMS)):
        phi = product(x, phi, plus=identity / math.factorial(count + m))
    phis = [phi]
    for k in reversed(range(1, count)):
        phis.insert(0, product(x, phis[0], plus=identity / math.factorial(k)))
    change = product(x, phis[0], plus=torch.zeros_like(identity))
    for _ in range(doublings):
        phis = _doubled(change, phis)
        change = product(change, change, plus=2 * change)
    return (identity + change, *phis)


def doubled(phis: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    r""":math:`\varphi_k(2X)` from :math:`\varphi_k(X)`, for the same k = 0, 1, ..., n.

    .. math:: \varphi_k(2X) = 2^{-k} \Big[ e^X \varphi_k(X)
              + \sum_{j=1}^{k} \frac{\varphi_j(X)}{(k - j)!} \Big].
    """
    change = phis[0] - identity_like(phis[0])
    twice = _doubled(change, list(phis[1:]))
    return (product(change, phis[0], plus=phis[0]), *twice)


def _doubled(change: Tensor, phis: list[Tensor]) -> list[Tensor]:
    """The same for k = 1, ..., n, from e^X - 1, in which small X keep all their digits."""
    twice = []
    for k, phi in enumerate(phis, start=1):
        total = phi if k == 1 else phi * 2 ** (1 - k)
        for j in range(1, k):
            total = torch.add(total, phis[j - 1], alpha=2**-k / math.factorial(k - j))
        twice.append(product(change, phi, plus=total, times=2**-k))
    return twice


def product(left: Tensor, right: Tensor, *, plus: Tensor, times: float = 1.0) -> Tensor:
    """``plus`` and ``times`` the matrix product of each mode, ``(B, S, S, *modes)``."""
    if torch.is_grad_enabled() and (left.requires_grad or right.requires_grad):
        total: Tensor = _Product.apply(left, right, times)  # type: ignore[no-untyped-call]
        return plus + total
    return _added(left, right, plus, times)


def _added(left: Tensor, right: Tensor, plus: Tensor, times: float) -> Tensor:
    total = plus
    for j in range(left.shape[2]):
        total = torch.addcmul(total, left[:, :, j : j + 1], right[:, j : j + 1], value=times)
    return total


class _Product(torch.autograd.Function):
    """The product alone; the graph of its slices would cost several times more."""

    @staticmethod
    def forward(left: Tensor, right: Tensor, times: float) -> Tensor:
        return _added(left, right, left.new_zeros((1,) * left.ndim), times)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        left, right, ctx.times = inputs
        ctx.save_for_backward(left, right)
        ctx.save_for_forward(left, right)

    @staticmethod
    def jvp(ctx: Any, left: Any, right: Any, _: None) -> Tensor:
        a, b = ctx.saved_tensors
        total: Tensor = a.new_zeros((1,) * a.ndim)
        if left is not None:
            total = product(left, b, plus=total, times=ctx.times)
        if right is not None:
            total = product(a, right, plus=total, times=ctx.times)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        left, right = ctx.saved_tensors
        none = grad.new_zeros((1,) * grad.ndim)
        by_left = by_right = None
        if ctx.needs_input_grad[0]:
            by_left = product(grad, right.transpose(1, 2), plus=none, times=ctx.times)
        if ctx.needs_input_grad[1]:
            by_right = product(left.transpose(1, 2), grad, plus=none, times=ctx.times)
        return by_left, by_right, None


def apply(matrices: Tensor, modes: Tensor, *, plus: Tensor | None = None) -> Tensor:
    """Matrices ``(B|1, S, S, *modes)`` times vectors ``(B, S, *modes)``, added to ``plus``."""
    if torch.is_grad_enabled() and (matrices.requires_grad or modes.requires_grad):
        image: Tensor = _Apply.apply(matrices, modes)  # type: ignore[no-untyped-call]
        return image if plus is None else plus + image
    return _applied(matrices, modes, plus)


def _applied(matrices: Tensor, modes: Tensor, plus: Tensor | None = None) -> Tensor:
    total = matrices[:, :, 0] * modes[:, :1] if plus is None else plus
    for j in range(1 if plus is None else 0, modes.shape[1]):
        total = torch.addcmul(total, matrices[:, :, j], modes[:, j : j + 1])
    return total


class _Apply(torch.autograd.Function):
    """Matrices times vectors; see :class:`_Product`."""

    @staticmethod
    def forward(matrices: Tensor, modes: Tensor) -> Tensor:
        return _applied(matrices, modes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, matrices: Any, modes: Any) -> Tensor:
        a, v = ctx.saved_tensors
        parts = [] if matrices is None else [apply(matrices, v)]
        parts += [] if modes is None else [apply(a, modes)]
        total: Tensor = sum(parts[1:], parts[0])
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        matrices, modes = ctx.saved_tensors
        by_matrices = by_modes = None
        if ctx.needs_input_grad[0]:
            by_matrices = (grad.unsqueeze(2) * modes.unsqueeze(1)).sum_to_size(matrices.shape)
        if ctx.needs_input_grad[1]:
            by_modes = apply(matrices.transpose(1, 2), grad).sum_to_size(modes.shape)
        return by_matrices, by_modes


def identity_like(matrices: Tensor) -> Tensor:
    """The identity, ``(1, S, S, 1, ...)``, to be added to ``matrices`` ``(B, S, S, *modes)``."""
    size = matrices.shape[1]
    identity = torch.eye(size, dtype=matrices.dtype, device=matrices.device)
    return identity.reshape(1, size, size, *(1 for _ in matrices.shape[3:]))
