r"""Orthonormal transforms along one axis by torch's FFT, which runs on any device.

With :math:`w_k = e^{-i\pi k/2N}` the cosines of type II are the real part of :math:`w_k` times a
transform of N numbers in the order 0, 2, 4, ..., 5, 3, 1 [Mak80]; those of type IV are one of
:math:`x_n w_n`, as long again with zeros. Sines are cosines with every second sign changed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pnpfusion.solvers.bases import Basis

#: Cells of an axis up to which a product with the matrix is the quicker way on a card. By counting:
#: a product costs 2 N operations a number, the FFT ten passes over memory, and a card takes some
#: hundred operations in the time of one number from memory.
LARGEST_MATRIX = 512


def transform_by_fft(x: Tensor, basis: Basis, n: int, count: int, *, inverse: bool) -> Tensor:
    """The ``count`` lowest modes of the last axis of ``n`` cells, or those cells from them.

    Args:
        x: ``(..., n)``, or with ``inverse`` ``(..., count)``.
        basis: of the axis; see :mod:`pnpfusion.solvers.bases`.
        n: cells.
        count: modes.
        inverse: whether to go from modes to cells.

    Returns:
        ``(..., count)``, or with ``inverse`` ``(..., n)``.
    """
    if inverse and count < n:
        x = _spread(x, basis, n)
    if basis == "fourier":
        x = _from_fourier(x) if inverse else _to_fourier(x)
    elif basis == "cosine":
        x = _cosines_back(x) if inverse else _cosines(x)
    elif basis == "sine":
        x = x.flip(-1) if inverse else _alternating(x)
        x = _alternating(_cosines_back(x)) if inverse else _cosines(x).flip(-1)
    else:
        x = _quarter_waves(x, sines=basis == "sine-cosine")
    if inverse or count == n:
        return x
    if basis != "fourier":
        return x[..., :count]
    low, first = count // 2 + 1, n // 2 + 1
    return torch.cat([x[..., :low], x[..., first : first + count - low]], -1)


def _spread(modes: Tensor, basis: Basis, n: int) -> Tensor:
    """``modes`` among ``n``, the others zero."""
    count = modes.shape[-1]
    if basis != "fourier":
        return torch.nn.functional.pad(modes, (0, n - count))
    low, first = count // 2 + 1, n // 2 + 1
    high = torch.nn.functional.pad(modes[..., low:], (0, n - first - (count - low)))
    return torch.cat([torch.nn.functional.pad(modes[..., :low], (0, first - low)), high], -1)


def _turns(n: int, like: Tensor) -> Tensor:
    """``w_k``, k = 0 ... N - 1, computed on the device."""
    angle = torch.arange(n, dtype=like.dtype, device=like.device) * (-math.pi / (2 * n))
    return torch.polar(torch.ones_like(angle), angle)


def _alternating(x: Tensor) -> Tensor:
    """``x`` with every second sign changed."""
    sign: Tensor = 1 - 2 * (torch.arange(x.shape[-1], device=x.device) % 2)
    return x * sign


def _weights(n: int, like: Tensor) -> Tensor:
    """What makes the cosines of type II orthonormal."""
    weights = like.new_full((n,), math.sqrt(2 / n))
    weights[:1] = math.sqrt(1 / n)
    return weights


def _cosines(x: Tensor) -> Tensor:
    n = x.shape[-1]
    folded = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1)
    waves: Tensor = torch.fft.fft(folded) * _turns(n, x)
    return waves.real * _weights(n, x)


def _cosines_back(modes: Tensor) -> Tensor:
    n = modes.shape[-1]
    modes = modes / _weights(n, modes)
    mirrored = torch.nn.functional.pad(modes[..., 1:].flip(-1), (1, 0))  # X_{N-k}, X_N = 0
    folded = torch.fft.ifft(torch.complex(modes, -mirrored) * _turns(n, modes).conj()).real
    x, even = torch.empty_like(folded), (n + 1) // 2
    x[..., ::2], x[..., 1::2] = folded[..., :even], folded[..., even:].flip(-1)
    return x


def _quarter_waves(x: Tensor, *, sines: bool) -> Tensor:
    """Type IV, its own inverse."""
    n = x.shape[-1]
    turns = _turns(n, x)
    waves: Tensor = torch.fft.fft(x * turns, 2 * n)[..., :n] * turns
    quarter = math.pi / (4 * n)
    real, imaginary = waves.real, waves.imag  # times e^(-i quarter):
    if sines:
        return (real * math.sin(quarter) - imaginary * math.cos(quarter)) * math.sqrt(2 / n)
    return (real * math.cos(quarter) + imaginary * math.sin(quarter)) * math.sqrt(2 / n)


def _to_fourier(x: Tensor) -> Tensor:
    n = x.shape[-1]
    z = torch.fft.rfft(x, norm="ortho")
    pairs = slice(1, 1 + (n - 1) // 2)
    weight = torch.ones(z.shape[-1], dtype=x.dtype, device=x.device)
    weight[pairs] = math.sqrt(2)
    return torch.cat([z.real * weight, -math.sqrt(2) * z.imag[..., pairs]], -1)


def _from_fourier(modes: Tensor) -> Tensor:
    n = modes.shape[-1]
    cosines, half = n // 2 + 1, (n - 1) // 2
    weight = torch.ones(cosines, dtype=modes.dtype, device=modes.device)
    weight[1 : 1 + half] = math.sqrt(0.5)
    imaginary = torch.nn.functional.pad(
        -math.sqrt(0.5) * modes[..., cosines:], (1, cosines - 1 - half)
    )
    z = torch.complex(modes[..., :cosines] * weight, imaginary)
    x: Tensor = torch.fft.irfft(z, n, norm="ortho")
    return x
