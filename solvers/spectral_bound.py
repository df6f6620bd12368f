"""How much a matrix can stretch a vector, from above."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pnpfusion.solvers.products import is_plain, times_transposed

SQUARINGS = 4  #: s


def spectral_norm_bound(matrices: Tensor) -> Tensor:
    r"""A bound of the spectral norm from above, never below it but for round-off.

    The Schatten norm :math:`(\sum_i \sigma_i^{4k})^{1/4k} = \|(A A^T)^k\|_F^{1/2k}` of order
    :math:`4k`, :math:`k = 2^s`, by s = 4 squarings: too large by a factor of at most
    :math:`m^{1/4k}`, which is what an orthogonal matrix meets (1.07 for m = 64). It is
    smooth wherever the matrix is not zero, and costs s + 1 products of m × m matrices, as does its
    gradient, a multiple of :math:`(A A^T)^{2k-1} A`.

    Power iteration approaches the norm from below, so it cannot promise a contraction.

    Args:
        matrices: A, shape ``(*batch, m, n)``; m <= n is the cheaper way to hold them.

    Returns:
        The bounds, shape ``(*batch,)``.
    """
    if not is_plain(matrices):
        return _bound_and_powers(matrices)[0]
    bound: Tensor = _Bound.apply(matrices)  # type: ignore[no-untyped-call]
    return bound


def _bound_and_powers(matrices: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The bound, and multiples of :math:`(A A^T)^{2^j}` for j = 0 ... s."""
    tiny = torch.finfo(matrices.dtype).tiny
    bound: Tensor = torch.linalg.matrix_norm(matrices).clamp_min(tiny)
    power = matrices / bound[..., None, None]
    powers: list[Tensor] = []
    for squaring in range(SQUARINGS + 1):
        power = times_transposed(power, power)
        size = torch.linalg.matrix_norm(power).clamp_min(tiny)
        power = power / size[..., None, None]  # so that no power leaves the range of floats
        powers.append(power)
        bound = bound * size**0.5 ** (squaring + 1)
    return bound, powers


class _Bound(torch.autograd.Function):
    """The bound with half of the products that its steps would take backward."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor) -> Tensor:
        bound, powers = _bound_and_powers(matrices)
        ctx.save_for_backward(matrices, bound, *powers)
        return bound

    @staticmethod
    def backward(ctx: Any, by_bound: Tensor) -> Tensor:
        matrices, bound, *powers = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is asked for
            bound, _ = _bound_and_powers(matrices)
            found: Tensor = torch.autograd.grad(bound, matrices, by_bound, create_graph=True)[0]
            return found
        size = torch.linalg.matrix_norm(matrices, keepdim=True)
        way = matrices / size.clamp_min(torch.finfo(matrices.dtype).tiny)
        for power in powers:
            way = times_transposed(power, way.mT)
        along = (way * matrices).sum((-2, -1))  # > 0; a norm's gradient along A is the norm
        scale = torch.where(along > 0, by_bound * bound / along, 0)
        by: Tensor = scale[..., None, None] * way
        return by
