"""What is said of the two walls of one axis, spread over their area and the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.boundary import Wall, side_name
from pnpfusion.solvers.field import at_time, spread
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
        walls = [wall for end in (0, 1) for wall in self.parts.get(side_name(self.axis, end), ())]
        if all(getattr(wall, what) is None for wall in walls):
            none = self.like.new_zeros((1,) * self.grid.ndim + (2,))
            return none, none
        pairs = [self._side(side_name(self.axis, end), what, species) for end in (0, 1)]
        value, given = (
            torch.stack(torch.broadcast_tensors(*ends), -1) for ends in zip(*pairs, strict=True)
        )
        return value, given

    def _side(self, side: str, what: str, species: str | None) -> tuple[Tensor, Tensor]:
        shape = self.grid.shape[: self.axis] + self.grid.shape[self.axis + 1 :]
        zero = torch.zeros((1,) * (1 + len(shape))).to(self.like)
        total, given = zero, zero
        for wall in self.parts.get(side, ()):
            name = f"walls[{side!r}].{what}"
            value = getattr(wall, what)
            if species is not None:
                value, name = (value or {}).get(species), f"{name}[{species!r}]"
            if value is None:
                continue
            here = at_time(name, value, self.t)
            share = torch.ones_like(zero) if wall.mask is None else wall.mask.to(self.like)[None]
            total = total + share * spread(name, here, shape, self.batch, self.like)
            given = given + share
        return total, given
