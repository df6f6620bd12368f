"""The box that fields live on: equal or graded cells along each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Literal, SupportsFloat, get_args

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_floats
from pnpfusion.solvers.faq import Faq

Boundary = Literal["periodic", "wall"]
AXIS_NAMES = ("x", "y", "z")


@dataclass(frozen=True)
class Grid:
    r"""Cells of a box; a field has one value per cell, at its centre.

    Equal cells of an axis are centred at :math:`r_i = (i + \tfrac12) L / N`; a wall is a cell face.
    What a field does at a wall is told to the solver of that field (:class:`Wall`), not to the
    grid.

    Raises:
        ValueError: an axis without cells, a length that is not positive, an unknown boundary, or
            edges that do not increase or do not span the length.
    """

    shape: tuple[int, ...]  #: cells per axis, (N_1, ..., N_D), D = 1, 2 or 3
    lengths: tuple[float, ...]  #: side lengths (L_1, ..., L_D), in units of L
    boundaries: tuple[Boundary, ...]  #: "periodic" or "wall", one per axis
    _: KW_ONLY
    edges: Sequence[Sequence[float] | Tensor | None] | None = None
    """Per axis None (equal cells from 0) or the N + 1 cell edges of a graded axis."""

    def __post_init__(self) -> None:
        for name in ("shape", "lengths", "boundaries"):
            value = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise ValueError(
                    f"`{name}` must be a tuple with one entry per axis, got {value!r}; "
                    f"for one axis write ({value!r},)."
                )
        if not 1 <= len(self.shape) <= 3:
            raise ValueError(f"`shape` must have 1, 2 or 3 axes, got {self.shape!r}.")
        for name in ("lengths", "boundaries"):
            if len(getattr(self, name)) != len(self.shape):
                raise ValueError(
                    f"`{name}` must have one entry per axis of `shape` {tuple(self.shape)}, "
                    f"got {getattr(self, name)!r}."
                )
        if not all(_is_number(n) and float(n).is_integer() and n >= 1 for n in self.shape):
            raise ValueError(f"`shape` must hold whole numbers >= 1, got {tuple(self.shape)}.")
        if not all(_is_number(v) and math.isfinite(v) and v > 0 for v in self.lengths):
            raise ValueError(f"`lengths` must be positive, got {tuple(self.lengths)}.")
        for boundary in self.boundaries:
            if boundary not in get_args(Boundary):
                raise ValueError(f'`boundaries` must be "periodic" or "wall", got {boundary!r}.')
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "lengths", tuple(float(length) for length in self.lengths))
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        if self.edges is not None:
            object.__setattr__(self, "edges", self._checked_edges(self.edges))

    def _checked_edges(
        self, edges: Sequence[Sequence[float] | Tensor | None]
    ) -> tuple[tuple[float, ...] | None, ...]:
        if len(edges) != len(self.shape):
            raise ValueError(
                f"`edges` must have one entry per axis, {len(self.shape)}, got {len(edges)}; "
                f"for one graded axis write edges=(values,)."
            )
        checked: list[tuple[float, ...] | None] = []
        for axis, values in enumerate(edges):
            if values is None:
                checked.append(None)
                continue
            n, length = self.shape[axis], self.lengths[axis]
            try:
                numbers = tuple(float(v) for v in values)
            except (TypeError, ValueError):
                raise ValueError(
                    f"`edges[{axis}]` must hold {n + 1} numbers, got {values!r}."
                ) from None
            if len(numbers) != n + 1:
                raise ValueError(f"`edges[{axis}]` must hold {n + 1} numbers, got {len(numbers)}.")
            if not all(a < b for a, b in pairwise(numbers)):
                raise ValueError(f"`edges[{axis}]` must increase strictly.")
            span = numbers[-1] - numbers[0]
            if abs(span - length) > 1e-6 * length:
                raise ValueError(
                    f"`edges[{axis}]` must span `lengths[{axis}]` = {length:g}, got {span:g}."
                )
            checked.append(numbers)
        return tuple(checked)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def sides(self) -> tuple[str, ...]:
        """The names of the walls: "x-", "x+", ... of every axis that is not periodic."""
        return tuple(
            f"{AXIS_NAMES[axis]}{end}"
            for axis, boundary in enumerate(self.boundaries)
            if boundary == "wall"
            for end in "-+"
        )

    def faces(self, axis: int = 0) -> Tensor:
        """Positions of the cell edges along ``axis``, float64, shape ``(N + 1,)``, in L.

        Raises:
            ValueError: there is no such axis.
        """
        if axis not in range(-self.ndim, self.ndim):
            raise ValueError(f"`axis` must be 0 to {self.ndim - 1}, got {axis!r}.")
        given = None if self.edges is None else self.edges[axis]
        if given is not None:
            return torch.tensor(given, dtype=torch.float64)
        n = self.shape[axis]
        return torch.arange(n + 1, dtype=torch.float64) * (self.lengths[axis] / n)

    def coordinates(self, axis: int = 0) -> Tensor:
        """Positions of the cell centres along ``axis``, float64, shape ``(N,)``, in L."""
        faces = self.faces(axis)
        return (faces[1:] + faces[:-1]) / 2

    def widths(self, axis: int = 0) -> Tensor:
        """Cell widths along ``axis``, float64, shape ``(N,)``, in L."""
        given = None if self.edges is None else self.edges[axis]
        if given is not None:
            return self.faces(axis).diff()
        n = self.shape[axis]
        return torch.full((n,), self.lengths[axis] / n, dtype=torch.float64)

    @property
    def weights(self) -> Tensor:
        """Cell volumes, float64, shape ``grid.shape``: the mass of c is ``(weights * c).sum()``."""
        volumes = torch.ones((), dtype=torch.float64)
        for axis in range(self.ndim):
            volumes = volumes.unsqueeze(-1) * self.widths(axis)
        return volumes

    def check(self, name: str, values: Tensor) -> None:
        """Raise ValueError unless ``values`` is floating point and ends in this grid's axes.

        Args:
            name: what errors call it.
            values: anything that should be a field on this grid.
        """
        check_floats(name, values)
        if tuple(values.shape[-self.ndim :]) != self.shape:
            raise ValueError(
                f"`{name}` must end in the grid's shape {self.shape}, got {tuple(values.shape)}"
                f" {Faq.WRONG_SHAPE}."
            )


def _is_number(value: object) -> bool:
    return isinstance(value, SupportsFloat) and not isinstance(value, bool)
