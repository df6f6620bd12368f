"""Implicit runs of cells of one axis in compiled code, with their gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil, prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.compiled.run import (
    ENOUGH_FOR_A_THREAD,
    MOST_IN_ONE_CALL,
    CompiledRun,
    arrived,
    threads_for,
)
from pnpfusion.solvers.coupled_newton import MAX_ITERATIONS
from pnpfusion.solvers.implicit_solve import without_derivative
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Advance, FollowedSteps, Place, StartingSteps

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.esdirk import Run
    from pnpfusion.solvers.kernels.by_cell import Given
    from pnpfusion.solvers.kernels.trail import Trail

#: Bytes that the stages of the first steps of a run may take.
ROOM_FOR_STAGES = 16_000_000
#: How many sums over samples make up the derivatives by what they share.
PARTS = 8

Parameter = tuple[Tensor, str, int]  #: a tensor, the array of `Cell` it is part of, and its row


@dataclass(frozen=True, eq=False)
class Origin:
    """What the derivatives of a run are taken by, beside its states.

    The tensors are themselves parts of the cell; or ``leaves`` stand for them in a graph that leads
    to the parts, and serves many runs.
    """

    tensors: tuple[Tensor, ...]
    parts: Sequence[Parameter]
    leaves: tuple[Tensor, ...] | None = None

    @classmethod
    def of(cls, cell: Electrolyte) -> Origin:
        """Those parts of ``cell`` that have a gradient."""
        parts = [entry for entry in parameters(cell) if entry[0].requires_grad]
        return cls(tuple(tensor for tensor, _, _ in parts), parts)

    def derivatives(self, by: Given) -> Sequence[Tensor | None]:
        """Derivatives by the tensors, of those by the arrays; None where nothing depends on one."""
        by_parts = _by_tensors(by, self.parts)
        if self.leaves is None:
            return by_parts
        if not by_parts:
            return [None] * len(self.leaves)
        ends = [tensor for tensor, _, _ in self.parts]
        return torch.autograd.grad(
            ends, self.leaves, by_parts, retain_graph=True, allow_unused=True
        )


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
        call = _Call(self.plain, self.origin, slope is None)
        room = self._most(run.u.shape, left)

        def take() -> Advance:
            return call.take(run, before, going, left, room)

        ahead: list[Advance] = []
        values, u, slope = _Steps.apply(call, take, ahead, u, slope, *self.origin.tensors)  # type: ignore[no-untyped-call]
        return replace(ahead[0], values=values, place=replace(ahead[0].place, u=u, slope=slope))

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


def kept_state(plain: CompiledRun, species: int, cells: int) -> tuple[int, ...]:
    """The shape of a state that is kept."""
    if not plain.in_lanes:
        return species, cells
    from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH

    return (
        (cells + 1 + WIDTH) // WIDTH + 2,
        1 + species,
        WIDTH,
    )  # see `lanes.line`


def parameters(cell: Electrolyte) -> list[Parameter]:
    """What derivatives are taken by, and where `compiled_cell` puts it."""
    from pnpfusion.solvers.kernels.axis import newton as at

    (ions,), (electric,) = cell.lines, cell.dielectric.lines
    species = cell.valence.shape[1]
    found = [
        (cell.valence, "numbers", at.VALENCE),
        (cell.fixed_charge, "cells", at.FIXED_CHARGE),
        (electric.electrode, "ends", at.ELECTRODE),
        (electric.surface_charge, "ends", at.SURFACE_CHARGE),
        (electric.pull, "ends", at.PULL),
        (electric.rise, "ends", at.WALL_RISE),
        (ions.reservoir, "ends", at.RESERVOIR),
        (electric.conductance, "electric", at.CONDUCTANCE),
        (ions.transmissivity, "faces", at.PASSING),
        (ions.imposed, "faces", at.PASSING + species),
    ]
    if cell.crowding is not None:
        found.append((cell.crowding, "numbers", at.CROWDING))
    if cell.reactions is not None:
        constants = (*cell.reactions.forward, *cell.reactions.backward)
        found += [(k, "cells", at.FORWARD + row) for row, k in enumerate(constants)]
    return found


class _Call:
    """Some steps of every sample, and what is kept of them."""

    trail: Trail
    passed: tuple[Tensor, Tensor]  #: which times, and of which samples, were saved

    def __init__(self, plain: CompiledRun, origin: Origin, begins: bool) -> None:
        self.plain, self.origin = plain, origin
        self.begins = begins  #: whether the run begins with them

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
        from pnpfusion.solvers.kernels.axis.esdirk_gradient import esdirk_1d_followed

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
            from pnpfusion.solvers.kernels.axis.esdirk_gradient import rate_1d_gradient

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


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        call: _Call,
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
        by = call.back(u.detach().contiguous().numpy(), by_values, by_u, by_slope)
        of_slope = None if slope is None else torch.from_numpy(by_slope)
        found = [torch.from_numpy(by_u), of_slope, *call.origin.derivatives(by)]
        if torch.is_grad_enabled():
            behind = [u, *call.origin.tensors]
            behind += [one for one in (slope, *grads) if one is not None]
            found = [one if one is None else without_derivative(one, *behind) for one in found]
        return None, None, None, *found


def _by_tensors(by: Given, parts: Sequence[Parameter]) -> list[Tensor]:
    """The derivatives by tensors that are parts of the cell."""
    found = []
    for tensor, name, row in parts:
        part = torch.from_numpy(getattr(by, name))
        rows = tensor.shape[1] if tensor.ndim == 3 else 1
        part = part[:, row : row + rows]
        if name == "numbers":
            part = part[..., None]
        found.append((part if tensor.ndim == 3 else part[:, 0]).sum_to_size(tensor.shape))
    return found
