"""Some compiled steps of every sample, and the way back along them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.arrays import as_array
from pnpfusion.solvers.compiled.origin import Origin
from pnpfusion.solvers.compiled.run import ENOUGH_FOR_A_THREAD, CompiledRun, arrived, threads_for
from pnpfusion.solvers.coupled_newton import MAX_ITERATIONS
from pnpfusion.solvers.implicit_solve import without_derivative
from pnpfusion.solvers.plain_steps import Advance

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.by_cell import Given
    from pnpfusion.solvers.kernels.run import Run
    from pnpfusion.solvers.kernels.trail import Trail

#: How many sums over samples make up the derivatives by what they share.
PARTS = 8


class FollowedCall:
    """Some steps of every sample, and what is kept of them."""

    trail: Trail
    passed: tuple[Tensor, Tensor]  #: which times, and of which samples, were saved

    def __init__(self, plain: CompiledRun, origin: Origin, begins: bool) -> None:
        self.plain, self.origin = plain, origin
        self.begins = begins  #: whether the run begins with them

    def attached(self, take: Callable[[], Advance], u: Tensor, slope: Tensor | None) -> Advance:
        """What ``take``, a call of :meth:`take`, comes to, its states with their gradient."""
        ahead: list[Advance] = []
        values, u, slope = _Steps.apply(self, take, ahead, u, slope, *self.origin.tensors)  # type: ignore[no-untyped-call]
        return replace(ahead[0], values=values, place=replace(ahead[0].place, u=u, slope=slope))

    def take(
        self,
        run: Run,
        before: NDArray[np.int64],
        going: NDArray[np.bool_],
        left: NDArray[np.int64],
        room: tuple[int, int, int],
    ) -> Advance:
        """Take them, as in :func:`arrived`; ``room`` as `CompiledImplicit._most` says it."""
        from pnpfusion.solvers.kernels.trail import make_trail

        (batch, *state), stages = run.u.shape, len(self.plain.method.rows)
        self.trail = make_trail(batch, *room, stages, kept_state(self.plain, *state))
        waits = self._move(run, going, np.minimum(left, room[0]))
        ahead = arrived(run, before, going, left, waits, int(self.begins))
        self.passed = ahead.which, ahead.sample
        return ahead

    def _move(
        self, run: Run, going: NDArray[np.bool_], most: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Take the steps; which samples wait."""
        from pnpfusion.solvers.kernels.axis.esdirk_followed import esdirk_1d_followed

        plain = self.plain
        if plain.in_lanes:
            return plain.move_in_lanes(run, going, most, most.sum() + 1, self.trail)
        waits = np.zeros(len(going), np.bool_)
        if len(going):
            esdirk_1d_followed(
                plain.cell, plain.method, MAX_ITERATIONS, run, going, most, waits, self.trail
            )
        return waits

    def back(
        self,
        u: NDArray[Any],
        by_values: NDArray[Any],
        by_u: NDArray[Any],
        by_slope: NDArray[Any],
    ) -> Given:
        """Derivatives by the cell; ``by_u`` and ``by_slope`` become those at the beginning ``u``.

        Where a run begins, its slopes count by what they follow from.
        """
        by = self._undone(by_values, by_u, by_slope)
        if self.begins:
            from pnpfusion.solvers.kernels.axis.rate_gradient import rate_1d_gradient

            by_rate = np.empty_like(by_u)
            rate_1d_gradient(self.plain.cell, u, by_slope, by_rate, by)
            by_u += by_rate
            by_u += by_values[: len(by_u)]  # what was saved at the first time
        return by

    def _undone(self, by_values: NDArray[Any], by_u: NDArray[Any], by_slope: NDArray[Any]) -> Given:
        """Derivatives by the cell through the steps; the others are changed as in :meth:`back`."""
        from pnpfusion.solvers.kernels.axis.esdirk_gradient import esdirk_1d_gradient
        from pnpfusion.solvers.kernels.by_cell import Given

        plain = self.plain
        by = Given(*(np.zeros_like(getattr(plain.cell, name)) for name in Given._fields))
        where = np.full((len(plain.times), len(by_u)), -1)
        which, sample = self.passed
        where[which.numpy(), sample.numpy()] = np.arange(len(by_values))
        way = plain.cell, plain.method, MAX_ITERATIONS, plain.times, self.trail
        counts = where, by_values, by_u, by_slope
        if not plain.in_lanes:
            if len(by_u):
                esdirk_1d_gradient(*way, *counts, by)
            return by
        from pnpfusion.solvers.kernels.lanes.esdirk_gradient import esdirk_lanes_gradient

        batch, species, n = by_u.shape
        parts = min(PARTS, batch) if batch * n >= ENOUGH_FOR_A_THREAD else 1

        def go_back(first: int) -> Given:
            # What samples share is summed for each part, so that threads do not show in the bits.
            mine = Given._make(np.zeros_like(one) if len(one) == 1 else one for one in by)
            those = np.arange(batch) % parts == first
            esdirk_lanes_gradient((0,) * species, *way, those, *counts, mine)
            return mine

        threads = threads_for(batch, n)
        if threads < 2:
            found = [*map(go_back, range(parts))]
        else:
            with ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(go_back, range(parts)))
        each = zip(by, *found, strict=True)
        return Given._make(sum(ones) if len(one) == 1 else one for one, *ones in each)


def kept_state(plain: CompiledRun, species: int, cells: int) -> tuple[int, ...]:
    """The shape of a state that is kept."""
    if not plain.in_lanes:
        return species, cells
    from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH

    return (cells + 1 + WIDTH) // WIDTH + 2, 1 + species, WIDTH  # see `lanes.line`


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        call: FollowedCall,
        take: Callable[[], Advance],
        ahead: list[Advance],
        u: Tensor,
        slope: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.call = call
        ctx.set_materialize_grads(False)
        parts = () if call.origin.leaves is not None else tensors  # leaves cannot change
        ctx.save_for_backward(u, slope, *parts)  # an error if one is changed in place
        found = take()
        ahead.append(found)
        ctx.saved = found.values.shape
        return found.values, found.place.u, found.place.slope

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        call, (u, slope, *_) = ctx.call, ctx.saved_tensors
        shapes = ctx.saved, u.shape, u.shape
        by_values, by_u, by_slope = (
            np.zeros(shape) if g is None else np.array(g.detach().numpy(), order="C")
            for g, shape in zip(grads, shapes, strict=True)
        )
        by = call.back(as_array(u), by_values, by_u, by_slope)
        of_slope = None if slope is None else torch.from_numpy(by_slope)
        found = [torch.from_numpy(by_u), of_slope, *call.origin.derivatives(by)]
        if torch.is_grad_enabled():
            behind = [u, *call.origin.tensors]
            behind += [one for one in (slope, *grads) if one is not None]
            found = [one if one is None else without_derivative(one, *behind) for one in found]
        return None, None, None, *found
