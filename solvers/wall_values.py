"""What is said of the two walls of one axis, spread over their area and the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pnpfusion.solvers.boundary import Wall, side_name
from pnpfusion.solvers.field import Drive, at_time, spread
from pnpfusion.solvers.grid import Grid


@dataclass(frozen=True, eq=False)
class WallPair:
    """The walls before and after the cells of one axis, for one batch at one time."""

    grid: Grid
    axis: int
    parts: Mapping[str, tuple[Wall, ...]]  #: of every side, as `check_walls` returns them
    batch: tuple[int, ...]
    like: Tensor  #: whose dtype and device the values take
    t: Tensor | None  #: the time, for conditions that are functions of it

    @cached_property
    def none(self) -> Tensor:
        """What no wall says anything of."""
        return self.like.new_zeros((1,) * self.grid.ndim + (2,))

    @cached_property
    def widths(self) -> Tensor:
        """Of the cells along the axis."""
        return self.grid.widths(self.axis).to(self.like)

    @property
    def periodic(self) -> bool:
        """Whether there are no walls: the last cell's neighbour is the first."""
        return self.grid.boundaries[self.axis] == "periodic"

    def values(self, what: str, species: str | None = None) -> tuple[Tensor, Tensor]:
        """The condition ``what``, zero where it is not given, and 1.0 where it is.

        Args:
            what: a field of :class:`Wall`.
            species: whose condition, for those given by species.

        Returns:
            Two tensors ``(B|1, *others|1, 2)``, with ``others`` the shape of the wall and the last
            axis its two ends.
        """
        sides = [side_name(self.axis, end) for end in (0, 1)]
        walls = [wall for side in sides for wall in self.parts.get(side, ())]
        if all(_given(wall, what, species) is None for wall in walls):
            return self.none, self.none
        pairs = [self._side(side, what, species) for side in sides]
        value, given = (
            torch.stack(torch.broadcast_tensors(*ends), -1) for ends in zip(*pairs, strict=True)
        )
        return value, given

    def _side(self, side: str, what: str, species: str | None) -> tuple[Tensor, Tensor]:
        shape = self.grid.shape[: self.axis] + self.grid.shape[self.axis + 1 :]
        zero = self.like.new_zeros((1,) * (1 + len(shape)))
        total, given = zero, zero
        for wall in self.parts.get(side, ()):
            value = _given(wall, what, species)
            if value is None:
                continue
            name = f"walls[{side!r}].{what}" + ("" if species is None else f"[{species!r}]")
            here = spread(name, at_time(name, value, self.t), shape, self.batch, self.like)
            if wall.mask is None:  # then there is no other
                return here, torch.ones_like(zero)
            share = wall.mask.to(self.like)[None]
            total, given = total + share * here, given + share
        return total, given


def _given(wall: Wall, what: str, species: str | None) -> Drive | None:
    """What ``wall`` says of ``what``; None if nothing."""
    value: Any = getattr(wall, what)
    return value if species is None else (value or {}).get(species)
