"""Cells in lines: what acts along one axis of a box, seen with that axis last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from pnpfusion.solvers.grid import Grid

Spread = TypeVar("Spread")  # a dataclass of parameters spread over a batch


def some_samples(spread: Spread, part: slice, *names: str) -> Spread:
    """``spread`` with a part of the batch, in the tensors ``(B|1, ...)`` of these names."""
    found: dict[str, Any] = {name: getattr(spread, name) for name in names}
    found = {n: v if v is None or len(v) == 1 else v[part] for n, v in found.items()}
    return replace(spread, **found)  # type: ignore[type-var]


def along(values: Tensor, grid: Grid, axis: int) -> Tensor:
    """``values`` ``(..., *grid.shape)`` with ``axis`` moved to the end."""
    return values if grid.ndim == 1 else values.movedim(axis - grid.ndim, -1)


def back(values: Tensor, grid: Grid, axis: int) -> Tensor:
    """The inverse of :func:`along`."""
    return values if grid.ndim == 1 else values.movedim(-1, axis - grid.ndim)


def times_along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """``matrix`` times ``x`` along ``axis``, which becomes as long as the matrix has rows."""
    if axis in (-1, x.ndim - 1):
        return x @ matrix.mT
    if axis == -2:
        return matrix @ x
    y: Tensor = (matrix @ x.flatten(axis + 1)).unflatten(-1, x.shape[axis + 1 :])
    return y


def face_areas(grid: Grid, axis: int) -> Tensor:
    """Areas of the faces across ``axis``, float64, of the shape of the other axes."""
    areas = torch.ones((), dtype=torch.float64)
    for other in range(grid.ndim):
        if other != axis:
            areas = areas.unsqueeze(-1) * grid.widths(other)
    return areas


def face_resistances(widths: Tensor, values: Tensor, *, periodic: bool) -> Tensor:
    """Distance over value between neighbours, in series (harmonic mean); half a cell at walls.

    ``values`` ``(..., N or 1)`` per cell; returns ``(..., N+1)``.
    """
    half = widths / 2 / values
    if periodic:
        return with_ends(half, half[..., [-1, 0]]).unfold(-1, 2, 1).sum(-1)
    return torch.cat([half[..., :1], half[..., 1:] + half[..., :-1], half[..., -1:]], -1)


def with_ends(cells: Tensor, ends: Tensor) -> Tensor:
    """``cells`` ``(..., N)`` between the two columns of ``ends`` ``(..., 2)``; ``(..., N+2)``."""
    if cells.shape[:-1] != ends.shape[:-1]:
        lead = torch.broadcast_shapes(cells.shape[:-1], ends.shape[:-1])
        ends, cells = ends.expand(*lead, -1), cells.expand(*lead, -1)
    return torch.cat([ends[..., :1], cells, ends[..., 1:]], -1)


def on_edges(ends: Tensor, n: int) -> Tensor:
    """Zeros ``(..., n)`` with the two columns of ``ends`` added to the first and last entry."""
    if n == 1:
        return ends.sum(-1, keepdim=True)
    zeros = ends.new_zeros(*ends.shape[:-1], n - 2)
    return torch.cat([ends[..., :1], zeros, ends[..., 1:]], -1)


def edge_columns(cells: Tensor) -> Tensor:
    """The first and the last entry of ``cells`` ``(..., N)``; ``(..., 2)``."""
    n = cells.shape[-1]
    return cells[..., :: n - 1] if n > 1 else cells.expand(*cells.shape[:-1], 2)
