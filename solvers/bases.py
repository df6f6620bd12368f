r"""The orthonormal bases that a field on equal cells may be written in, axis by axis.

========================  ==========================  ======================================
basis of an axis          what its functions do       :math:`\theta_k`, k = 0 ... N - 1
========================  ==========================  ======================================
``"fourier"``             repeat                      :math:`2\pi/N` times 0, 1, ..., N // 2,
                                                      then 1, ..., (N - 1) // 2
``"cosine"``              zero slope at both walls    :math:`\pi k / N` (DCT-II)
``"sine"``                zero value at both walls    :math:`\pi (k + 1) / N` (DST-II)
``"cosine-sine"``         zero slope, then value      :math:`\pi (k + 1/2) / N` (DCT-IV)
``"sine-cosine"``         zero value, then slope      :math:`\pi (k + 1/2) / N` (DST-IV)
========================  ==========================  ======================================

Fourier modes are the coefficients of the cosines, then those of the sines, so modes are real and
have the shape of the values. Functions are sampled at the cell centres, Fourier's from the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from pnpfusion.solvers.grid import Grid

Basis = Literal["fourier", "cosine", "sine", "cosine-sine", "sine-cosine"]


def wall_bases(grid: Grid, grounded: Sequence[tuple[bool, bool]]) -> tuple[Basis, ...]:
    """Fourier on periodic axes; between walls what is zero where ``grounded``, else has no slope.

    ``grounded`` says for each axis at which of its two walls the value is held at zero.
    """
    kinds: dict[tuple[bool, bool], Basis] = {
        (False, False): "cosine",
        (True, True): "sine",
        (False, True): "cosine-sine",
        (True, False): "sine-cosine",
    }
    return tuple(
        "fourier" if boundary == "periodic" else kinds[ends]
        for boundary, ends in zip(grid.boundaries, grounded, strict=True)
    )


def insulating_bases(grid: Grid) -> tuple[Basis, ...]:
    """Fourier on the periodic axes of ``grid``, cosines between walls (zero slope)."""
    return tuple("fourier" if b == "periodic" else "cosine" for b in grid.boundaries)


def lowest(basis: Basis, count: int, n: int) -> list[int]:
    """Where the ``count`` modes of lowest frequency stand among the ``n`` of an axis."""
    if basis != "fourier" or count == n:
        return list(range(count))
    return [*range(count // 2 + 1), *range(n // 2 + 1, n // 2 + 1 + count // 2)]


def cut(modes: Tensor, bases: tuple[Basis, ...], shape: tuple[int, ...]) -> Tensor:
    """The lowest modes along each of the last axes, ``(..., *shape)``."""
    for axis, basis in enumerate(bases, start=-len(bases)):
        count, n = shape[axis], modes.shape[axis]
        if count < n and basis == "fourier":
            at = torch.tensor(lowest(basis, count, n), device=modes.device)
            modes = modes.index_select(axis, at)
        elif count < n:
            modes = modes.narrow(axis, 0, count)
    return modes


def extended(modes: Tensor, bases: tuple[Basis, ...], shape: tuple[int, ...]) -> Tensor:
    """``modes`` with zeros for the higher ones, ``(..., *shape)``; undoes :func:`cut`."""
    after: list[int] = []
    for axis, basis in enumerate(bases, start=-len(bases)):
        count, n = modes.shape[axis], shape[axis]
        if count < n and basis == "fourier":
            at = torch.tensor(lowest(basis, count, n), device=modes.device)
            size = (*modes.shape[:axis], n, *modes.shape[modes.ndim + axis + 1 :])
            modes = modes.new_zeros(size).index_add(axis, at, modes)
        after = [0, n - modes.shape[axis], *after]
    return torch.nn.functional.pad(modes, after)


def frequencies(basis: Basis, n: int) -> Tensor:
    r"""The angle :math:`\theta_k` by which each mode of ``n`` cells turns per cell, float64."""
    if basis == "fourier":
        k = torch.cat([torch.arange(n // 2 + 1), torch.arange(1, (n + 1) // 2)])
        return 2 * math.pi / n * k.double()
    shift = {"cosine": 0.0, "sine": 1.0, "cosine-sine": 0.5, "sine-cosine": 0.5}[basis]
    return math.pi / n * (torch.arange(n, dtype=torch.float64) + shift)


@lru_cache(maxsize=64)
def transform_matrix(basis: Basis, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The orthonormal matrix ``(n, n)`` with one basis function a row: modes = matrix @ values."""
    with torch.inference_mode(False):
        # In whole parts of a turn, angles of many turns keep all their digits.
        parts = 8 * n
        turns = (frequencies(basis, n) * (parts / (2 * math.pi))).round().long().unsqueeze(1)
        cells = torch.arange(n)
        whole = turns * cells if basis == "fourier" else turns // 2 * (2 * cells + 1)
        angles = (whole % parts).double() * (2 * math.pi / parts)
        rows = angles.cos() if basis.startswith(("fourier", "cosine")) else angles.sin()
        if basis == "fourier":
            rows[n // 2 + 1 :] = angles[n // 2 + 1 :].sin()
        rows = rows / rows.square().sum(1, keepdim=True).sqrt()
        return rows.to(dtype=dtype, device=device)
