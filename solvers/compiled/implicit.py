"""Implicit runs of cells of one axis in compiled code, with their gradient."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.compiled.followed import FollowedCall, kept_state
from pnpfusion.solvers.compiled.origin import Origin
from pnpfusion.solvers.compiled.run import MOST_IN_ONE_CALL, CompiledRun
from pnpfusion.solvers.plain_steps import Advance, FollowedSteps, Place, StartingSteps

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.run import Run

#: Bytes that the stages of the first steps of a run may take.
ROOM_FOR_STAGES = 16_000_000


class CompiledImplicit(StartingSteps, FollowedSteps):
    """Takes the steps of :class:`CompiledRun`, and goes back along them for the gradient.

    The steps are the same bit for bit with and without gradient. All stages of the first steps are
    kept for it. Of those after them, every L-th state is, and the steps between them are taken
    again when the gradient is computed, one sample after the other. L and the number of steps in
    one call grow such that both the states kept and the stages of L steps grow with the square root
    of the number of steps.
    """

    def __init__(self, plain: CompiledRun, origin: Origin) -> None:
        self.plain, self.origin = plain, origin
        self.calls = self.tried = 0

    def follows(self, u: Tensor) -> bool:
        """See :class:`FollowedSteps`."""
        return u.requires_grad or bool(self.origin.tensors)

    def start(self, u0: Tensor, left: int) -> Advance:
        """See :class:`StartingSteps`."""
        if not (torch.is_grad_enabled() and self.follows(u0)):
            return self.plain.start(u0, left)
        run, batch = self.plain.begun(u0), len(u0)
        before, tries = np.zeros(batch, np.int64), np.full(batch, left)
        going = run.next < len(self.plain.times)
        return self._followed(run, before, going, tries, u0, None)

    def advance(self, place: Place, going: Tensor, left: Tensor) -> Advance:
        """See :class:`PlainSteps`."""
        followed = place.slope.requires_grad or self.follows(place.u)
        if not (followed and torch.is_grad_enabled()):
            return self.plain.advance(place, going, left)
        run, before = self.plain.standing(place), place.next.numpy()
        return self._followed(run, before, going.numpy(), left.numpy(), place.u, place.slope)

    def _followed(
        self,
        run: Run,
        before: NDArray[np.int64],
        going: NDArray[np.bool_],
        left: NDArray[np.int64],
        u: Tensor,
        slope: Tensor | None,
    ) -> Advance:
        """Steps of ``run``, as in :func:`arrived`; its slopes follow from ``u`` if not given."""
        call = FollowedCall(self.plain, self.origin, slope is None)
        room = self._most(run.u.shape, left)
        return call.attached(lambda: call.take(run, before, going, left, room), u, slope)

    def _most(self, shape: Sequence[int], left: NDArray[np.int64]) -> tuple[int, int, int]:
        """How many steps to try in the next call, to keep whole, and how far apart the others."""
        batch, species, n = shape
        self.calls += 1
        chunk = max(1, MOST_IN_ONE_CALL // max(1, batch * n)) * self.calls
        chunk = min(chunk, int(left.max())) if len(left) else 0
        state = prod(kept_state(self.plain, species, n))
        stages = 8 * len(self.plain.method.rows) * batch * state
        whole = min(chunk, max(0, ROOM_FOR_STAGES // max(1, stages) - self.tried))
        self.tried += chunk
        apart = ceil(sqrt(2 * batch * self.tried / len(self.plain.method.rows)))
        return chunk, whole, max(1, apart)
