"""What is asked of the Jacobian of g(u) = u + f(u) without forming it."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_whole
from pnpfusion.solvers.fixed_point.base import Residual


def jacobian_penalty(
    residual: Residual, u: Tensor, *, probes: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    r"""An unbiased estimate of :math:`\lVert g'(u) \rVert_F^2 / n`, mean over the samples [BKK21].

    By Hutchinson's trick, the mean of :math:`\lVert v^T g' \rVert^2` over Gaussian probes v. It has
    a gradient to the parameters of g, also where gradients are switched off around it; ``u`` counts
    as constant.

    Args:
        residual: f(u) = g(u) - u.
        u: where, ``(B, *state)``, states of n numbers.
        probes: how many v.
        generator: draws them.

    Returns:
        A scalar.
    """
    check_whole("probes", probes)
    with torch.enable_grad():
        at = u.detach().requires_grad_()
        g = at + residual(at, None)
        total = u.new_zeros(())
        for _ in range(probes):
            v = torch.randn(u.shape, dtype=u.dtype, device=u.device, generator=generator)
            (product,) = torch.autograd.grad(g, at, v, create_graph=True)
            total = total + product.square().sum()
        return total / (probes * max(u.numel(), 1))


def spectral_radius(
    residual: Residual,
    u: Tensor,
    *,
    iterations: int = 30,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""The largest \|eigenvalue\| of g'(u) of each sample, estimated by Arnoldi's method, ``(B,)``.

    Picard's iteration converges near u at this rate; it diverges above 1. An estimate, and exact
    once ``iterations`` reaches the size of a state.

    Args:
        residual: f(u) = g(u) - u.
        u: where, ``(B, *state)``.
        iterations: products with the transposed Jacobian.
        generator: draws the first vector.
    """
    if not len(u):
        return u.new_zeros(0)
    batch, n = len(u), u[0].numel()
    with torch.enable_grad():
        at = u.detach().requires_grad_()
        g = at + residual(at, None)
    start = torch.randn(batch, n, dtype=u.dtype, device=u.device, generator=generator)
    basis = [start / start.norm(dim=1, keepdim=True)]
    steps = min(iterations, n)
    hessenberg = u.new_zeros(batch, steps, steps)
    for k in range(steps):
        (image,) = torch.autograd.grad(
            g, at, basis[k].reshape(u.shape), retain_graph=True, materialize_grads=True
        )
        image = image.flatten(1)
        whole = image.norm(dim=1)
        stacked = torch.stack(basis, 1)
        for _ in range(2):  # twice is enough
            overlap = (stacked @ image.unsqueeze(2)).squeeze(2)
            image = image - (stacked.mT @ overlap.unsqueeze(2)).squeeze(2)
            hessenberg[:, : k + 1, k] += overlap
        if k + 1 < steps:
            length = image.norm(dim=1)
            ended = length <= 100 * torch.finfo(u.dtype).eps * whole  # what is left is round-off
            hessenberg[:, k + 1, k] = torch.where(ended, 0.0, length)
            basis.append(torch.where(ended[:, None], 0.0, image / length[:, None]))
    eigenvalues: Tensor = torch.linalg.eigvals(hessenberg)
    return eigenvalues.abs().amax(1)
