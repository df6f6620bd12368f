"""The gradient of a run in modes, which takes the steps between a few kept places again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.steppers.base import Semilinear
from pnpfusion.solvers.steppers.matrices import Matrices
from pnpfusion.solvers.steppers.modal_law import (
    Evaluation,
    Modes,
    Separable,
    SeparateLaw,
    Step,
    Trace,
    separable,
)
from pnpfusion.solvers.steppers.tape import steps_ahead

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.exponential import Exponential

BYTES_KEPT = 2**27  # of places from which steps are taken again, unless their root is more


@dataclass(eq=False)
class ModalTape:
    """The accepted steps of one stretch of a run, and the modes that a few of them began from.

    The backward pass takes them again, one at a time, but those whose trace was kept. At most
    ``checkpoints`` places are kept for that; where None, twice the root of the number of steps, or
    as many as :data:`BYTES_KEPT` hold.
    """

    method: Exponential
    checkpoints: int | None
    given: tuple[Tensor, ...]  #: what the law is made of
    base: tuple[Tensor, ...]  #: leaves in their places
    laws: list[SeparateLaw]
    place: Modes  #: where the last step led
    entry: Evaluation | None  #: how the next step finds its remainder; None: the last one has
    room: int  #: bytes left for traces
    steps: list[Step] = field(default_factory=list)
    kept: list[tuple[int, Modes]] = field(default_factory=list)
    traces: dict[int, Trace] = field(default_factory=dict)  #: of some steps, until they are used
    saved: list[tuple[int, Tensor]] = field(default_factory=list)  #: after which step, samples
    stride: int = 1

    @classmethod
    def of(
        cls,
        method: Exponential,
        part: Semilinear,
        t: Tensor,
        modes: Tensor,
        checkpoints: int | None,
        room: int,
    ) -> ModalTape | None:
        """An empty one for a run of ``part`` from ``modes``; None: it does not tell its tensors."""
        if not isinstance(part.resolution, Separable):
            return None
        given = part.resolution.parameters
        base = tuple(p.detach().requires_grad_(p.requires_grad) for p in given)
        law = SeparateLaw(method, part.resolution, base)
        with torch.no_grad():
            entry = law.enter(t, modes)
        room = room if checkpoints is None else 0
        return cls(method, checkpoints, given, base, [law], entry[:2], entry, room)

    @property
    def law(self) -> SeparateLaw:
        """That of the last step."""
        return self.laws[-1]

    @property
    def start(self) -> Modes:
        """Where the next step begins, in its own law."""
        return self.place if self.entry is None else (self.entry.modes, self.entry.n)

    def refit(self, part: Semilinear, t: Tensor, modes: Tensor) -> None:
        """Go on by ``part`` from ``modes`` of the law so far, whose next step begins with them."""
        self.laws.append(SeparateLaw(self.method, separable(part), self.base))
        self.entry = self.law.enter(t, modes)

    def add(self, t: Tensor, dt: Tensor, accept: Tensor, came_to: Modes, *, valid: bool) -> None:
        """Write down steps that stand; ``dt`` is 0 where one was not finite, so not ``valid``."""
        law, before = len(self.laws) - 1, None
        if self.entry is not None:
            before = self.steps[-1].law if self.steps else 0
        self._keep(len(self.steps), self.place)
        trace = Trace(self.start, self.entry, self.law.remainder.evaluations)
        if valid and self.room > 0:
            held = self.traces.get(len(self.steps) - 1)  # the end of one begins the next
            taken = trace.storages.items() - (held.storages.items() if held else set())
            size = sum(nbytes for _, nbytes in taken)
            if size <= self.room:
                self.traces[len(self.steps)] = trace
                self.room -= size
        self.steps.append(Step(law, before, t, dt, accept, bool(accept.all())))
        self.place, self.entry = came_to, None

    def save(self, sample: Tensor) -> None:
        """What the last step came to is wanted, of these samples."""
        self.saved.append((len(self.steps) - 1, sample))

    def attached(self, began: Tensor, found: Sequence[Tensor]) -> list[Tensor]:
        """``found``, the modes saved and those at the end, with their gradient."""
        args = (self, len(found), *found, began, *self.given)
        return list(_Attach.apply(*args))  # type: ignore[no-untyped-call]

    def places(self, steps: int) -> int:
        """How many places may be kept, in a run of so many steps."""
        if self.checkpoints is not None:
            return self.checkpoints
        v, n = self.kept[0][1] if self.kept else (None, None)
        fit = 0 if v is None or n is None else BYTES_KEPT // max(1, 2 * v.nbytes)
        return max(2 * isqrt(steps) + 2, fit)

    def _keep(self, index: int, place: Modes) -> None:
        if index % self.stride:
            return
        most = self.places(index + 1)
        if self.checkpoints is not None:  # half is left to the backward pass
            most = max(1, most // 2)
        if len(self.kept) >= most:
            self.stride *= 2
            self.kept = [entry for entry in self.kept if entry[0] % self.stride == 0]
        if index % self.stride == 0 and len(self.kept) < most:
            self.kept.append((index, place))

    def backward(self, grads: list[Tensor | None], last: Tensor | None) -> list[Tensor | None]:
        """Gradients of the modes at the start and of :attr:`base`, from those of what was saved."""
        for law in self.laws:
            law.forget()
        stack, end, room = list(self.kept), len(self.steps), self.places(len(self.steps))
        room += self.stride if self.checkpoints is None else 0
        if last is not None and self.entry is not None:  # the last law has taken no step yet
            before = self.steps[-1].law if self.steps else 0
            last = separable(self.laws[before].part).fitted(last)
        after: tuple[Tensor | None, Tensor | None] = last, None
        saved = list(zip(self.saved, grads, strict=True))
        while end:
            while stack[-1][0] >= end:
                stack.pop()
            index, place = stack[-1]
            while index < end - 1:
                ahead = end - 1 - index
                if len(stack) < room:
                    ahead = steps_ahead(end - index, room - len(stack) + 1)
                for step in self.steps[index : index + ahead]:
                    place, _ = self.laws[step.law].step(step, place)
                index += ahead
                if len(stack) < room:
                    stack.append((index, place))
            after = self._back(self.steps[index], place, after, saved, index)
            end -= 1
        found = [law.gradients() for law in self.laws]
        totals = [
            None if all(g is None for g in column) else sum(g for g in column if g is not None)
            for column in zip(*found, strict=True)
        ]
        return [after[0], *totals]

    def _back(
        self,
        step: Step,
        place: Modes,
        after: tuple[Tensor | None, Tensor | None],
        saved: list[tuple[tuple[int, Tensor], Tensor | None]],
        index: int,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients before ``step`` from those after it and of what was saved there."""
        by_v, by_n = after
        while saved and saved[-1][0][0] == index:
            (_, sample), grad = saved.pop()
            if grad is None:
                continue
            if by_v is None:
                by_v = grad.new_zeros(len(step.accept), *grad.shape[1:])
            by_v = by_v.index_add(0, sample, grad)
        trace = self.traces.pop(index, None)
        if by_v is None and by_n is None:
            return None, None
        law = self.laws[step.law]
        trace = law.step(step, place)[1] if trace is None else trace
        by_v, by_n = law.back(step, trace, by_v, by_n)
        if step.before is not None:
            by_v = separable(self.laws[step.before].part).fitted(by_v)
        return by_v, by_n

    def recorded(self, began: Tensor, base: Sequence[Tensor]) -> list[Tensor]:
        """What was saved, and the end, in one graph of all steps, for higher derivatives."""
        laws: list[tuple[Semilinear, Matrices]] = []
        results, at, place = [], 0, (began, began)
        for index, step in enumerate(self.steps):
            while len(laws) <= step.law:
                part = separable(self.laws[len(laws)].part).about(base)
                laws.append((part, Matrices(self.method, part.linear, part.alike)))
            part, matrices = laws[step.law]
            v, n = place
            if step.before is not None:
                v = separable(part).fitted(v)
                n = part.remainder(step.t, v)
            end, _, _ = self.method.advance(part, matrices.of(step.dt), step.t, step.dt, v, n)
            n_end = part.remainder(step.t + step.dt, end)
            keep = per_state(step.accept, end)
            place = torch.where(keep, end, v), torch.where(keep, n_end, n)
            while at < len(self.saved) and self.saved[at][0] == index:
                results.append(place[0][self.saved[at][1]])
                at += 1
        return [*results, separable(self.law.part).fitted(place[0])]


class _Attach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tape: ModalTape, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.tape, ctx.count = tape, count
        ctx.save_for_backward(*tensors[count:])
        ctx.set_materialize_grads(False)
        return tuple(values.view_as(values) for values in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        tape, inputs = ctx.tape, ctx.saved_tensors
        none = (None,) * (2 + ctx.count)
        if torch.is_grad_enabled():  # create_graph=True
            inputs = [tensor.view_as(tensor) for tensor in inputs]  # one may depend on another
            results = tape.recorded(inputs[0], inputs[1:])
            wanted = [i for i, tensor in enumerate(inputs) if tensor.requires_grad]
            pairs = [(r, g) for r, g in zip(results, grads, strict=True) if g is not None]
            outputs, weights = zip(*pairs, strict=True)
            found = torch.autograd.grad(
                outputs, [inputs[i] for i in wanted], weights, create_graph=True, allow_unused=True
            )
            by = dict(zip(wanted, found, strict=True))
            return (*none, *(by.get(i) for i in range(len(inputs))))
        return (*none, *tape.backward(list(grads[:-1]), grads[-1]))
