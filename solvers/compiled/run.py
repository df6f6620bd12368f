"""Runs of cells of one axis in compiled code, as far as plain steps go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.coupled_newton import MAX_ITERATIONS
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Advance, Method, Place, StartingSteps

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.cell import Cell
    from pnpfusion.solvers.kernels.run import Run
    from pnpfusion.solvers.kernels.trail import Trail

#: Cells times tries in one call, so that Ctrl-C and progress bars wait a moment only.
MOST_IN_ONE_CALL = 2_000_000
#: Cells of all samples for which a second thread is worth its start.
ENOUGH_FOR_A_THREAD = 4096
#: Species whose elimination is written out; the code grows with the cube of their number.
MOST_SPECIES = 6


@dataclass(frozen=True, eq=False)
class CompiledRun(StartingSteps):
    """Takes the steps of `march` without a Python step in between; see :class:`PlainSteps`.

    What needs the robust step, or pivots between blocks, is not plain. Samples go one after the
    other, on as many threads as torch has: an answer is the same bit for bit whatever else is in
    the batch. How often a sample is laid out anew depends on its own tries alone, for that reason.
    """

    cell: Cell
    method: Method
    times: NDArray[np.float64]  #: (T,)
    in_lanes: bool  #: whether the kernel of lanes knows the cell
    saved: list[NDArray[np.float64]] = field(default_factory=list)  #: once begun, (T, B, S, N)

    @classmethod
    def of(cls, cell: Electrolyte, arrays: Cell, method: Method, times: Tensor) -> CompiledRun:
        """The run of ``cell``, as ``arrays`` hold it."""
        in_lanes = cell.crowding is None and cell.reactions is None
        in_lanes = in_lanes and cell.valence.shape[1] <= MOST_SPECIES
        return cls(arrays, method, times.to(torch.float64).numpy(), in_lanes)

    def start(self, u0: Tensor, left: int) -> Advance:
        """See :class:`StartingSteps`; without gradient."""
        run, batch = self.begun(u0), len(u0)
        before, tries = np.zeros(batch, np.int64), np.full(batch, left)
        return self._moved(run, before, run.next < len(self.times), tries, rates=1)

    def advance(self, place: Place, going: Tensor, left: Tensor) -> Advance:
        """See :class:`PlainSteps`."""
        run = self.standing(place)
        return self._moved(run, place.next.numpy(), going.numpy(), left.numpy(), rates=0)

    def begun(self, u0: Tensor) -> Run:
        """A run at the first time, which it has saved."""
        from pnpfusion.solvers.kernels.axis.start import first_steps_1d

        u, times = u0.detach().numpy().copy(), self.times
        batch, span = len(u), float(times[-1] - times[0])
        slope, (t, first, lowest, since) = np.empty_like(u), np.empty((4, batch))
        first_steps_1d(self.cell, u, self.method, span, slope, first, lowest)
        t[:], since[:] = times[0], np.inf
        following, failures = np.ones(batch, np.int64), np.zeros(batch, np.int64)
        run = self._run(t, u, slope, following, first, failures, failures > 0, since)
        run.states[0], run.lowest_saved[0] = u, lowest
        return run

    def standing(self, place: Place) -> Run:
        """A run at ``place``."""
        at = (getattr(place, one.name) for one in fields(Place))
        return self._run(*(np.array(values.detach().numpy(), order="C") for values in at))

    def _run(self, *at: NDArray[Any]) -> Run:
        """A run that stands there, as :class:`Place` says it."""
        from pnpfusion.solvers.kernels.run import Run

        u, count = at[1], len(self.times)
        none = np.zeros((3, len(u)), np.int64)
        if not self.saved or self.saved[0].shape[1:] != u.shape:
            self.saved[:] = [np.empty((count, *u.shape))]
        return Run._make((self.times, *at, *none, self.saved[0], np.empty((count, len(u)))))

    def _moved(
        self,
        run: Run,
        before: NDArray[np.int64],
        going: NDArray[np.bool_],
        left: NDArray[np.int64],
        rates: int,
    ) -> Advance:
        """``run``, moved; ``before`` are the times that were next, ``rates`` the calls so far."""
        waits = self._move(run, going, left)
        return arrived(run, before, going, left, waits, rates, in_place=True)

    def _move(self, run: Run, going: NDArray[np.bool_], left: NDArray[Any]) -> NDArray[np.bool_]:
        """Which samples wait, after some steps of as many as there is time for."""
        batch, _, n = run.u.shape
        if self.in_lanes:
            enough = max(1, MOST_IN_ONE_CALL // n)
            return self.move_in_lanes(run, going, np.minimum(left, enough), enough, no_trail())
        from pnpfusion.solvers.kernels.axis.esdirk import esdirk_1d

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
        from pnpfusion.solvers.kernels.lanes.esdirk import esdirk_lanes

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


def arrived(
    run: Run,
    before: NDArray[np.int64],
    going: NDArray[np.bool_],
    left: NDArray[np.int64],
    waits: NDArray[np.bool_],
    rates: int,
    *,
    in_place: bool = False,
) -> Advance:
    """What the steps of ``run`` came to.

    Args:
        run: after them.
        before: the times that were next, ``(B,)``.
        going: which samples they moved, ``(B,)``.
        left: how many steps each could try, ``(B,)``.
        waits: which of them need another step than a plain one next, ``(B,)``.
        rates: calls of the rate.
        in_place: whether what was saved stays where the run has it, see :class:`Advance`.
    """
    (count, batch), steps = run.lowest_saved.shape, run.steps
    under_way = run.next < count
    if under_way.any():
        waits = (waits | going & (steps + run.rejected >= left)) & under_way
    if batch == 1 or (batch and ((before == before[0]) & (run.next == run.next[0])).all()):
        rows = slice(int(before[0]), int(run.next[0]))
        which, sample = np.divmod(np.arange(rows.start * batch, rows.stop * batch), batch)
        values = run.states if in_place else run.states[rows].reshape(-1, *run.u.shape[1:])
        lowest = run.lowest_saved[rows].ravel()
    else:
        saved = np.arange(count)[:, None]
        which, sample = np.nonzero((saved >= before) & (saved < run.next))
        values = run.states if in_place else run.states[which, sample]
        lowest = run.lowest_saved[which, sample]
    new = torch.from_numpy
    return Advance(
        place=Place(*map(new, run[1:9])),
        waits=new(waits),
        steps=new(steps),
        rejected=new(run.rejected),
        iterations=new(run.iterations),
        rate_calls=new(np.full(batch, rates)),
        which=new(which),
        sample=new(sample),
        values=new(values),
        lowest=new(lowest),
        in_place=in_place,
    )


def threads_for(samples: int, cells: int) -> int:
    """How many of torch's threads so many samples are worth."""
    return min(torch.get_num_threads(), samples, samples * cells // ENOUGH_FOR_A_THREAD)


@cache
def no_trail() -> Trail:
    """Where nothing is kept."""
    from pnpfusion.solvers.kernels.trail import make_trail

    return make_trail(0, 0, 0, 1, 0, (0, 0, 0))
