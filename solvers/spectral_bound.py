"""How much a matrix can stretch a vector, from above."""

from __future__ import annotations

import torch
from torch import Tensor


def spectral_norm_bound(matrices: Tensor, *, squarings: int = 4) -> Tensor:
    r"""A bound of the spectral norm from above, never below it but for round-off.

    The Schatten norm :math:`(\sum_i \sigma_i^{4k})^{1/4k} = \|(A A^T)^k\|_F^{1/2k}` of order
    :math:`4k`, :math:`k = 2^s`, by s squarings: too large by a factor of at most
    :math:`m^{1/4k}`, which is what an orthogonal matrix meets (1.07 for m = 64 and s = 4). It is
    smooth wherever the matrix is not zero, and costs s + 1 products of m × m matrices.

    Power iteration approaches the norm from below, so it cannot promise a contraction.

    Args:
        matrices: A, shape ``(*batch, m, n)``; m <= n is the cheaper way to hold them.
        squarings: s >= 0.

    Returns:
        The bounds, shape ``(*batch,)``.
    """
    tiny = torch.finfo(matrices.dtype).tiny
    bound: Tensor = torch.linalg.matrix_norm(matrices).clamp_min(tiny)
    scaled = matrices / bound[..., None, None]
    power = scaled @ scaled.mT
    for squaring in range(squarings + 1):
        if squaring:
            power = power @ power
        size = torch.linalg.matrix_norm(power).clamp_min(tiny)
        power = power / size[..., None, None]  # so that no power leaves the range of floats
        bound = bound * size**0.5 ** (squaring + 1)
    return bound
