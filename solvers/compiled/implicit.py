"""Implicit runs of cells of one axis in compiled code, with their gradient."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
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
    threads_for,
)
from pnpfusion.solvers.coupled_newton import MAX_ITERATIONS
from pnpfusion.solvers.implicit_solve import without_derivative
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Advance, FollowedSteps, Place, StartingSteps

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.esdirk import Run
    from pnpfusion.solvers.kernels.by_cell import Given

#: Bytes that the stages of the first steps of a run may take.
ROOM_FOR_STAGES = 16_000_000
#: How many sums over samples make up the derivatives by what they share.
PARTS = 8

Parameter = tuple[Tensor, str, int]  #: a tensor, the array of `Cell` it is part of, and its row


class CompiledImplicit(StartingSteps, FollowedSteps):
    """Takes the steps of :class:`CompiledRun`, and goes back along them for the gradient.

    The steps are the same bit for bit with and without gradient. All stages of the first steps are
    kept for it. Of those after them, every L-th state is, and the steps between them are taken
    again when the gradient is computed, one sample after the other. L and the number of steps in
    one call grow such that both the states kept and the stages of L steps grow with the square root
    of the number of steps.
    """

    def __init__(self, plain: CompiledRun, known: list[Parameter]) -> None:
        self.plain, self.parameters = plain, known  #: see :func:`parameters`
        self.calls = self.tried = 0

    def follows(self, u: Tensor) -> bool:
        """See :class:`FollowedSteps`."""
        return u.requires_grad or any(tensor.requires_grad for tensor, _, _ in self.parameters)

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """See :class:`FollowedSteps`; carries the gradient, since steps depend on it."""
        given = [entry for entry in self.parameters if entry[0].requires_grad]
        slope: Tensor = _Rate.apply(self.plain, given, u, *(tensor for tensor, _, _ in given))  # type: ignore[no-untyped-call]
        return slope

    def start(self, u0: Tensor, left: int) -> Advance:
        """See :class:`StartingSteps`."""
        return self.plain.start(u0, left)

    def advance(self, place: Place, going: Tensor, left: Tensor) -> Advance:
        """See :class:`PlainSteps`."""
        followed = place.slope.requires_grad or self.follows(place.u)
        if not (followed and torch.is_grad_enabled()):
            return self.plain.advance(place, going, left)
        given = [entry for entry in self.parameters if entry[0].requires_grad]
        most = self._most(place, left)
        call = _Call(self.plain, given, place, going, left, *most)
        tensors = (tensor for tensor, _, _ in given)
        values, u, slope = _Steps.apply(call, place.u, place.slope, *tensors)  # type: ignore[no-untyped-call]
        return call.advance(values, u, slope)

    def _most(self, place: Place, left: Tensor) -> tuple[int, int, int]:
        """How many steps to try in the next call, to keep whole, and how far apart the others."""
        batch, species, n = place.u.shape
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

    def __init__(
        self,
        plain: CompiledRun,
        given: Sequence[Parameter],
        place: Place,
        going: Tensor,
        left: Tensor,
        chunk: int,
        whole: int,
        apart: int,
    ) -> None:
        self.plain, self.given, self.place = plain, given, place
        self.going, self.left, self.chunk = going, left, chunk
        self.whole, self.apart = whole, apart

    def take(self) -> tuple[Tensor, Tensor, Tensor]:
        """What was saved, ``(P, S, N)``, and the states and slopes at the end."""
        from pnpfusion.solvers.kernels.axis.esdirk import Run
        from pnpfusion.solvers.kernels.trail import make_trail

        place, times, chunk = self.place, self.plain.times, self.chunk
        batch, *state = place.u.shape
        names = [field.name for field in fields(Place)]
        self.run: Run = Run._make(
            (
                times,
                *(np.array(getattr(place, name).detach().numpy(), order="C") for name in names),
                *(np.zeros(batch, np.int64) for _ in range(3)),
                np.empty((len(times), batch, *state)),
                np.empty((len(times), batch)),
            )
        )
        stages, kept = len(self.plain.method.rows), kept_state(self.plain, *state)
        self.trail = make_trail(batch, chunk, self.whole, self.apart, stages, kept)
        self.waits = self._move(self.run, self.left.clamp_max(chunk).numpy())
        rows = np.arange(len(times))[:, None]
        self.passed = np.nonzero((rows >= place.next.numpy()) & (rows < self.run.next))
        values = self.run.states[self.passed]
        self.run = self.run._replace(states=values[:0])  # not kept for the gradient
        return tuple(map(torch.from_numpy, (values, self.run.u, self.run.slope)))  # type: ignore[return-value]

    def _move(self, run: Run, most: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Take the steps; which samples wait."""
        from pnpfusion.solvers.kernels.axis.esdirk_gradient import esdirk_1d_followed

        plain, going = self.plain, self.going.numpy()
        if plain.in_lanes:
            return plain.move_in_lanes(run, going, most, most.sum() + 1, self.trail)
        waits = np.zeros(len(going), np.bool_)
        if len(going):
            esdirk_1d_followed(
                plain.cell, plain.method, MAX_ITERATIONS, run, going, most, waits, self.trail
            )
        return waits

    def advance(self, values: Tensor, u: Tensor, slope: Tensor) -> Advance:
        """What the steps came to."""
        run, new = self.run, torch.from_numpy
        waits = self.waits | self.going.numpy() & (run.steps + run.rejected >= self.left.numpy())
        standing = {f.name: new(getattr(run, f.name)) for f in fields(Place)}
        which, sample = map(new, self.passed)
        return Advance(
            place=Place(**{**standing, "u": u, "slope": slope}),
            waits=new(waits & (run.next < len(run.times))),
            steps=new(run.steps),
            rejected=new(run.rejected),
            iterations=new(run.iterations),
            rate_calls=torch.zeros_like(self.place.next),
            which=which,
            sample=sample,
            values=values,
            lowest=new(run.lowest_saved[self.passed]),
        )

    def back(self, by_values: NDArray[Any], by_u: NDArray[Any], by_slope: NDArray[Any]) -> Given:
        """Derivatives by the cell; ``by_u`` and ``by_slope`` become those at the beginning."""
        from pnpfusion.solvers.kernels.axis.esdirk_gradient import esdirk_1d_gradient
        from pnpfusion.solvers.kernels.by_cell import Given

        plain = self.plain
        by = Given(*(np.zeros_like(getattr(plain.cell, name)) for name in Given._fields))
        where = np.full((len(self.run.times), len(by_u)), -1)
        where[self.passed] = np.arange(len(by_values))
        way = plain.cell, plain.method, MAX_ITERATIONS, self.run.times, self.trail
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
        ctx: Any, call: _Call, u: Tensor, slope: Tensor, *given: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.call = call
        ctx.save_for_backward(u, slope, *given)  # an error if one is changed in place
        return call.take()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        call, (u, slope, *given) = ctx.call, ctx.saved_tensors
        by_values, by_u, by_slope = (np.array(g.detach().numpy(), order="C") for g in grads)
        by = call.back(by_values, by_u, by_slope)
        found = [*map(torch.from_numpy, (by_u, by_slope)), *_by_tensors(by, call.given)]
        behind = (u, slope, *given, *grads)
        return None, *(without_derivative(one, *behind) for one in found)


class _Rate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plain: CompiledRun, parts: Sequence[Parameter], u: Tensor, *given: Tensor
    ) -> Tensor:
        from pnpfusion.solvers.kernels.axis.esdirk_gradient import rate_1d

        ctx.plain, ctx.parts = plain, parts
        ctx.save_for_backward(u, *given)
        slopes = torch.empty_like(u, memory_format=torch.contiguous_format)
        rate_1d(plain.cell, u.detach().contiguous().numpy(), slopes.numpy())
        return slopes

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from pnpfusion.solvers.kernels.axis.esdirk_gradient import rate_1d_gradient
        from pnpfusion.solvers.kernels.by_cell import Given

        (u, *given), cell = ctx.saved_tensors, ctx.plain.cell
        by = Given(*(np.zeros_like(getattr(cell, name)) for name in Given._fields))
        state, by_slopes = (v.detach().contiguous().numpy() for v in (u, grad))
        by_u = np.empty_like(state)
        rate_1d_gradient(cell, state, by_slopes, by_u, by)
        found = [torch.from_numpy(by_u), *_by_tensors(by, ctx.parts)]
        return None, None, *(without_derivative(one, u, *given, grad) for one in found)


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
