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
    Graph,
    Modes,
    Separable,
    SeparateLaw,
    Sizes,
    Step,
    separable,
)
from pnpfusion.solvers.steppers.tape import steps_ahead

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.exponential import Exponential

BYTES_KEPT = 2**25  # of places from which steps are taken again, unless their root is more


@dataclass(eq=False)
class ModalTape:
    """The accepted steps of one stretch of a run, and the modes that a few of them began from.

    The backward pass takes them again, one at a time, but those whose graph was kept. At most
    ``checkpoints`` places are kept for that; where None, twice the root of the number of steps, or
    as many as :data:`BYTES_KEPT` hold.
    """

    method: Exponential
    checkpoints: int | None
    given: tuple[Tensor, ...]  #: what the law is made of
    base: tuple[Tensor, ...]  #: leaves in their places
    place: Modes  #: where the last step led
    laws: list[SeparateLaw] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    kept: list[tuple[int, Modes]] = field(default_factory=list)
    graphs: dict[int, Graph] = field(default_factory=dict)  #: of some steps, until they are used
    shared: set[int] = field(default_factory=set)  #: the coefficients that graphs hold, by id
    saved: list[tuple[int, Tensor]] = field(default_factory=list)  #: after which step, samples
    stride: int = 1

    @classmethod
    def of(
        cls, method: Exponential, part: Semilinear, place: Modes, checkpoints: int | None
    ) -> ModalTape | None:
        """An empty one for a run of ``part`` from ``place``; None: it does not tell its tensors."""
        if not isinstance(part.resolution, Separable):
            return None
        given = part.resolution.parameters
        base = tuple(p.detach().requires_grad_(p.requires_grad) for p in given)
        place = place[0].detach(), place[1].detach()
        tape = cls(method, checkpoints, given, base, place)
        tape.laws.append(SeparateLaw(method, part.resolution, base))
        return tape

    @property
    def law(self) -> SeparateLaw:
        """That of the last step."""
        return self.laws[-1]

    def add(
        self, part: Semilinear, t: Tensor, dt: Tensor, accept: Tensor, graph: Graph | None
    ) -> None:
        """Write down steps of ``part`` that stand; ``dt`` is 0 where one was not finite."""
        refitted = part is not self.law.part
        if refitted:
            self.laws.append(SeparateLaw(self.method, separable(part), self.base))
        self._keep(len(self.steps), self.place)
        if graph is not None:
            self.graphs[len(self.steps)] = graph
        whole = bool(accept.all())
        self.steps.append(Step(len(self.laws) - 1, refitted, t, dt, accept, whole))

    def takes_in(self, used: Sizes) -> int:
        """Bytes of coefficients that a graph to be kept is the first to hold."""
        new = [c for _, cs in used.values() for c in cs if id(c) not in self.shared]
        self.shared.update(id(c) for c in new)
        return sum(c.nbytes for c in new)

    def came_to(self, v: Tensor, n: Tensor) -> None:
        """Where the last step led."""
        self.place = v, n

    def save(self, sample: Tensor) -> None:
        """What the last step came to is wanted, of these samples."""
        self.saved.append((len(self.steps) - 1, sample))

    def attached(self, began: Modes, found: Sequence[Tensor]) -> list[Tensor]:
        """``found``, the modes saved and those at the end, with their gradient."""
        args = (self, len(found), *found, *began, *self.given)
        return list(_Attach.apply(*args))  # type: ignore[no-untyped-call]

    def room(self, places: int) -> int:
        """How many places may be kept, in a run of so many steps."""
        if self.checkpoints is not None:
            return self.checkpoints
        v, n = self.kept[0][1] if self.kept else (None, None)
        fit = 0 if v is None or n is None else BYTES_KEPT // max(1, 2 * v.nbytes)
        return max(2 * isqrt(places) + 2, fit)

    def _keep(self, index: int, place: Modes) -> None:
        if index % self.stride:
            return
        most = self.room(index + 1)
        if self.checkpoints is not None:  # half is left to the backward pass
            most = max(1, most // 2)
        if len(self.kept) >= most:
            self.stride *= 2
            self.kept = [entry for entry in self.kept if entry[0] % self.stride == 0]
        if index % self.stride == 0 and len(self.kept) < most:
            self.kept.append((index, place))

    def backward(self, grads: list[Tensor | None], last: Tensor | None) -> list[Tensor | None]:
        """Gradients of v and n at the start and of :attr:`base`, from those of what was saved."""
        stack, end, room = list(self.kept), len(self.steps), self.room(len(self.steps))
        room += self.stride if self.checkpoints is None else 0
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
                with torch.no_grad():
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
        return [*after, *totals]

    def _back(
        self,
        step: Step,
        place: Modes,
        after: tuple[Tensor | None, Tensor | None],
        saved: list[tuple[tuple[int, Tensor], Tensor | None]],
        index: int,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients before ``step`` from those after it and of what was saved there."""
        law = self.laws[step.law]
        graph = self.graphs.pop(index, None) or law.recorded(step, place)
        own, ends, used = graph.start, graph.end, graph.used
        by_end, by_n = after
        while saved and saved[-1][0][0] == index:
            (_, sample), grad = saved.pop()
            if grad is None:
                continue
            if by_end is None:
                by_end = torch.zeros_like(ends[0])
            by_end = by_end.index_add(0, sample, grad)
        pairs = [(e, g) for e, g in zip(ends, (by_end, by_n), strict=True) if g is not None]
        if not pairs:
            return None, None
        leaves = [leaf for _, leaf in law.pairs if leaf.requires_grad]
        sizes = [(k, s, cs) for k, (s, cs) in used.items() if cs[0].requires_grad]
        coefficients = [c for _, _, cs in sizes for c in cs]
        outputs, weights = zip(*pairs, strict=True)
        found = torch.autograd.grad(
            outputs, [*own, *leaves, *coefficients], weights, allow_unused=True
        )
        for leaf, grad in zip(leaves, found[2 : 2 + len(leaves)], strict=True):
            law.add(leaf, grad)
        at = 2 + len(leaves)
        for key, size, cs in sizes:
            law.add_of_size(key, size, found[at : at + len(cs)])
            at += len(cs)
        return found[0], found[1]

    def recorded(self, place: Modes, base: Sequence[Tensor]) -> list[Tensor]:
        """What was saved, and the end, in one graph of all steps, for higher derivatives."""
        laws: list[tuple[Semilinear, Matrices]] = []
        results, at = [], 0
        for index, step in enumerate(self.steps):
            while len(laws) <= step.law:
                part = separable(self.laws[len(laws)].part).about(base)
                laws.append((part, Matrices(self.method, part.linear, part.alike)))
            part, matrices = laws[step.law]
            v, n = place
            if step.refitted:
                v = separable(part).fitted(v)
                n = part.remainder(step.t, v)
            end, _, _ = self.method.advance(part, matrices.of(step.dt), step.t, step.dt, v, n)
            n_end = part.remainder(step.t + step.dt, end)
            keep = per_state(step.accept, end)
            place = torch.where(keep, end, v), torch.where(keep, n_end, n)
            while at < len(self.saved) and self.saved[at][0] == index:
                results.append(place[0][self.saved[at][1]])
                at += 1
        return [*results, place[0]]


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
            results = tape.recorded((inputs[0], inputs[1]), inputs[2:])
            wanted = [i for i, tensor in enumerate(inputs) if tensor.requires_grad]
            pairs = [(r, g) for r, g in zip(results, grads, strict=True) if g is not None]
            outputs, weights = zip(*pairs, strict=True)
            found = torch.autograd.grad(
                outputs, [inputs[i] for i in wanted], weights, create_graph=True, allow_unused=True
            )
            by = dict(zip(wanted, found, strict=True))
            return (*none, *(by.get(i) for i in range(len(inputs))))
        return (*none, *tape.backward(list(grads[:-1]), grads[-1]))
