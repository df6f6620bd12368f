"""Runs of cells of one axis in compiled code, as far as plain steps go."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pnpfusion.solvers.compiled_cell import compiled_cell, is_compiled
from pnpfusion.solvers.coupled_newton import MAX_ITERATIONS
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Advance, Method, Place

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.newton_1d import Cell

#: Cells times samples times tries in one call, so that Ctrl-C and progress bars wait a moment only.
MOST_IN_ONE_CALL = 200_000


@dataclass(frozen=True, eq=False)
class CompiledRun:
    """Takes the steps of `march` without a Python step in between; see :class:`PlainSteps`.

    What needs the robust step, or pivots between blocks, is not plain. Samples go one after the
    other: an answer is the same bit for bit whatever else is in the batch.
    """

    cell: Cell
    method: Method
    times: Tensor  #: (T,), float64
    in_lanes: bool  #: whether the faster kernel knows the cell

    @classmethod
    def of(cls, cell: Electrolyte, method: Method, times: Tensor) -> CompiledRun | None:
        """The run of ``cell``, or None where only `march` can follow it."""
        if cell.valence.dtype != torch.float64 or not is_compiled(cell, cell.valence):
            return None
        in_lanes = cell.crowding is None and cell.reactions is None
        return cls(compiled_cell(cell), method, times.to(torch.float64), in_lanes)

    def advance(self, place: Place, going: Tensor, left: Tensor) -> Advance:
        """See :class:`PlainSteps`."""
        from pnpfusion.solvers.kernels.esdirk_1d import Run, esdirk_1d
        from pnpfusion.solvers.kernels.esdirk_lanes import esdirk_lanes

        batch, *state = place.u.shape
        chunk = max(1, MOST_IN_ONE_CALL // max(1, batch * state[-1]))
        shape = (len(self.times), batch)
        names = [field.name for field in fields(Place)]
        run = Run._make(
            (
                self.times.numpy(),
                *(np.array(getattr(place, name).detach().numpy(), order="C") for name in names),
                *(np.zeros(batch, np.int64) for _ in range(3)),
                np.empty((*shape, *state)),
                np.empty(shape),
            )
        )
        waits = np.zeros(batch, np.bool_)
        most = left.clamp_max(chunk).numpy()
        arguments = self.cell, self.method, MAX_ITERATIONS, run, going.numpy(), most, waits
        if self.in_lanes:
            esdirk_lanes((0,) * state[0], *arguments)
        else:
            esdirk_1d(*arguments)
        waits |= going.numpy() & (run.steps + run.rejected >= left.numpy())
        rows = np.arange(len(self.times))[:, None]
        passed = np.nonzero((rows >= place.next.numpy()) & (rows < run.next))
        waits &= run.next < len(self.times)
        arrays = waits, run.steps, run.rejected, run.iterations, np.zeros(batch, np.int64)
        saved = *passed, run.states[passed], run.lowest_saved[passed]
        return Advance(
            Place(*(torch.from_numpy(getattr(run, name)) for name in names)),
            *(torch.from_numpy(part) for part in (*arrays, *saved)),
        )
