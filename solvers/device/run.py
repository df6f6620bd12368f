"""Adaptive runs of cells of one axis on a graphics card, as far as plain steps go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pnpfusion.solvers.coupled_newton import MAX_ITERATIONS
from pnpfusion.solvers.device.cell import DeviceCell, is_known
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Advance, Method, Place, PlainSteps

#: Steps that a sample tries in one call, so that Ctrl-C and progress bars wait a moment only.
MOST_IN_ONE_CALL = 1000


@dataclass(frozen=True, eq=False)
class DeviceRun(PlainSteps):
    """Takes the steps of `march` inside one kernel; see :class:`PlainSteps`.

    The host hears of a run once in :data:`MOST_IN_ONE_CALL` steps. What needs the robust step is
    not plain. A sample's answer is the same bit for bit whatever else is in the batch.
    """

    cell: DeviceCell
    method: Method
    times: Tensor  #: (T,), float64

    @classmethod
    def of(cls, cell: Electrolyte, method: Method, times: Tensor) -> DeviceRun | None:
        """The run of ``cell``, or None where only `march` can follow it."""
        if not is_known(cell, cell.valence):
            return None
        return cls(DeviceCell.of(cell), method, times.to(torch.float64))

    def advance(self, place: Place, going: Tensor, left: Tensor) -> Advance:
        """See :class:`PlainSteps`."""
        from pnpfusion.solvers.kernels.gpu.decorators import LANES, programs
        from pnpfusion.solvers.kernels.gpu.esdirk import esdirk

        u, times = place.u, self.times.to(place.u.device)
        batch, species, n = u.shape
        stages, m, points = len(self.method.rows), 1 + species, len(times)

        def room(*shape: int) -> Tensor:
            return u.new_empty(*shape, batch)

        def own(values: Tensor) -> Tensor:
            return values.detach().movedim(0, -1).clone(memory_format=torch.contiguous_format)

        t, state, slope, dt, lowest = map(
            own, (place.t, u, place.slope, place.dt, place.lowest.to(u.dtype))
        )
        whole = (place.next, place.failures, place.land, going, left.clamp_max(MOST_IN_ONE_CALL))
        following, failures, land, moves, tries = (one.to(torch.int32) for one in map(own, whole))
        counts = torch.zeros(4, batch, dtype=torch.int32, device=u.device)
        states, lowest_saved = room(points, species, n), room(points)
        esdirk[programs(batch)](
            self.cell.given,
            self._numbers(u.device),
            times,
            *(t, state, slope, following, dt, failures, land, lowest),
            *counts[:3],
            *(states, lowest_saved, moves, tries, counts[3]),
            (
                room(stages + 1, species, n),
                *(room(species, n) for _ in range(3)),
                room(n),
                room(n, m, m),
                room(n, m),
            ),
            *(self.method.most_failures, MAX_ITERATIONS, points, n, batch, species, stages),
            *(self.cell.floating, self.cell.scheme, LANES),
            num_warps=1,
        )
        steps, rejected, iterations, waits = counts.long()
        next_time = following.long()
        rows = torch.arange(points, device=u.device)[:, None]
        which, sample = ((rows >= place.next) & (rows < next_time)).nonzero(as_tuple=True)
        spent = going & (steps + rejected >= left)
        return Advance(
            place=Place(
                t=t,
                u=state.movedim(-1, 0).contiguous(),
                slope=slope.movedim(-1, 0).contiguous(),
                next=next_time,
                dt=dt,
                failures=failures.long(),
                land=land > 0,
                lowest=lowest,
            ),
            waits=((waits > 0) | spent) & (next_time < points),
            steps=steps,
            rejected=rejected,
            iterations=iterations,
            rate_calls=torch.zeros_like(steps),
            which=which,
            sample=sample,
            values=states.movedim(-1, 1)[which, sample],
            lowest=lowest_saved[which, sample],
        )

    def _numbers(self, device: torch.device) -> Tensor:
        """The method as `kernels/gpu/esdirk.py` reads it."""
        method = self.method
        numbers = [
            method.atol,
            method.rtol,
            method.newton_share,
            method.safety,
            method.largest_growth,
            method.smallest_shrink,
            method.shrink_after_failure,
            method.error_order,
            torch.finfo(torch.float64).eps,
        ]
        joint = np.concatenate([numbers, method.rows.ravel(), method.error])
        return torch.from_numpy(joint).to(device)
