"""The past of an iteration, as far as a method remembers it."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.solvers.fixed_point.base import Iterates, Memory


class Past(Memory):
    """Pairs of vectors of each row, the newest in the place of the oldest, and the last iterate.

    A row that is restarted forgets its pairs and takes half the steps from then on.
    """

    by_row = ("one", "other", "last_u", "last_f", "damping", "fresh")

    def __init__(self, u0: Tensor, memory: int, damping: float) -> None:
        self.memory = memory
        room = (len(u0), memory, u0[0].numel() if len(u0) else 0)
        self.one, self.other = u0.new_zeros(room), u0.new_zeros(room)  #: of each pair
        self.last_u = self.last_f = u0.flatten(1)
        self.damping = u0.new_full((len(u0), 1), damping)
        self.fresh = torch.ones_like(self.damping, dtype=torch.bool)  #: rows without a last iterate
        self.count = 0  #: iterates so far

    @property
    def used(self) -> int:
        """How many pairs there are by now."""
        return min(max(self.count - 1, 0), self.memory)

    @property
    def slot(self) -> int:
        """Where the next pair goes."""
        return (self.count - 1) % self.memory

    def remember(self, at: Iterates) -> None:
        """Make ``at`` the last iterate."""
        self.last_u, self.last_f = at.u.flatten(1), at.f.flatten(1)
        self.fresh = torch.zeros_like(self.fresh)
        self.count += 1

    def restart(self, lost: Tensor) -> bool:
        """See :class:`Memory`."""
        self.one[lost], self.other[lost] = 0, 0
        self.fresh = self.fresh | lost[:, None]
        self.damping = torch.where(lost[:, None], self.damping / 2, self.damping)
        return True
