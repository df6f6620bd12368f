"""The gradient of a run that keeps few of its states and takes the steps between them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import comb, isqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.steppers.base import Law
from pnpfusion.solvers.steppers.control import Plan, Tolerance
from pnpfusion.solvers.steppers.outside import Outside
from pnpfusion.solvers.steppers.record import Piece, Record, Step

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.one_step import OneStep

State = tuple[Tensor, Tensor]  #: u and its slope, (B, *state) each
#: Of states to take steps again from, unless twice the root of their number is more.
BYTES_KEPT = 2**25
#: Takes the accepted steps of a sweep once more, for their gradient; see :meth:`Method.again`.
Again = Callable[["Sweep", State, tuple[Tensor, ...]], State]


@dataclass(frozen=True, eq=False)
class Sweep:
    """The accepted steps of one sweep, as they were planned."""

    t: Tensor  #: (B,)
    plan: Plan
    accept: Tensor  #: bool (B,)
    staged: bool  #: whether the steps began from stage values of a first try
    pieces: int  #: how many pieces were saved before


@dataclass(frozen=True, eq=False)
class Method:
    """How steps are taken and what they save."""

    stepper: OneStep
    law: Law
    tolerance: Tolerance
    record: Record

    @property
    def alike(self) -> bool:
        """Whether one recorded step tells what all others depend on."""
        return self.stepper.repeats and getattr(self.law, "driven", True) is False

    def again(self, sweep: Sweep, before: State, stages: tuple[Tensor, ...]) -> State:
        """The state after the accepted steps, with their gradient; ``stages`` of the first try."""
        u, slope = before
        taken = replace(sweep.plan, dt=torch.where(sweep.accept, sweep.plan.dt, 0))
        accept = per_state(sweep.accept, u)
        # Steps of no size: a stage is the state, and what the law knows of them is a change of 0.
        rest = u.detach() if self.stepper.iterates else u.new_zeros(())
        stages = tuple(torch.where(accept, stage, rest) for stage in stages)
        step = self.stepper.take(self.law, sweep.t, taken, u, slope, self.tolerance, stages)
        return torch.where(accept, step.u, u), torch.where(accept, step.slope, slope)

    def stages(self, sweep: Sweep, before: State) -> tuple[Tensor, ...]:
        """The stage values that the first try of these steps ended with, found once more."""
        if not (sweep.staged and self.stepper.iterates):
            return ()
        with torch.no_grad():
            u, slope = (values.detach() for values in before)
            first = self.stepper.take(self.law, sweep.t, sweep.plan, u, slope, self.tolerance)
        return first.stages


class Tape:
    """All accepted steps of a run, and at most ``checkpoints`` of the states they began from.

    Where that is None, twice the root of the number of steps, or as many as :data:`BYTES_KEPT`
    hold. While the run goes on, every 2^k-th state is kept, with k growing as needed. The backward
    pass puts the room that is free where binomial checkpointing does [GW00]. ``before`` pieces were
    saved already.
    """

    def __init__(self, method: Method, checkpoints: int | None, before: int) -> None:
        self.method, self.checkpoints, self.before = method, checkpoints, before
        self.outside = Outside()
        self.sweeps: list[Sweep] = []
        self.kept: list[tuple[int, State]] = []
        self.found: dict[int, tuple[Tensor, ...]] = {}  #: what steps from there need not find again
        self.stride = 1

    def __call__(self, sweep: Sweep, before: State, stages: tuple[Tensor, ...]) -> State:
        """The state after the accepted steps, the same as with a recorded gradient."""
        self._keep(len(self.sweeps), before)
        own = _leaves(before)

        def take() -> State:
            return self.method.again(sweep, own, stages)

        u, slope = self.outside.step(own, take)
        self.sweeps.append(sweep)
        return u.detach(), slope.detach()

    def writes_down(self, sweep: Sweep, before: State, stages: tuple[Tensor, ...]) -> bool:
        """Add steps as they were tried, if it is known what they depend on; else do nothing."""
        if not self.method.alike or not self.sweeps:
            return False
        index = len(self.sweeps)
        self._keep(index, before)
        if self.kept[-1][0] == index:
            self.found[index] = stages
        self.sweeps.append(sweep)
        return True

    def room(self, steps: int) -> int:
        """How many states may be held for so many steps."""
        if self.checkpoints is not None:
            return self.checkpoints
        states: tuple[Tensor, ...] = self.kept[0][1] if self.kept else ()
        stages = next(iter(self.found.values()), ())
        held: int = sum(values.nbytes for values in (*states, *stages))
        return max(2 * isqrt(steps) + 2, BYTES_KEPT // max(1, held))

    def _keep(self, index: int, state: State) -> None:
        if index % self.stride:
            return
        most = self.room(index + 1)
        if self.checkpoints is not None:
            # Half the room is left to the backward pass, whose first stretch has no other.
            most = max(1, most // 2)
        if len(self.kept) >= most:
            self.stride *= 2
            self.kept = [entry for entry in self.kept if entry[0] % self.stride == 0]
            self.found = {at: of for at, of in self.found.items() if at % self.stride == 0}
        if index % self.stride == 0 and len(self.kept) < most:
            self.kept.append((index, (state[0].detach(), state[1].detach())))

    def attach(self, pieces: list[Piece], start: State) -> list[Piece]:
        """``pieces``, saved since, with their gradient in ``start`` and in all that is outside."""
        if not pieces:
            return []
        values = torch.cat([piece.values for piece in pieces]).detach()
        lengths = [len(piece.values) for piece in pieces]
        replayed = _Replayed(self, lengths)
        attached: Tensor = _Attach.apply(replayed, values, *start, *self.outside.tensors)  # type: ignore[no-untyped-call]
        parts = zip(pieces, attached.split(lengths), strict=True)
        return [replace(piece, values=values) for piece, values in parts]


class _Replayed:
    """The steps of a tape, backwards."""

    def __init__(self, tape: Tape, lengths: list[int]) -> None:
        self.method, self.outside, self.kept = tape.method, tape.outside, tape.kept
        self.found = tape.found
        self.checkpoints, before = tape.checkpoints, tape.before
        self.room = tape.room(len(tape.sweeps)) + (tape.stride if tape.checkpoints is None else 0)
        begins = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
        ends = [*(sweep.pieces for sweep in tape.sweeps[1:]), len(lengths) + before]
        #: Each sweep up to the last one that saved anything, with its rows among all values.
        self.steps: list[tuple[Sweep, slice | None]] = []
        for sweep, after in zip(tape.sweeps, ends, strict=True):
            row = sweep.pieces - before
            if row >= len(lengths):
                break
            at = slice(begins[row], begins[row + 1]) if after > sweep.pieces else None
            self.steps.append((sweep, at))

    def gradients(self, grad: Tensor) -> list[Tensor | None]:
        """Those of the state and slope at the start and of the tensors outside."""
        ends = tuple(torch.zeros_like(values) for values in self.kept[0][1])
        wanted: list[Tensor | None] = [*ends, *(None for _ in self.outside.leaves)]
        stack, end = self.kept, len(self.steps)  # the first state stays for another time
        while end:
            while stack[-1][0] >= end:
                stack.pop()
            index, state = stack[-1]
            while index < end - 1:
                ahead = end - 1 - index
                if len(stack) < self.room:
                    ahead = steps_ahead(end - index, self.room - len(stack) + 1)
                for sweep, _ in self.steps[index : index + ahead]:
                    state = self._forward(sweep, state)
                index += ahead
                if len(stack) < self.room:
                    stack.append((index, state))
            wanted = self._backward(index, state, grad, wanted)
            end -= 1
        return wanted

    def recorded(self, start: State, outside: Sequence[Tensor]) -> Tensor:
        """All that was saved, with the graph of every step, from other tensors in their places."""
        found, state = [], start
        with self.outside.replaced(outside):
            for sweep, at in self.steps:
                after = self.method.again(sweep, state, self.method.stages(sweep, state))
                step = Step(sweep.t, sweep.plan, *state, *after)
                saved = None if at is None else self.method.record.passed(sweep.accept, step)
                found += [] if saved is None else [saved.values]
                state = after
        return torch.cat(found)

    def _forward(self, sweep: Sweep, before: State) -> State:
        if self.method.alike:
            with torch.no_grad():
                return self.method.again(sweep, before, ())
        own, stages = _leaves(before), self.method.stages(sweep, before)
        with torch.enable_grad(), self.outside.replaced():
            u, slope = self.method.again(sweep, own, stages)
        return u.detach(), slope.detach()

    def _backward(
        self, index: int, before: State, grad: Tensor, after: list[Tensor | None]
    ) -> list[Tensor | None]:
        """The gradients before a sweep from those ``after`` it and those of what it saved."""
        sweep, at = self.steps[index]
        own, stages = _leaves(before), self.found.get(index)
        stages = self.method.stages(sweep, before) if stages is None else stages
        with torch.enable_grad(), self.outside.replaced():
            results = [*self.method.again(sweep, own, stages)]
            if at is not None:
                saved = self.method.record.passed(
                    sweep.accept, Step(sweep.t, sweep.plan, *own, results[0], results[1])
                )
                results += [] if saved is None else [saved.values]
        weights = [*after[:2], *([] if at is None else [grad[at]])]
        pairs = [(r, w) for r, w in zip(results, weights, strict=True) if r.requires_grad]
        found = torch.autograd.grad(
            [result for result, _ in pairs],
            [*own, *self.outside.leaves],
            [weight for _, weight in pairs],
            allow_unused=True,
        )
        ends = [
            torch.zeros_like(o) if f is None else f for o, f in zip(own, found[:2], strict=True)
        ]
        outside = [
            old if new is None else new if old is None else old + new
            for old, new in zip(after[2:], found[2:], strict=True)
        ]
        return [*ends, *outside]


class _Attach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, replayed: _Replayed, values: Tensor, *outside: Tensor) -> Tensor:
        ctx.replayed = replayed
        ctx.save_for_backward(*outside)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and ctx.replayed.checkpoints is None:  # create_graph=True
            # Views, since one of these may have come from another, and only its own share counts.
            own = [one.view_as(one) for one in ctx.saved_tensors]
            values = ctx.replayed.recorded((own[0], own[1]), own[2:])
            given = [one for one in own if one.requires_grad]
            found = torch.autograd.grad(values, given, grad, create_graph=True, allow_unused=True)
            left = iter(found)
            return None, None, *(next(left) if one.requires_grad else None for one in own)
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the gradient of a run with `checkpoints` cannot be differentiated again; leave "
                f"`checkpoints` out {Faq.SECOND_DERIVATIVES}."
            )
        _ = ctx.saved_tensors  # an error if one was changed in place since
        return None, None, *ctx.replayed.gradients(grad)


def _leaves(state: State) -> State:
    u, slope = (values.detach().requires_grad_() for values in state)
    return u, slope


def steps_ahead(steps: int, room: int) -> int:
    """How far to go before the next state is kept, to reverse ``steps`` with ``room`` states."""
    repeats = 1
    while comb(room + repeats, room) < steps:
        repeats += 1
    return min(steps - 1, comb(room + repeats - 1, room))
