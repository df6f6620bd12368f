"""The gradient of a run that keeps few of its states and takes the steps between them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import comb
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.steppers.base import Law
from pnpfusion.solvers.steppers.control import Plan, Tolerance
from pnpfusion.solvers.steppers.outside import Outside
from pnpfusion.solvers.steppers.record import Piece, Record, Step

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.one_step import OneStep

State = tuple[Tensor, Tensor]  #: u and its slope, (B, *state) each
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

    def again(self, sweep: Sweep, before: State, stages: tuple[Tensor, ...]) -> State:
        """The state after the accepted steps, with their gradient; ``stages`` of the first try."""
        u, slope = before
        taken = replace(sweep.plan, dt=torch.where(sweep.accept, sweep.plan.dt, 0))
        accept = per_state(sweep.accept, u)
        stages = tuple(torch.where(accept, stage, u.detach()) for stage in stages)
        step = self.stepper.take(self.law, sweep.t, taken, u, slope, self.tolerance, stages)
        return torch.where(accept, step.u, u), torch.where(accept, step.slope, slope)

    def stages(self, sweep: Sweep, before: State) -> tuple[Tensor, ...]:
        """The stage values that the first try of these steps ended with, found once more."""
        if not sweep.staged:
            return ()
        with torch.no_grad():
            u, slope = (values.detach() for values in before)
            first = self.stepper.take(self.law, sweep.t, sweep.plan, u, slope, self.tolerance)
        return first.stages


class Tape:
    """All accepted steps of a run, and at most ``checkpoints`` of the states they began from.

    While the run goes on, every 2^k-th state is kept, with k growing as needed. The backward pass
    puts the room that is free where binomial checkpointing does [GW00].
    """

    def __init__(self, method: Method, checkpoints: int) -> None:
        self.method, self.checkpoints = method, checkpoints
        self.outside = Outside()
        self.sweeps: list[Sweep] = []
        self.kept: list[tuple[int, State]] = []
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

    def _keep(self, index: int, state: State) -> None:
        if index % self.stride:
            return
        # Half the room is left to the backward pass, whose first stretch has no other.
        if len(self.kept) >= max(1, self.checkpoints // 2):
            self.stride *= 2
            self.kept = [entry for entry in self.kept if entry[0] % self.stride == 0]
        if index % self.stride == 0 and len(self.kept) < max(1, self.checkpoints // 2):
            self.kept.append((index, (state[0].detach(), state[1].detach())))

    def attach(self, pieces: list[Piece], start: State) -> list[Piece]:
        """``pieces`` whose values have their gradient in ``start`` and in all that is outside."""
        first, pieces = pieces[0], pieces[1:]  # the first is the state at the start
        if not pieces:
            return [first]
        values = torch.cat([piece.values for piece in pieces]).detach()
        lengths = [len(piece.values) for piece in pieces]
        replayed = _Replayed(self, lengths)
        attached: Tensor = _Attach.apply(replayed, values, *start, *self.outside.tensors)  # type: ignore[no-untyped-call]
        parts = zip(pieces, attached.split(lengths), strict=True)
        return [first, *(replace(piece, values=values) for piece, values in parts)]


class _Replayed:
    """The steps of a tape, backwards."""

    def __init__(self, tape: Tape, lengths: list[int]) -> None:
        self.method, self.outside, self.kept = tape.method, tape.outside, tape.kept
        self.checkpoints = tape.checkpoints
        begins = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
        ends = [*(sweep.pieces for sweep in tape.sweeps[1:]), len(lengths) + 1]
        #: Each sweep up to the last one that saved anything, with its rows among all values.
        self.steps: list[tuple[Sweep, slice | None]] = []
        for sweep, after in zip(tape.sweeps, ends, strict=True):
            if sweep.pieces > len(lengths):
                break
            saved = after > sweep.pieces
            at = slice(begins[sweep.pieces - 1], begins[sweep.pieces]) if saved else None
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
                if len(stack) < self.checkpoints:
                    ahead = steps_ahead(end - index, self.checkpoints - len(stack) + 1)
                for sweep, _ in self.steps[index : index + ahead]:
                    state = self._forward(sweep, state)
                index += ahead
                if len(stack) < self.checkpoints:
                    stack.append((index, state))
            wanted = self._backward(*self.steps[index], state, grad, wanted)
            end -= 1
        return wanted

    def _forward(self, sweep: Sweep, before: State) -> State:
        own, stages = _leaves(before), self.method.stages(sweep, before)
        with torch.enable_grad(), self.outside.replaced():
            u, slope = self.method.again(sweep, own, stages)
        return u.detach(), slope.detach()

    def _backward(
        self,
        sweep: Sweep,
        at: slice | None,
        before: State,
        grad: Tensor,
        after: list[Tensor | None],
    ) -> list[Tensor | None]:
        """The gradients before a sweep from those ``after`` it and those of what it saved."""
        own, stages = _leaves(before), self.method.stages(sweep, before)
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
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError(
                "the gradient of a run with `checkpoints` cannot be differentiated again; leave "
                "`checkpoints` out."
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
