"""Runs of cells of one axis in compiled code, as far as plain steps go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.coupled_newton import MAX_ITERATIONS
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Advance, Method, Place

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.esdirk_1d import Run
    from pnpfusion.solvers.kernels.newton_1d import Cell
    from pnpfusion.solvers.kernels.trail import Trail

#: Cells times tries in one call, so that Ctrl-C and progress bars wait a moment only.
MOST_IN_ONE_CALL = 2_000_000
#: Cells of all samples for which a second thread is worth its start.
ENOUGH_FOR_A_THREAD = 4096
#: Species whose elimination is written out; the code grows with the cube of their number.
MOST_SPECIES = 6


@dataclass(frozen=True, eq=False)
class CompiledRun:
    """Takes the steps of `march` without a Python step in between; see :class:`PlainSteps`.

    What needs the robust step, or pivots between blocks, is not plain. Samples go one after the
    other, on as many threads as torch has: an answer is the same bit for bit whatever else is in
    the batch. How often a sample is laid out anew depends on its own tries alone, for that reason.
    """

    cell: Cell
    method: Method
    times: NDArray[np.float64]  #: (T,)
    in_lanes: bool  #: whether the kernel of lanes knows the cell

    @classmethod
    def of(cls, cell: Electrolyte, arrays: Cell, method: Method, times: Tensor) -> CompiledRun:
        """The run of ``cell``, as ``arrays`` hold it."""
        in_lanes = cell.crowding is None and cell.reactions is None
        in_lanes = in_lanes and cell.valence.shape[1] <= MOST_SPECIES
        return cls(arrays, method, times.to(torch.float64).numpy(), in_lanes)

    def advance(self, place: Place, going: Tensor, left: Tensor) -> Advance:
        """See :class:`PlainSteps`."""
        from pnpfusion.solvers.kernels.esdirk_1d import Run

        state = place.u.shape[1:]
        batch, count = len(place.u), len(self.times)
        at = [getattr(place, name).detach().numpy() for name in Run._fields[1:9]]
        steps, rejected, iterations = np.zeros((3, batch), np.int64)
        run = Run._make(
            (
                self.times,
                *(values.copy() for values in at),
                steps,
                rejected,
                iterations,
                np.empty((count, batch, *state)),
                np.empty((count, batch)),
            )
        )
        tries, moved = left.numpy(), going.numpy()
        waits = self._move(run, moved, tries)
        waits |= moved & (steps + rejected >= tries)
        waits &= run.next < count
        before = at[3]
        if (before == before[0]).all() and (run.next == run.next[0]).all():
            rows = slice(before[0], run.next[0])
            which = np.repeat(np.arange(count)[rows], batch)
            sample = np.tile(np.arange(batch), len(which) // batch)
            values, lowest = run.states[rows].reshape(-1, *state), run.lowest_saved[rows].ravel()
        else:
            saved = np.arange(count)[:, None]
            which, sample = np.nonzero((saved >= before) & (saved < run.next))
            values, lowest = run.states[which, sample], run.lowest_saved[which, sample]
        there = (steps, rejected, iterations, np.zeros(batch, np.int64))
        return Advance(
            Place(*map(torch.from_numpy, run[1:9])),
            *map(torch.from_numpy, (waits, *there, which, sample, values, lowest)),
        )

    def _move(self, run: Run, going: NDArray[np.bool_], left: NDArray[Any]) -> NDArray[np.bool_]:
        """Which samples wait, after some steps of as many as there is time for."""
        batch, _, n = run.u.shape
        if self.in_lanes:
            enough = max(1, MOST_IN_ONE_CALL // n)
            return self.move_in_lanes(run, going, np.minimum(left, enough), enough, no_trail())
        from pnpfusion.solvers.kernels.esdirk_1d import esdirk_1d

        waits = np.zeros(batch, np.bool_)
        most = np.minimum(left, max(1, MOST_IN_ONE_CALL // (10 * max(1, batch * n))))
        esdirk_1d(self.cell, self.method, MAX_ITERATIONS, run, going, most, waits)
        return waits

    def move_in_lanes(
        self,
        run: Run,
        going: NDArray[np.bool_],
        most: NDArray[Any],
        enough: int,
        trail: Trail,
    ) -> NDArray[np.bool_]:
        """See `esdirk_lanes`."""
        from pnpfusion.solvers.kernels.esdirk_lanes import esdirk_lanes

        batch, species, n = run.u.shape
        waits = np.zeros(batch, np.bool_)

        def move(those: NDArray[np.bool_]) -> None:
            esdirk_lanes(
                (0,) * species,
                self.cell,
                self.method,
                MAX_ITERATIONS,
                run,
                those,
                most,
                enough,
                waits,
                trail,
            )

        which = going.nonzero()[0]
        threads = threads_for(len(which), n)
        if threads < 2:
            move(going)
            return waits
        parts = [np.isin(np.arange(batch), which[first::threads]) for first in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(move, parts))
        return waits


def threads_for(samples: int, cells: int) -> int:
    """How many of torch's threads so many samples are worth."""
    return min(torch.get_num_threads(), samples, samples * cells // ENOUGH_FOR_A_THREAD)


@cache
def no_trail() -> Trail:
    """Where nothing is kept."""
    from pnpfusion.solvers.kernels.trail import make_trail

    return make_trail(0, 0, 0, 1, 0, (0, 0, 0))
